"""What stores do when the world is unkind: full disks, locks, lost servers, killed processes, rewritten history."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, text

from engine.domain.ids import MachineUid
from engine.domain.machine import MachineFilter
from engine.errors import StoreError, StoreUnavailableError, StoreUnfitError
from engine.ports.store import Claim, Commit, HistoryFilter
from engine.store import SqlStore, check, connect, open_store, statements
from tests.contract.postgres import PostgresServer
from tests.contract.store_records import SPAN, START, admitted, claimed, entry, finished, machine, moved

FACTS_SECONDS_MAX = 20.0
DISK = "size=1m"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    """A store on each database."""
    url = request.getfixturevalue({"sqlite": "sqlite_url", "postgres": "postgres_url"}[request.param])
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that is soon full; mounting needs root."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "none", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this process may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("statement", ["UPDATE transitions SET note = 'other'", "DELETE FROM transitions"])
def test_history_of_the_living_cannot_be_rewritten(store: SqlStore, statement: str) -> None:
    """The database itself refuses to change or remove an entry of an unfinished machine."""
    admitted(store)

    with pytest.raises(StoreError, match="history"):
        store._gate.write(lambda connection: connection.execute(text(statement)))

    assert [line.note for line in store.history(HistoryFilter())] == [""]


def test_history_of_the_dead_cannot_be_rewritten_either(store: SqlStore) -> None:
    """The end of a life makes its history removable, not changeable."""
    finished(store, 1)

    with pytest.raises(StoreError, match="append-only"):
        store._gate.write(lambda connection: connection.execute(text("UPDATE transitions SET note = 'other'")))
    assert store.prune(before=START + SPAN, limit=1) == 1


def test_text_that_no_database_takes_is_kept_readable(store: SqlStore) -> None:
    """A cloud's message with a zero byte or half a character does not block its machine."""
    record = machine()

    assert store.admit(record=record, entry=entry(record, note="a\x00b\ud800c"))

    assert store.history(HistoryFilter())[0].note == "a\N{REPLACEMENT CHARACTER}b?c"


def test_full_disk_is_unavailable_until_there_is_room(small_disk: Path) -> None:
    """On a full disk nothing is written and everything is readable; afterwards the same store works on."""
    opened = open_store(f"sqlite:///{small_disk / 'engine.db'}")
    admitted(opened)
    claim = claimed(opened)
    ballast = small_disk / "ballast"
    fill(ballast)

    commits = [claim]

    def write_until_full() -> None:
        while len(commits) < 1000:
            commits.append(opened.commit(claim=commits[-1], commit=noted(commits[-1]), span=SPAN, now=START))

    with pytest.raises(StoreUnavailableError, match="full"):
        write_until_full()
    claim = commits[-1]
    assert opened.get(claim.record.uid) == claim.record
    ballast.unlink()
    claim = opened.commit(claim=claim, commit=noted(claim), span=SPAN, now=START)

    assert [line.version for line in opened.history(HistoryFilter())] == list(range(1, len(commits) + 2))
    opened.close()


def test_locked_file_is_unavailable_until_it_is_free(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program holds the file writes fail and reads succeed; afterwards the same store works on."""
    monkeypatch.setattr(connect, "BUSY_MILLISECONDS", 50)
    opened = open_store(sqlite_url)
    record = admitted(opened)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailableError, match="locked"):
        claimed(opened)
    assert opened.get(record.uid) == record
    other.execute("ROLLBACK")
    other.close()

    assert claimed(opened).fence == 1
    opened.close()


def test_deleted_file_is_not_written(sqlite_url: str) -> None:
    """What would be lost with the next restart is refused now."""
    opened = open_store(sqlite_url)
    Path(sqlite_url.removeprefix("sqlite:///")).unlink()

    with pytest.raises(StoreUnavailableError, match="deleted or replaced; restart"):
        admitted(opened)
    opened.close()


def test_damaged_file_is_unfit(sqlite_url: str) -> None:
    """A file that is no database is refused in words by every door."""
    Path(sqlite_url.removeprefix("sqlite:///")).write_bytes(b"no database at all" * 500)

    for attempt in (open_store, check, lambda place: open_store(place, readonly=True)):
        with pytest.raises(StoreUnfitError, match="damaged"):
            attempt(sqlite_url)


def test_failure_of_one_request_leaves_the_others(sqlite_url: str) -> None:
    """Requests that are committed together succeed and fail one by one."""
    opened = open_store(sqlite_url)
    gate = threading.Event()
    with ThreadPoolExecutor(16) as pool:
        blocker = pool.submit(opened._gate.write, lambda _: gate.wait(FACTS_SECONDS_MAX))
        refused = [pool.submit(opened._gate.write, refuse) for refuse in (broken, misspelt) for _ in range(4)]
        written = [pool.submit(admitted, opened, number) for number in range(7)]
        gate.set()
        blocker.result()

    assert {type(request.exception()) for request in refused} == {KeyError, StoreUnavailableError}
    assert [request.exception() for request in written] == [None] * 7
    assert len(opened.find(MachineFilter())) == 7
    opened.close()


def test_many_threads_share_commits(sqlite_url: str) -> None:
    """Machines that are worked on at the same time keep every entry, in fewer transactions than commits."""
    opened = open_store(sqlite_url)
    transactions = Counter[str]()
    event.listen(engine_of(opened), "commit", lambda _: transactions.update(["commit"]))

    def live(number: int) -> None:
        admitted(opened, number)
        claim = claimed(opened, number)
        for _ in range(20):
            claim = opened.commit(claim=claim, commit=moved(claim), span=SPAN, now=START)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(live, range(16)))

    assert len(opened.history(HistoryFilter(limit=10_000))) == 16 * 21
    assert transactions["commit"] < 16 * 22
    opened.close()


def test_closed_store_says_so(sqlite_url: str) -> None:
    """After closing, which may be repeated, a write is refused and not forgotten."""
    opened = open_store(sqlite_url)
    opened.close()
    opened.close()

    with pytest.raises(StoreUnavailableError, match="closed"):
        admitted(opened)


@pytest.mark.parametrize("moment", [0.05, 0.2, 0.4])
def test_kill_loses_no_acknowledged_commit(sqlite_url: str, moment: float) -> None:
    """A process that is killed amid a stream of commits leaves every commit that it was told of, and no lock."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, sqlite_url], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(moment)  # The moment of the kill is chance on purpose: any moment will do.
    child.send_signal(signal.SIGKILL)
    acknowledged = int((first + child.communicate()[0]).split("\n")[-2])

    opened = open_store(sqlite_url)

    stored = [line.version for line in opened.history(HistoryFilter(limit=100_000))]
    assert stored == list(range(1, len(stored) + 1))
    assert acknowledged <= len(stored) <= acknowledged + 1
    record = opened.get(MachineUid("uid-1"))
    assert record is not None
    assert record.version == len(stored)
    opened.close()


@pytest.mark.postgres
def test_two_replicas_claim_one_machine(postgres_url: str) -> None:
    """Of two replicas that ask for the same machines at the same time, exactly one gets each."""
    replicas = [open_store(postgres_url), open_store(postgres_url)]
    for number in range(40):
        admitted(replicas[0], number)
    together = threading.Barrier(2)

    def take(which: int) -> list[str]:
        together.wait(FACTS_SECONDS_MAX)
        asked = (MachineUid(f"uid-{number}") for number in range(40))
        store = replicas[which]
        claims = [store.claim(uid=uid, worker=f"w{which}", now=START, span=SPAN) for uid in asked]
        return [claim.record.uid for claim in claims if claim]

    with ThreadPoolExecutor(2) as pool:
        taken = [*pool.map(take, range(2))]

    assert sorted(taken[0] + taken[1]) == sorted(f"uid-{number}" for number in range(40))
    for store in replicas:
        store.close()


@pytest.mark.postgres
def test_claim_waits_for_a_claim_in_flight(postgres_url: str) -> None:
    """A claim that meets another one on its way waits for its end, and then leaves the machine to the first."""
    opened = open_store(postgres_url)
    uid = admitted(opened).uid
    with ThreadPoolExecutor(1) as pool, engine_of(opened).connect() as first:
        first.execute(statements.CLAIM, {"which": uid, "worker": "a", "now": START, "until": START + SPAN})
        second = pool.submit(opened.claim, uid=uid, worker="b", now=START, span=SPAN)
        wait_for(lambda: bool(opened._gate.read(lambda connection: connection.scalar(text(BLOCKED)))))
        first.commit()

        assert second.result() is None
    opened.close()


@pytest.mark.postgres
def test_reap_passes_by_a_commit_in_flight(postgres_url: str) -> None:
    """A machine whose worker is just writing is not reaped, and nobody waits for it."""
    opened = open_store(postgres_url)
    for number in (1, 2):
        admitted(opened, number)
        claimed(opened, number)
    with engine_of(opened).connect() as writing:
        writing.execute(text("UPDATE machines SET attempts = 1 WHERE uid = 'uid-1'"))

        assert list(opened.reap(now=START + SPAN)) == ["uid-2"]
    opened.close()


@pytest.mark.postgres
def test_lost_server_is_unavailable_until_it_is_back(postgres_server: PostgresServer, postgres_url: str) -> None:
    """Without its server the store says so, and works on by itself when the server is back."""
    opened = open_store(postgres_url, connections=2)
    record = admitted(opened)
    postgres_server.stop()
    try:
        for attempt in (lambda: opened.get(record.uid), lambda: claimed(opened), lambda: open_store(postgres_url)):
            with pytest.raises(StoreUnavailableError):
                attempt()
    finally:
        postgres_server.start()

    assert opened.get(record.uid) == record
    assert claimed(opened).fence == 1
    opened.close()


@pytest.mark.postgres
def test_ended_connection_costs_one_answer_at_most(postgres_url: str) -> None:
    """A connection that the server ended while it was idle is replaced without anybody noticing."""
    opened = open_store(postgres_url, connections=2)
    record = admitted(opened)
    killer = open_store(postgres_url, connections=1)
    killer._gate.write(lambda connection: connection.execute(text(END_OTHERS)))

    assert opened.get(record.uid) == record
    assert claimed(opened).fence == 1
    killer.close()
    opened.close()


BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
CHILD = """
import sys
from engine.store import open_store
from tests.contract.store_records import SPAN, START, admitted, claimed, moved
store = open_store(sys.argv[1])
admitted(store)
claim = claimed(store)
while True:
    claim = store.commit(claim=claim, commit=moved(claim), span=SPAN, now=START)
    print(claim.record.version, flush=True)
"""


def noted(claim: Claim) -> Commit:
    change = moved(claim)
    return replace(change, entries=[replace(change.entries[0], note="n" * 4000)])


def fill(ballast: Path) -> None:
    with ballast.open("wb") as sink:
        try:
            while True:
                sink.write(b"x" * 4096)
                sink.flush()
        except OSError:
            os.ftruncate(sink.fileno(), max(0, sink.tell() - 64 * 1024))


def broken(_: object) -> None:
    raise KeyError("broken")


def misspelt(connection: Connection) -> None:
    connection.execute(text("DELETE FROM machines"))
    connection.execute(text("SELEKT"))


def engine_of(opened: SqlStore) -> Engine:
    parts = vars(opened._gate)
    found: Engine = parts["_engine"] if "_engine" in parts else parts["_engines"][0]
    return found


def wait_for(fact: Callable[[], bool]) -> None:
    end = time.monotonic() + FACTS_SECONDS_MAX
    while not fact():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
