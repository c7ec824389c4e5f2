"""The watch before a server that does everything wrong."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from engine.clock import Clock, SystemClock
from engine.cluster import objects, reflector
from engine.cluster.cache import Cache, Change
from engine.cluster.reflector import Reflector, Source
from engine.domain.wanted import MachineObject
from engine.ports.cluster import Kind
from engine.simulators.clock import VirtualClock
from engine.simulators.http import HttpRequest, HttpResponse
from tests.unit.cluster.stub import MACHINES, Script, Scripted, event, listing, machine, refusal, served, stream

WAIT_SECONDS_MAX = 10.0


@dataclass
class Watching:
    """A reflector on a scripted server, its cache, and what it told."""

    server: Scripted
    cache: Cache[MachineObject]
    reflector: Reflector[MachineObject]
    told: list[tuple[str, bool]] = field(default_factory=list)

    def wait(self, fact: Callable[[], object]) -> None:
        """The fact holds soon."""
        until = time.monotonic() + WAIT_SECONDS_MAX
        while not fact():
            assert time.monotonic() < until, f"not yet: {self.told}"
            time.sleep(0.005)

    def names(self) -> set[str]:
        """The names in the cache."""
        return {found.name for found in self.cache.all()}


@contextmanager
def watching(
    folder: Path, *, lists: Sequence[Script], watches: Sequence[Script], clock: Clock | None = None
) -> Iterator[Watching]:
    """A running reflector, in real time unless told otherwise."""
    clock, server, cache = clock or SystemClock(), Scripted(lists, watches), Cache[MachineObject]()
    source = Source(kind=Kind.MACHINE, path=MACHINES, read=objects.read_machine)
    with served(server, folder, clock=clock) as api:
        told: list[tuple[str, bool]] = []

        def tell(_kind: Kind, change: Change) -> None:
            told.append((change.name, change.deleted))

        found = Reflector(source, api=api, cache=cache, clock=clock, tell=tell)
        found.start()
        try:
            yield Watching(server, cache, found, told)
        finally:
            found.stop()
            assert found.join(timedelta(seconds=5)), "the watch did not end when it was told to"


@pytest.fixture
def idle() -> Iterator[Script]:
    """A watch on which nothing happens until the test is over."""
    over = threading.Event()
    yield lambda _request: stream(then=over.wait)
    over.set()


def once(response: Callable[[], HttpResponse]) -> Script:
    return lambda _request: response()


def test_pages_are_read_to_the_end(tmp_path: Path, idle: Script) -> None:
    """A list of three pages is complete before it counts; no version is asked for, so that pages are honoured."""
    pages = [
        once(lambda: listing(machine("a"), more="page-2", version=7)),
        once(lambda: listing(machine("b"), more="page-3", version=7)),
        once(lambda: listing(machine("c"), version=7)),
    ]
    with watching(tmp_path, lists=pages, watches=[idle]) as found:
        found.wait(found.reflector.synced.is_set)
        found.wait(lambda: found.server.count("watch"))
        assert found.names() == {"a", "b", "c"}
    asked = [request.query for request in found.server.of("list")]
    assert [query.get("continue") for query in asked] == [None, ["page-2"], ["page-3"]]
    assert all(query["limit"] == ["500"] and "resourceVersion" not in query for query in asked)
    watched = found.server.of("watch")[0].query
    assert watched["resourceVersion"] == ["7"]
    assert watched["allowWatchBookmarks"] == ["true"]
    assert 40 <= int(watched["timeoutSeconds"][0]) <= 50


def test_a_list_that_expires_between_pages_starts_again(tmp_path: Path, idle: Script) -> None:
    """410 on the second page means a new list, and half a list is never taken for a whole one."""
    lists = [
        once(lambda: listing(machine("a"), more="page-2")),
        once(lambda: refusal(410, reason="Expired")),
        once(lambda: listing(machine("a"), machine("b"))),
    ]
    with watching(tmp_path, lists=lists, watches=[idle]) as found:
        found.wait(lambda: found.names() == {"a", "b"})
    assert found.told == [("a", False), ("b", False)]


@pytest.mark.parametrize(
    "gone",
    [
        once(lambda: refusal(410, reason="Expired")),
        once(lambda: stream(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}))),
        once(lambda: stream(event("ERROR", {"kind": "Status", "code": 500}))),
        once(lambda: refusal(400, "invalid resource version")),
    ],
    ids=["as status", "in the stream", "another error in the stream", "version not understood"],
)
def test_an_expired_watch_lists_again_and_finds_missed_deletions(tmp_path: Path, idle: Script, gone: Script) -> None:
    """Whoever was deleted while nobody watched is told as deleted, and watching goes on from the new version."""
    lists = [
        once(lambda: listing(machine("a"), machine("b"), version=5)),
        once(lambda: listing(machine("a"), machine("c", 8), version=9)),
    ]
    with watching(tmp_path, lists=lists, watches=[gone, idle]) as found:
        found.wait(lambda: found.server.count("watch") == 2)
        assert found.names() == {"a", "c"}
        assert sorted(found.told[2:]) == [("b", True), ("c", False)]
    assert found.server.of("watch")[1].query["resourceVersion"] == ["9"]


def test_a_bookmark_moves_the_next_watch_forward(tmp_path: Path, idle: Script) -> None:
    """After a bookmark and an event, the next watch starts at the last version that was heard of."""
    watches = [
        once(
            lambda: stream(
                event("MODIFIED", machine("a", 12)), event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
            )
        ),
        once(lambda: stream(event("DELETED", machine("a", 21)))),
        idle,
    ]
    with watching(tmp_path, lists=[once(lambda: listing(machine("a"), version=5))], watches=watches) as found:
        found.wait(lambda: found.server.count("watch") == 3)
        assert found.told == [("a", False), ("a", False), ("a", True)]
    assert [request.query["resourceVersion"] for request in found.server.of("watch")] == [["5"], ["20"], ["21"]]


def test_lines_may_come_in_pieces(tmp_path: Path) -> None:
    """An event that is cut anywhere, and several in one piece, are read all the same."""
    over = threading.Event()
    text = b"".join(event("ADDED", machine(f"m-{number}", number)) for number in range(2, 9))

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(text), 77):
            yield text[start : start + 77]
        over.wait()

    watch = once(lambda: HttpResponse(status=200, body=pieces()))
    with watching(tmp_path, lists=[once(listing)], watches=[watch]) as found:
        found.wait(lambda: len(found.told) == 7)
        assert found.names() == {f"m-{number}" for number in range(2, 9)}
        over.set()


def test_a_silent_connection_is_given_up(tmp_path: Path, idle: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-open connection looks alive and says nothing: after the silence limit the watch is opened anew."""
    monkeypatch.setattr(reflector, "SILENCE_SECONDS", 0.2)
    with watching(tmp_path, lists=[once(listing)], watches=[idle]) as found:
        found.wait(lambda: found.server.count("watch") >= 2)
        assert found.server.count("list") == 1


def test_the_silence_limit_holds_what_is_promised() -> None:
    """The longest watch ends before the limit, and the limit is within the minute in which death must be noticed."""
    assert max(reflector.WATCH_SECONDS) < reflector.SILENCE_SECONDS < 60


@pytest.mark.parametrize(
    ("lists", "watches", "minimum"),
    [
        ([once(listing)], [once(stream)], 8),
        ([once(listing)], [once(lambda: refusal(500))], 8),
        ([once(listing)], [once(lambda: HttpResponse(status=200, hang_up=True))], 8),
        ([once(listing)], [once(lambda: refusal(410))], 8),
        ([once(lambda: refusal(503))], [once(stream)], 8),
        ([once(lambda: HttpResponse(status=200, body=b"<html>a proxy's page</html>"))], [once(stream)], 8),
        ([once(listing)], [once(lambda: stream(b"<html>\n"))], 8),
    ],
    ids=["ends at once", "500", "cut", "410 for ever", "list refused", "list is no list", "watch is no watch"],
)
def test_no_server_makes_the_watch_spin(
    tmp_path: Path, lists: Sequence[Script], watches: Sequence[Script], minimum: int
) -> None:
    """However it fails, the waits grow to half a minute: in ten minutes there are some thirty tries, not thousands."""
    clock = VirtualClock()
    with watching(tmp_path, lists=lists, watches=watches, clock=clock) as found:
        found.wait(lambda: clock.monotonic() > 600)
    tries = max(found.server.count("list"), found.server.count("watch"))
    # The clock stands still while requests run; so a few more may have been made before the reflector was stopped.
    assert minimum <= tries * 600 / clock.monotonic() <= 60


def test_an_unreadable_object_spoils_neither_list_nor_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its neighbours are read, what was known of it stays, and it is logged once and flagged."""
    over = threading.Event()
    bad = machine("bad", 2, metadata={"creationTimestamp": "no time"})
    watches = [
        once(lambda: refusal(410)),
        once(
            lambda: stream(
                event("MODIFIED", machine("bad", 8, status=[1])), event("MODIFIED", machine("a", 9)), then=over.wait
            )
        ),
    ]
    lists = [once(lambda: listing(machine("bad"), machine("a"))), once(lambda: listing(bad, machine("a"), version=7))]
    with watching(tmp_path, lists=lists, watches=watches) as found, caplog.at_level(logging.ERROR):
        found.wait(lambda: found.told[-1:] == [("a", False)] and found.server.count("watch") == 2)
        found.wait(lambda: (known := found.cache.get("a")) and known.resource_version == "9")
        assert found.cache.get("bad") == objects.read_machine(json.dumps(machine("bad")).encode())
        assert ("bad", True) not in found.told
        assert found.reflector.unreadable == {"bad"}
        over.set()
    # Two different reasons, each said once.
    assert len([record for record in caplog.records if "cannot be read" in record.message]) == 2


def test_an_unreadable_object_recovers_or_goes(tmp_path: Path, idle: Script) -> None:
    """The flag is taken back when the object is readable again or deleted."""
    bad = machine("bad", 2, metadata={"creationTimestamp": None})
    worse = machine("worse", 2, metadata={"creationTimestamp": None})
    watches = [once(lambda: stream(event("MODIFIED", machine("bad", 3)), event("DELETED", worse))), idle]
    with watching(tmp_path, lists=[once(lambda: listing(bad, worse))], watches=watches) as found:
        found.wait(lambda: found.server.count("watch") == 2)
        assert found.names() == {"bad"}
        assert found.reflector.unreadable == frozenset()


def test_an_object_that_hides_its_name_deletes_nobody(tmp_path: Path, idle: Script) -> None:
    """It might be any of those we know, so that list deletes none of them."""
    lists = [once(lambda: listing(machine("a"))), once(lambda: listing({"metadata": 5}))]
    with watching(tmp_path, lists=lists, watches=[once(lambda: refusal(410)), idle]) as found:
        found.wait(lambda: found.server.count("watch") == 2)
        assert found.names() == {"a"}


def test_a_long_life_is_listed_anew(tmp_path: Path) -> None:
    """Each hour the list is read again, because a server restored from a backup cannot be noticed by a watch."""
    clock = VirtualClock()
    calm = once(lambda: stream(then=lambda: clock.advance(timedelta(seconds=45))))
    with watching(tmp_path, lists=[once(listing)], watches=[calm], clock=clock) as found:
        found.wait(lambda: clock.monotonic() > 4 * 3600)
    hours = clock.monotonic() / 3600
    assert hours - 2 <= found.server.count("list") <= hours + 2


def test_blindness_is_measured_from_the_last_word(tmp_path: Path) -> None:
    """While the server says nothing the blindness grows, and any word ends it."""
    clock, words = VirtualClock(), threading.Semaphore(0)

    def body() -> Iterator[bytes]:
        while words.acquire():
            yield event("BOOKMARK", {"metadata": {"resourceVersion": "9"}})

    watch = once(lambda: HttpResponse(status=200, body=body()))
    with watching(tmp_path, lists=[once(listing)], watches=[watch], clock=clock) as found:
        found.wait(lambda: found.server.count("watch") == 1 and found.reflector.synced.is_set())
        words.release()
        found.wait(lambda: found.reflector._version == "9")
        clock.advance(timedelta(seconds=50))
        assert found.reflector.blind_for() == timedelta(seconds=50)
        words.release()
        found.wait(lambda: found.reflector.blind_for() == timedelta(0))


def test_a_listener_that_fails_does_not_end_the_watch(tmp_path: Path, idle: Script) -> None:
    """The error is logged and the watch goes on."""
    server, cache, told = Scripted([once(lambda: listing(machine("a"), version=3))], [idle]), Cache[MachineObject](), []

    def tell(_kind: Kind, change: Change) -> None:
        told.append(change)
        raise RuntimeError("a bug above")

    source = Source(kind=Kind.MACHINE, path=MACHINES, read=objects.read_machine)
    with served(server, tmp_path, clock=SystemClock()) as api:
        found = Reflector(source, api=api, cache=cache, clock=SystemClock(), tell=tell)
        found.start()
        until = time.monotonic() + WAIT_SECONDS_MAX
        while not server.count("watch") and time.monotonic() < until:
            time.sleep(0.005)
        found.stop()
        assert found.join(timedelta(seconds=5))
    assert told
    assert server.count("watch") == 1


def test_a_stop_during_backoff_is_heard_at_once(tmp_path: Path) -> None:
    """Nobody waits half a minute for a watch that waits for its server."""
    with watching(tmp_path, lists=[once(lambda: refusal(500))], watches=[]) as found:
        found.wait(lambda: found.server.count("list") >= 4)
        started_at = time.monotonic()
    assert time.monotonic() - started_at < 1


def test_credentials_and_name_are_sent(tmp_path: Path) -> None:
    """Every request says who we are and asks for JSON."""

    def check(request: HttpRequest) -> HttpResponse:
        assert request.headers["user-agent"] == "machine-controller"
        assert request.headers["accept"] == "application/json"
        return listing()

    over = threading.Event()
    with watching(tmp_path, lists=[check], watches=[once(lambda: stream(then=over.wait))]) as found:
        found.wait(lambda: found.server.count("watch"))
        over.set()
