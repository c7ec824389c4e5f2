"""What a newer program wrote: a machine that is parked, and a history that is told in words nobody here knows."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from engine.domain.device import DeviceState
from engine.domain.ids import MachineUid
from engine.domain.machine import MachineFilter
from engine.domain.outcome import Code, Problem
from engine.errors import NewerRecordError
from engine.ports.store import HistoryFilter
from engine.store import SqlStore, open_store
from tests.contract.store_records import ACCOUNT, SPAN, START, admitted, claimed, intent, moved, observed

FOREIGN = pytest.mark.parametrize(
    "change", ["state = 'Dancing'", "step = 'dance'", "problem_code = 'Dizzy', problem_message = 'so dizzy'"]
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    """A store on each database."""
    url = request.getfixturevalue({"sqlite": "sqlite_url", "postgres": "postgres_url"}[request.param])
    opened = open_store(url)
    yield opened
    opened.close()


def test_state_of_a_newer_program_is_named(store: SqlStore) -> None:
    """A place that this program does not know is an error with the machine and the place, not a crash."""
    admitted(store)
    store._gate.write(lambda connection: connection.execute(text("UPDATE machines SET step = 'dance'")))

    with pytest.raises(NewerRecordError, match="uid-1: this program does not know the place Pending/dance"):
        store.get(MachineUid("uid-1"))


@FOREIGN
def test_machine_of_a_newer_program_is_parked(store: SqlStore, change: str) -> None:
    """It is neither found nor due nor claimed, it is named, and nothing of it is changed; others are as ever."""
    for number in (1, 2):
        admitted(store, number, due_at=START)
    parked_here(store, change)

    assert [record.uid for record in store.find(MachineFilter())] == ["uid-2"]
    assert list(store.due(now=START, limit=1)) == ["uid-2"]
    assert store.claim(uid=MachineUid("uid-1"), worker="w", now=START, span=SPAN) is None
    assert [(parked.uid, parked.name) for parked in store.parked()] == [("uid-1", "machine-1")]
    with pytest.raises(NewerRecordError, match="until that program is back"):
        store.get(MachineUid("uid-1"))


def test_history_of_a_newer_program_is_told_in_its_words(store: SqlStore) -> None:
    """Places, triggers and problem codes that this program does not know are read all the same."""
    first = admitted(store)
    line = (
        'INSERT INTO transitions (uid, version, at, "trigger", source_state, source_step, target_state, target_step,'
        " note, actor, problem_code, problem_message) SELECT uid, 2, at, 'danced', 'Pending', 'validate', 'Dancing',"
        " 'waltz', 'It danced.', 'newer', 'Dizzy', 'so dizzy' FROM transitions"
    )
    store._gate.write(lambda connection: connection.execute(text(line)))

    entry = store.history(HistoryFilter())[-1]
    assert (entry.trigger, entry.source, str(entry.target)) == ("danced", first.place, "Dancing/waltz")
    assert entry.problem == Problem(code=Code.UNKNOWN, message="Dizzy: so dizzy")


def test_intent_of_a_newer_program_parks_its_machine(store: SqlStore) -> None:
    """What was intended and cannot be understood is no reason to act."""
    admitted(store)
    claim = claimed(store)
    store.commit(claim=claim, commit=moved(claim, opened=[intent(claim.record.uid)]), span=SPAN, now=START)
    store._gate.write(lambda connection: connection.execute(text("UPDATE intents SET kind = 'dance'")))

    with pytest.raises(NewerRecordError, match="IntentKind 'dance'"):
        store.intents(claim.record.uid)


def test_device_state_of_a_newer_program_is_a_device_that_exists(store: SqlStore) -> None:
    """An unknown word about one device must not hide the others."""
    store.record_devices(account=ACCOUNT, seen=[observed()], gone=[], at=START)
    store._gate.write(lambda connection: connection.execute(text("UPDATE devices SET state = 'dancing'")))

    assert [seen.device.state for seen in store.devices()] == [DeviceState.UNKNOWN]


def parked_here(store: SqlStore, change: str) -> None:
    """The newer program wrote this over the first machine."""
    statement = text(f"UPDATE machines SET {change} WHERE uid = 'uid-1'")  # noqa: S608 - our own words
    store._gate.write(lambda connection: connection.execute(statement))
