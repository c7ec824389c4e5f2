"""Events that nobody waits for."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.cluster import events
from engine.cluster.api import ApiServer, Writer
from engine.cluster.events import Announcer, event_object
from engine.cluster.objects import read_machine
from engine.cluster.pace import TokenBucket, WriteCount
from engine.domain.wanted import MachineObject
from engine.ports.cluster import EventKind, MachineEvent
from engine.simulators.http import HttpRequest, HttpResponse
from tests.unit.cluster.stub import answer, machine, refusal, served

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def machine_object(name: str = "m") -> MachineObject:
    return read_machine(json.dumps(machine(name)).encode())


def news(key: str = "k", name: str = "m", message: str = "text") -> MachineEvent:
    return MachineEvent(machine=machine_object(name), kind=EventKind.NORMAL, reason="Done", message=message, key=key)


def announcer_of(api: ApiServer) -> Announcer:
    clock = SystemClock()
    writer = Writer(api, pace=TokenBucket(qps=1_000, burst=1_000, clock=clock), count=WriteCount())
    return Announcer(writer, namespace="shoot", clock=clock)


def test_the_name_comes_from_machine_and_key() -> None:
    """The same key gives the same name, another key or another Machine of that name gives another."""
    name = event_object(news(), at=AT)["metadata"]["name"]
    assert name == event_object(news(message="other"), at=AT)["metadata"]["name"]
    assert name.startswith("m.")
    assert name != event_object(news("k2"), at=AT)["metadata"]["name"]


def test_long_texts_are_cut_to_what_the_server_takes() -> None:
    """A name stays under 253 characters, a message under 1024."""
    found = event_object(news(name="n" * 253, message="x" * 5_000), at=AT)
    assert len(found["metadata"]["name"]) <= 253
    assert len(found["message"]) == 1_024


def test_what_cannot_be_written_is_counted_and_dropped(tmp_path: Path) -> None:
    """A refusal costs one event; one that exists already is no loss."""
    answers = [refusal(403), refusal(409, reason="AlreadyExists"), answer({}), refusal(500)]
    asked: list[HttpRequest] = []

    def handle(request: HttpRequest) -> HttpResponse:
        asked.append(request)
        return answers.pop(0)

    with served(handle, tmp_path, clock=SystemClock()) as api:
        announcer = announcer_of(api)
        announcer.start()
        for number in range(4):
            announcer.announce(news(str(number)))
        announcer.stop()
        assert announcer.dropped == 2
    assert len(asked) == 4
    assert asked[0].path == "/api/v1/namespaces/shoot/events"


def test_an_overflow_is_dropped_without_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody writes, the queue fills, and more is dropped; the caller never waits."""
    monkeypatch.setattr(events, "QUEUE_LENGTH_MAX", 3)
    with served(lambda _request: answer({}), tmp_path, clock=SystemClock()) as api:
        announcer = announcer_of(api)
        for number in range(5):
            announcer.announce(news(str(number)))
        assert announcer.dropped == 2


def test_the_end_does_not_wait_for_a_dead_server(tmp_path: Path) -> None:
    """`stop` returns within its limit although a write hangs."""
    over = threading.Event()

    def handle(_request: HttpRequest) -> HttpResponse:
        over.wait()
        return answer({})

    with served(handle, tmp_path, clock=SystemClock()) as api:
        announcer = announcer_of(api)
        announcer.start()
        announcer.announce(news())
        clock = SystemClock()
        started_at = clock.monotonic()
        announcer.stop(timedelta(seconds=0.2))
        assert clock.monotonic() - started_at < 2
        over.set()
