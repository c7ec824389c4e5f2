"""F20: a newer program wrote rows, and this one is back: what it cannot read it leaves alone, and says so."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.cli import app
from engine.domain.orphans import OrphanState
from engine.domain.states import State
from engine.domain.wanted import MACHINE_FINALIZER, ClassObject, MachineObject
from engine.errors import NewerRecordError
from engine.reconcile.orphans import OrphanPolicy
from engine.simulators.seed import Seed
from engine.simulators.world import CLASS, SECRET, World
from engine.store import open_store
from engine.store.sql import SqlStore
from tests.simulation.faults.stage import MINUTE, PLACES, SLOW, releases
from tests.simulation.lives import NAME

AGE = MINUTE
SETTINGS = replace(SLOW, orphans=OrphanPolicy(age=AGE), tick_max=timedelta(seconds=8))
FOREIGN = {
    "state": {"state": "Draining", "step": "evict"},
    "step": {"step": "evict"},
    "problem": {"problem_code": "PodsInTheWay", "problem_message": "two pods will not go"},
}
"""What a newer program may have written over a row."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "engine.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    """The real store: only rows can come from another program."""
    opened = open_store(f"sqlite:///{path}")
    yield opened
    opened.close()


def overwrite(path: Path, **columns: str) -> None:
    """The newer program leaves this in the row of the one Machine, half of its work done and the claim still held."""
    named = ", ".join(f"{column} = ?" for column in columns)
    with sqlite3.connect(path) as connection:
        connection.execute(
            f"UPDATE machines SET {named}, claimed_by = 'newer', claimed_until = '2026-01-01T00:00:00.000000+00:00' "  # noqa: S608 - names of columns
            f"WHERE name = '{NAME}'",
            tuple(columns.values()),
        )
    connection.close()


def kept(path: Path) -> dict[str, object]:
    """The row as it is."""
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM machines WHERE name = ?", (NAME,)).fetchone()
    connection.close()
    return dict(row)


def asked(path: Path, *words: str) -> str:
    """What the command line answers."""
    answer = CliRunner().invoke(app, [*words, "--database", f"sqlite:///{path}"])
    assert answer.exit_code == 0, answer
    return answer.stdout


def parked_world(store: SqlStore, path: Path, place: str, columns: dict[str, str]) -> World:
    """A world in which another Machine serves, and in which the one at this place is not ours to understand."""
    world = World(Seed("versions"), store, SETTINGS)
    world.create("other")
    world.settle()
    PLACES[place](world)
    world.cloud.faults.replace()
    world.cluster.refusing = None
    overwrite(path, **columns)
    world.crash()
    return world


@pytest.mark.parametrize(
    ("place", "foreign"),
    [("order", "state"), ("install", "step"), ("healthy", "state"), ("healthy", "problem"), ("release", "state")],
)
def test_f20_a_record_of_a_newer_program_is_parked(store: SqlStore, path: Path, place: str, foreign: str) -> None:
    """Nothing is done for its Machine, even when that is deleted; others come, serve and go; an Event says why.

    When the newer program is back, everything goes on from where it was.
    """
    world = parked_world(store, path, place, FOREIGN[foreign])
    before, done = kept(path), releases(world)
    bought = [each.id for each in world.cloud.billing() if each.hostname == NAME]
    world.delete(NAME)
    world.create("newcomer")
    world.delete("other")
    world.run_for(2 * AGE)
    assert world.places() == {"newcomer": "Active/healthy"}
    assert world.cluster.user.machine("other") is None
    machine = world.cluster.user.machine(NAME)
    assert machine
    assert MACHINE_FINALIZER in machine.finalizers
    assert [each.id for each in world.cloud.billing() if each.hostname == NAME] == bought
    assert releases(world) == done + 1, "that of the other one"
    told = [event for event in world.cluster.events.values() if event.reason == "Parked"]
    assert [event.machine.name for event in told] == [NAME]
    assert "until that program is back" in told[0].message
    changed = {name for name, value in kept(path).items() if value != before[name]}
    assert changed <= {"claimed_by", "claimed_until", "due_at"}, "a claim that is over is given back, and nothing else"
    overwrite(path, **{name: str(ORIGINAL[place].get(name, "")) for name in FOREIGN[foreign] if name != "problem_code"})
    unproblem(path)
    world.settle()
    assert [each.hostname for each in world.cloud.devices()] == ["newcomer"]


ORIGINAL = {
    "order": {"state": "Provisioning", "step": "order"},
    "install": {"state": "Provisioning", "step": "install"},
    "healthy": {"state": "Active", "step": "healthy"},
    "release": {"state": "Deleting", "step": "release"},
}


def unproblem(path: Path) -> None:
    """The newer program is done with the problem."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE machines SET problem_code = NULL, problem_message = NULL WHERE name = ?", (NAME,))
    connection.close()


def test_f20_a_parked_machine_without_its_object_keeps_device_and_class(store: SqlStore, path: Path) -> None:
    """Its device is no orphan, however long it is watched, and its class stays protected until somebody understands.

    Another one's device, which is an orphan, goes by the rule as ever.
    """
    world = parked_world(store, path, "healthy", FOREIGN["state"])
    world.create("lost")
    world.run_until(lambda: world.places().get("lost") == "Active/healthy")
    world.cluster.user.make_class("spare", secret=SECRET, spec=world.settings.spec)
    world.invariants.unknown.add(str(kept(path)["uid"]))
    for name in (NAME, "lost"):
        world.cluster.user.strike_out(MachineObject, name)
    world.run_until(lambda: [each.state for each in store.orphans()] == [OrphanState.GONE], limit=6 * AGE)
    assert [each.hostname for each in store.orphans()] == ["lost"]
    assert (releases(world), len(world.cloud.billing())) == (1, 2)
    world.delete("other")
    world.run_until(lambda: world.cluster.user.machine("other") is None)
    world.cluster.user.delete(ClassObject, CLASS)
    world.run_for(2 * MINUTE)
    assert world.cluster.machine_class(CLASS)
    assert [each.hostname for each in world.cloud.billing()] == [NAME]


def test_f20_history_and_lists_tell_what_a_newer_program_wrote(store: SqlStore, path: Path) -> None:
    """`history` tells its lines in its own words, `machines` names the parked one and why, `show` refuses in words."""
    world = parked_world(store, path, "healthy", FOREIGN["state"])
    uid, version = kept(path)["uid"], int(str(kept(path)["version"])) + 1
    with sqlite3.connect(path) as connection:
        connection.execute(
            'INSERT INTO transitions (uid, version, at, "trigger", source_state, source_step, target_state,'
            " target_step, note, problem_code, problem_message, actor) VALUES (?, ?, ?, 'drain-begun', 'Active',"
            " 'healthy', 'Draining', 'evict', 'pods are evicted', 'PodsInTheWay', 'two pods will not go', 'newer')",
            (uid, version, world.clock.now().isoformat(timespec="microseconds")),
        )
    connection.close()
    world.crash()
    world.run_for(MINUTE)
    for word in ("drain-begun", "Draining/evict", "pods are evicted", "two pods will not go"):
        assert word in asked(path, "history", NAME)
    line = json.loads(asked(path, "history", str(uid), "--output", "json"))[-1]
    assert (line["to"], line["problem"]["code"]) == ("Draining/evict", "Unknown")
    assert "nothing is done for this machine" in asked(path, "machines")
    listed = {each["name"]: each for each in json.loads(asked(path, "machines", "--output", "json"))}
    assert (listed[NAME]["state"], listed[NAME]["problem"]["code"]) == ("Draining", "Parked")
    assert listed["other"]["state"] == State.ACTIVE
    refused = CliRunner().invoke(app, ["show", NAME, "--database", f"sqlite:///{path}"])
    assert isinstance(refused.exception, NewerRecordError)
    assert releases(world) == 0
