"""A power failure takes what was not synced, and nothing that the store acknowledged."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, event

from engine.domain.history import fold
from engine.domain.machine import MachineFilter
from engine.domain.states import DELETED_REST, DELETING_RELEASE
from engine.domain.triggers import Trigger
from engine.errors import StoreError, StoreUnavailableError
from engine.ports.store import Claim, Commit, HistoryFilter, Store
from engine.simulators import vfs
from engine.simulators.chaos import Chaos
from engine.simulators.deeds import MOVES_DATABASE, TEMPERS
from engine.simulators.disk import SECTOR, Disk, available
from engine.simulators.host import Host
from engine.simulators.invariants import BrokenPromiseError
from engine.simulators.plan import Plan, draw_plan
from engine.simulators.seed import Seed
from engine.simulators.trial import try_out
from engine.simulators.world import World
from engine.store import SqlStore, connect, open_store
from tests.contract.store_records import (
    ACCOUNT,
    SECOND,
    SPAN,
    START,
    admitted,
    claimed,
    entry,
    intent,
    moved,
    observed,
    orphan,
)
from tests.model.model_store import ModelStore

PARTS = 4
"""In how many tests every write of a life is tried, so that they can run beside each other."""
SEEDS_MAX = 8
"""Within how many seeds a database that is not synced must lose something."""
STEPS = 60


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk; where Python's SQLite cannot be reached the test is skipped, and fails where CI is true."""
    try:
        made = Disk()
    except vfs.SqliteSealedError as sealed:
        if os.environ.get("CI") == "true":
            pytest.fail(str(sealed))
        pytest.skip(str(sealed))
    with made:
        yield made


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with our tables and nothing in them, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "engine.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def place(empty: Path, tmp_path: Path) -> Path:
    """A database of its own, with our tables."""
    return Path(shutil.copy(empty, tmp_path))


def ended(claim: Claim) -> Commit:
    """The last two versions of a machine, in one commit."""
    leaving = moved(claim, DELETING_RELEASE).entries[0]
    record = replace(claim.record, place=DELETED_REST, version=leaving.version + 1, place_since=START, due_at=None)
    last = entry(record, trigger=Trigger.FINALIZED, source=DELETING_RELEASE)
    lines = (replace(leaving, trigger=Trigger.DELETION_REQUESTED), last)
    return Commit(record=record, entries=lines, release=True)


def life(store: Store) -> Iterator[None]:
    """A machine comes and goes, and the store is closed; a pause after each call is its acknowledgement."""
    uid = admitted(store).uid
    yield
    claim = claimed(store)
    yield
    claim = store.commit(claim=claim, commit=replace(moved(claim), opened=(intent(uid),)), span=SPAN, now=START)
    yield
    store.hold_reservation(uid=uid, wanted=("r-1",), now=START, cooldown=SECOND)
    yield
    store.record_devices(account=ACCOUNT, seen=(observed(),), gone=(), at=START)
    yield
    store.record_orphans(seen=(orphan(),))
    yield
    store.commit(claim=claim, commit=ended(claim), span=SPAN, now=START)
    yield
    store.free_reservation(uid=uid, reservation_id="r-1", now=START)
    yield
    store.prune(before=START + SPAN, limit=1)
    yield
    store.close()
    yield


def acknowledged(store: Store) -> int:
    """How many calls of a life the store acknowledged before it could not any more."""
    calls = 0
    with suppress(StoreUnavailableError):
        for _ in life(store):
            calls += 1
    return calls


def known(store: Store) -> dict[str, Any]:
    """Everything that a store tells; the history explains where each machine stands."""
    records = store.find(MachineFilter())
    lines = {each.uid: list(store.history(HistoryFilter(uid=each.uid))) for each in records}
    assert {each.uid: each.place for each in records} == {uid: fold(entries) for uid, entries in lines.items()}
    return {
        "records": list(records),
        "history": lines,
        "intents": [list(store.intents(each.uid)) for each in records],
        "due": list(store.due(now=START + SPAN, limit=10)),
        "reservations": list(store.reservations()),
        "devices": list(store.devices()),
        "orphans": list(store.orphans()),
    }


def states() -> list[dict[str, Any]]:
    """What a store knows before the first call of a life, and after each."""
    model = ModelStore()
    return [known(model), *(known(model) for _ in life(model))]


def operations(disk: Disk, place: Path) -> int:
    """How many writes and syncs a life has."""
    store = open_store(disk.url(place))
    before = disk.operations
    assert acknowledged(store) == len(states()) - 1
    return disk.operations - before


def after_failure(disk: Disk, place: Path, store: SqlStore, seed: Seed) -> dict[str, Any]:
    """What the next process finds after the power failed under this one."""
    with disk.power_failure(seed):
        store.close()
    store = open_store(disk.url(place))
    found = store._gate.read(lambda connection: list(connection.exec_driver_sql("PRAGMA integrity_check").scalars()))
    assert found == ["ok"]
    try:
        return known(store)
    finally:
        store.close()


@pytest.mark.parametrize("part", range(PARTS))
def test_power_failure_at_any_write_takes_nothing_acknowledged(disk: Disk, empty: Path, place: Path, part: int) -> None:
    """Whatever write or sync the power fails at, each call that was acknowledged counts, and the next wholly or not."""
    expected = states()
    for number in range(1 + part, operations(disk, place) + 1, PARTS):
        shutil.copy(empty, place)
        store = open_store(disk.url(place))
        disk.cut_at = disk.operations + number

        calls = acknowledged(store)

        found = after_failure(disk, place, store, Seed(number))
        assert found in expected[calls : calls + 2], f"the power failed at {number}, in call {calls + 1}"


def test_power_failure_while_the_store_recovers_takes_nothing_either(disk: Disk, place: Path) -> None:
    """However often the power fails while the store is opened again, what was acknowledged is there in the end."""
    store, seed = open_store(disk.url(place)), Seed("again")
    calls = sum(1 for _ in islice(life(store), 6))
    with disk.power_failure(seed):
        store.close()
    failures = 0
    for number in range(1, 100):
        disk.cut_at = disk.operations + number
        with suppress(StoreUnavailableError):
            open_store(disk.url(place)).close()
        failures += not disk.powered
        with disk.power_failure(seed):
            pass

    assert failures > 10
    assert after_failure(disk, place, open_store(disk.url(place)), seed) == states()[calls]


def weaken(monkeypatch: pytest.MonkeyPatch, synchronous: str) -> None:
    """From now on the store asks SQLite for less than it should."""
    strong: Callable[..., Engine] = connect.sqlite_writer

    def weak(url: URL, **more: Any) -> Engine:
        made = strong(url, **more)
        event.listen(made, "connect", lambda raw, _: raw.execute(f"PRAGMA synchronous={synchronous}"))
        return made

    monkeypatch.setattr(connect, "sqlite_writer", weak)


def loses(disk: Disk, place: Path, seed: Seed) -> bool:
    """Whether a power failure after some acknowledged calls takes something of them, or the whole database."""
    store = open_store(disk.url(place))
    calls = sum(1 for _ in islice(life(store), 8))
    try:
        return after_failure(disk, place, store, seed) != states()[calls]
    except StoreError:
        return True


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_database_that_is_not_synced_loses_what_it_acknowledged(
    disk: Disk, empty: Path, place: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str
) -> None:
    """With weaker settings than the store's the same failures take acknowledged calls: the tests above can fail."""
    copies = [Path(shutil.copy(empty, place.with_name(f"{number}.db"))) for number in range(2 * SEEDS_MAX)]
    strong, weak = copies[:SEEDS_MAX], copies[SEEDS_MAX:]
    assert not any(loses(disk, copy, Seed(copy.name)) for copy in strong)

    weaken(monkeypatch, synchronous)

    assert any(loses(disk, copy, Seed(copy.name)) for copy in weak)
    assert disk.lost


@pytest.mark.parametrize(("fault", "words"), [("full", "full"), ("failing", "I/O error")])
def test_disk_that_takes_nothing_is_unavailable_until_it_does(disk: Disk, place: Path, fault: str, words: str) -> None:
    """Nothing is written and everything is readable; afterwards the same store works on, also after a failure."""
    store = open_store(disk.url(place))
    record = admitted(store)
    setattr(disk, fault, True)

    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match=words):
            claimed(store)
    assert store.get(record.uid) == record
    assert list(store.due(now=START, limit=1)) == [record.uid]
    setattr(disk, fault, False)

    claim = claimed(store)
    assert store.commit(claim=claim, commit=moved(claim), span=SPAN, now=START).record.version == 2
    assert after_failure(disk, place, store, Seed(1))["records"][0].version == 2


def test_write_is_torn_between_sectors(disk: Disk, tmp_path: Path) -> None:
    """Of a write that was not synced any sectors from its beginning on may survive, and what was synced is whole."""
    path, seen = tmp_path / "engine.db", set()
    old, new = b"a" * SECTOR, b"b" * 4 * SECTOR
    for number in range(80):
        disk.opened(str(path), lambda: b"")
        disk.write(str(path), 0, old)
        disk.sync(str(path))
        disk.write(str(path), 100, new)
        with disk.power_failure(Seed(number)):
            disk.closed(str(path))
        seen.add(path.read_bytes())
        disk.delete(str(path))

    kept = [new[: sectors * SECTOR - 100] for sectors in range(1, 5)]
    assert seen == {old, *(old[:100] + content for content in (*kept, new))}


def test_store_that_outlives_a_power_failure_is_noticed(disk: Disk, place: Path) -> None:
    """A process that still has the file open after the power failed would write what a dead one cannot."""
    store = open_store(disk.url(place))
    admitted(store)

    with pytest.raises(RuntimeError, match="close the store"), disk.power_failure(Seed(1)):
        pass
    store.close()


def test_sqlite_that_is_built_in_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no library of SQLite is loaded there is no disk, and the message says what to use instead."""
    monkeypatch.setattr(vfs, "_MAPS", tmp_path / "maps")

    with pytest.raises(vfs.SqliteSealedError, match="use a Python that is linked"):
        Disk()
    assert not available.__wrapped__()


def planned(seed: str) -> Plan:
    """A plan of wishes and mishaps in which nobody replaces the database."""
    return draw_plan(seed, steps=STEPS, faults=TEMPERS["everyday"] - MOVES_DATABASE)


def suffered(disk: Disk, place: Path, plan: Plan) -> World:
    """A world on this disk after its plan, the peace, and the deletion of everything; each kill is a power failure."""
    with closing(Host(disk, place, Seed(plan.seed).child("power"))) as host:
        world = World(Seed(plan.seed), host.store, plan.settings, reopen=host.reopen)
        Chaos(world, plan).run()
    assert host.failures == world.crashes > 0
    return world


@pytest.mark.parametrize("seed", ["disk-1", "disk-2"])
def test_world_does_not_notice_that_each_kill_is_a_power_failure(disk: Disk, place: Path, seed: str) -> None:
    """On the real store, which forgets at each kill what was not synced, a world makes the model's calls."""
    plan = planned(seed)
    model = World(Seed(seed), ModelStore(), plan.settings)
    Chaos(model, plan).run()

    assert suffered(disk, place, plan).trace == model.trace


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("seed", ["disk-1", "disk-2", "disk-3", "disk-4"])
def test_world_whose_power_fails_in_the_middle_of_calls_keeps_every_promise(seed: str) -> None:
    """Wherever in a commit the power fails, nothing is bought twice, left behind or forgotten."""
    plan = draw_plan(seed, steps=STEPS, power_cuts=True)

    report = try_out(plan)

    assert not report.broken, f"machine-engine simulate power-cuts --seed {seed} --steps {STEPS}"
    kills = sum(deed.name == "crash" for deed in plan.deeds) + sum("killed" in line for line in report.trace)
    assert report.processes > kills + 10, "the power failed by itself, too"


@pytest.mark.usefixtures("disk")
def test_power_fails_at_the_same_places_again() -> None:
    """The same seed gives the same trace, byte for byte, also when SQLite writes it."""
    plan = draw_plan("again", steps=20, power_cuts=True)

    first, second = try_out(plan), try_out(plan)

    assert first.trace == second.trace
    assert first.processes > 1


def test_world_on_a_database_that_is_not_synced_breaks_a_promise(
    disk: Disk, empty: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store forgets behind its acknowledgement is noticed at the latest with the step."""
    weaken(monkeypatch, "NORMAL")

    def worlds() -> None:
        for number in range(SEEDS_MAX):
            copy = Path(shutil.copy(empty, place.with_name(f"{number}.db")))
            suffered(disk, copy, planned(f"weak-{number}"))

    with pytest.raises(BrokenPromiseError, match="I5: version"):
        worlds()
