"""F21: one object that nobody can digest, or one handler with a bug, spoils nothing but itself."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from engine.domain.states import State
from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER
from engine.ports.cluster import Kind, ObjectRefusedError
from engine.ports.store import HistoryFilter
from engine.simulators import engine_life
from engine.simulators.seed import Seed
from engine.simulators.world import CLASS, SECRET, World
from engine.workflow.runner import Runner
from engine.workflow.step import Context
from engine.workflow.steps.install import Install
from engine.workflow.steps.release import ReleaseDevices
from engine.workflow.steps.serve import Serve
from engine.workflow.steps.validate import Validate
from tests.model.model_store import ModelStore
from tests.simulation.faults.stage import MINUTE, SLOW, orders, record_of, releases
from tests.simulation.lives import NAME

HUGE = "x" * 1_500_000
TOO_LARGE = ObjectRefusedError(f"machines/{NAME}: the API server answered 413: Request entity too large")
GARBAGE: dict[str, Any] = {
    "nothing": {},
    "words": {"projectID": "not an id", "metro": ["da"], "machineType": 7, "OS": None, "tags": "none"},
    "nesting": {"projectID": {"a": [{"b": {}}] * 50}},
    "controls": {"projectID": "\x00\x1b[31m", "metro": "\ud800", "machineType": "💥", "OS": "", "tags": [None]},
}
Lines = list[Any]


@pytest.fixture(autouse=True)
def silent() -> Iterator[Lines]:
    """The log is kept: here, faults of the engine are made on purpose."""
    kept = structlog.get_config()
    with structlog.testing.capture_logs() as lines:
        yield lines
    structlog.configure(**kept)


def faults(lines: Lines) -> Lines:
    """What the log tells of faults of the engine."""
    return [line for line in lines if line["log_level"] == "error"]


def with_others() -> World:
    """A world in which two healthy Machines serve."""
    world = World(Seed("poison"), ModelStore(), SLOW)
    for name in ("other-1", "other-2"):
        world.create(name)
    world.settle()
    return world


def others_live(world: World) -> None:
    """The healthy ones serve, one more comes to serve, and one of them goes, as if nothing was."""
    world.create("newcomer")
    world.delete("other-1")
    world.run_until(lambda: world.places().get("newcomer") == "Active/healthy")
    world.run_until(lambda: world.cluster.user.machine("other-1") is None)
    assert world.places()["other-2"] == "Active/healthy"


def told(world: World) -> str:
    """Everything that anybody is told about the poisoned Machine."""
    machine = world.cluster.user.machine(NAME)
    record = record_of(world)
    about = [event.message for event in world.cluster.events.values() if event.machine.name == NAME]
    status = machine.status.operation if machine and machine.status else None
    return " ".join([*about, status.description if status else "", record.problem.message if record.problem else ""])


@pytest.mark.parametrize("spec", GARBAGE)
def test_f21_a_class_that_is_garbage_spoils_its_own_machines_only(spec: str) -> None:
    """Its Machine says what is wrong, buys nothing, and can be deleted; Machines of other classes notice nothing."""
    world = with_others()
    world.cluster.user.make_class("garbage", secret=SECRET, spec=GARBAGE[spec])
    world.cluster.user.make_machine(NAME, class_name="garbage")
    others_live(world)
    assert "projectID" in told(world)
    assert orders(world) == 3
    world.delete(NAME)
    world.settle()


@pytest.mark.parametrize("spec", GARBAGE)
def test_f21_a_class_that_becomes_garbage_still_lets_its_machines_go(spec: str) -> None:
    """What was bought while it was in order stays while it is not, and goes when the account is readable again."""
    world = with_others()
    world.cluster.user.make_class(CLASS, secret=SECRET, spec=GARBAGE[spec])
    world.delete("other-1")
    world.run_for(5 * MINUTE)
    held = world.cluster.user.machine("other-1")
    assert held
    assert MACHINE_FINALIZER in held.finalizers
    assert world.places()["other-2"] == "Active/healthy"
    fault = record_of(world, "other-1").problem
    assert fault
    assert CLASS in fault.message
    world.cluster.user.make_class(CLASS, secret=SECRET, spec=world.settings.spec)
    world.run_until(lambda: world.cluster.user.machine("other-1") is None)
    world.settle()
    assert [each.hostname for each in world.cloud.devices()] == ["other-2"]


def test_f21_an_object_that_is_too_large_to_change_says_so_and_buys_nothing() -> None:
    """With an annotation of 1.5 MB every patch is refused: unprotected, it never buys; its deletion needs no patch."""
    world = with_others()
    world.cluster.odd[NAME] = TOO_LARGE
    world.create(NAME, annotations={"note": HUGE})
    others_live(world)
    world.run_for(5 * MINUTE)
    assert "Request entity too large" in told(world)
    assert orders(world) == 3
    assert world.cluster.writes["patch_machine"] < 60, "it is tried ever more slowly"
    world.delete(NAME)
    world.run_until(lambda: world.cluster.user.machine(NAME) is None)
    world.settle()


def test_f21_an_object_that_becomes_too_large_to_change_serves_and_goes() -> None:
    """Its status can be written no more; its device serves all the same, and goes with it."""
    world = with_others()
    world.create(NAME)
    world.settle()
    world.cluster.user.change_machine(NAME, annotations={"note": HUGE})
    world.cluster.odd[NAME] = TOO_LARGE
    world.cluster.user.set_ready(NAME, ready=False)
    others_live(world)
    assert world.places()[NAME] == "Active/unhealthy"
    world.delete(NAME)
    world.run_until(lambda: world.cluster.user.machine(NAME) is None)
    world.settle()
    assert sorted(each.hostname for each in world.cloud.devices()) == ["newcomer", "other-2"]


@pytest.mark.parametrize("name", ["würfel-ß", "машина", "機械", "a" * 300, "-worker-", "w\u202ekro", "up.per.Case"])
def test_f21_a_name_that_no_device_can_have_is_told(name: str) -> None:
    """Nothing is bought under it, the reason is told, and the Machine can be deleted."""
    world = with_others()
    world.create(name)
    others_live(world)
    record = record_of(world, name)
    assert record.problem
    assert "name" in record.problem.message
    assert orders(world) == 3
    world.delete(name)
    world.settle()


def test_f21_a_machine_that_cannot_be_read_after_a_restart_is_not_taken_for_gone() -> None:
    """It is there, whatever it says: nobody fails it, its device stays, and orphans are kept meanwhile."""
    world = with_others()
    world.create(NAME)
    world.settle()
    world.cluster.blurred.append((Kind.MACHINE, NAME))
    world.cluster.watch.hidden = ((Kind.MACHINE, NAME),)
    world.crash()
    world.run_for(10 * MINUTE)
    assert record_of(world).state is State.ACTIVE
    others_live(world)
    world.cluster.blurred.clear()
    world.cluster.watch.hidden = ()
    world.cluster.relist()
    world.delete(NAME)
    world.settle()
    assert NAME not in {each.hostname for each in world.cloud.devices()}


def spoiled(step: type[Any], monkeypatch: pytest.MonkeyPatch) -> tuple[World, list[Exception]]:
    """A world whose runner forgives, as in production, and the bug in one of its steps, which strikes one Machine."""
    plain, bugs = step.decide, list[Exception]([KeyError("a bug in one handler")])

    def decide(self: object, context: Context) -> Any:
        if context.record.name == NAME and bugs:
            raise bugs[-1]
        return plain(self, context)

    monkeypatch.setattr(engine_life, "_StrictRunner", Runner)
    monkeypatch.setattr(step, "decide", decide)
    return with_others(), bugs


@pytest.mark.parametrize("step", [Validate, Install, Serve, ReleaseDevices])
def test_f21_a_bug_in_one_handler_strikes_one_machine(
    step: type[Any], monkeypatch: pytest.MonkeyPatch, silent: Lines
) -> None:
    """The others notice nothing; the fault is told in an Event and in the log, and does not spin."""
    world, bugs = spoiled(step, monkeypatch)
    world.create(NAME)
    world.run_for(2 * MINUTE)
    if step is ReleaseDevices:
        world.delete(NAME)
        world.run_for(2 * MINUTE)
    others_live(world)
    assert "a fault of the engine (KeyError)" in told(world)
    assert 1 <= len(faults(silent)) <= 30, "a bug must not spin"
    bugs.clear()
    world.run_for(2 * MINUTE)
    world.delete(NAME)
    world.settle()
    assert len([each for each in world.cloud.history() if each.hostname == NAME]) <= 1


@pytest.mark.parametrize("step", [Validate, Install, Serve])
def test_f21_a_bug_in_one_handler_keeps_no_machine_from_its_deletion(
    step: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cannot live because of a bug can still go: its device is returned, and its object let go."""
    world, _ = spoiled(step, monkeypatch)
    world.create(NAME)
    world.run_for(2 * MINUTE)
    world.delete(NAME)
    world.settle()
    assert sorted(each.hostname for each in world.cloud.devices()) == ["other-1", "other-2"]
    lines = world.store.history(HistoryFilter(uid=record_of(world).uid))
    assert lines[-1].trigger == Trigger.FINALIZED
    assert releases(world) <= 1
