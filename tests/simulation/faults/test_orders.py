"""F1, F2, F13, F15: purchases whose answers are lost, whose devices hide, that nobody wants any more, or that fail."""

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.domain.machine import MachineFilter
from engine.domain.states import State
from engine.domain.triggers import Trigger
from engine.ports.store import HistoryFilter
from engine.simulators.metal import FaultKind, FaultRule, Operation
from engine.simulators.ports import Moment
from engine.simulators.seed import Seed
from engine.simulators.world import QUICK_METAL, World, WorldSettings
from tests.model.model_store import ModelStore
from tests.simulation.faults.stage import (
    CREATING,
    HOUR,
    MINUTE,
    PLACES,
    SLOW,
    ask,
    at,
    at_call,
    ended,
    mend,
    orders,
    record_of,
    releases,
)
from tests.simulation.lives import LIVES, NAME, RESERVED

LOSSES = {
    "reset": FaultRule(kind=FaultKind.LOST_AFTER, left=1, operation=Operation.CREATE),
    "oh-snap": FaultRule(kind=FaultKind.OH_SNAP_AFTER, left=1, operation=Operation.CREATE),
    "too-late": FaultRule(kind=FaultKind.LATENCY, left=1, operation=Operation.CREATE, seconds=100.0),
}


def world_among_others(**more: object) -> World:
    """A world whose list has one device on each page, and two serving machines."""
    world = World(Seed("orders"), ModelStore(), replace(SLOW, page_size=1, **more))  # type: ignore[arg-type]  # settings
    for name in ("other-1", "other-2"):
        world.create(name)
    world.settle()
    return world


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("moment", [None, *Moment], ids=["alive", "before", "after", "unheard"])
def test_f01_an_order_whose_answer_is_lost_buys_one_device(loss: str, moment: Moment | None) -> None:
    """The device was made and nobody was told, or nobody lived to hear it: it is found by its tag, over all pages."""
    world = world_among_others()
    world.cloud.faults.add(LOSSES[loss])
    if moment:
        world.mishap(_order_of_the_third(), moment)
    world.create(NAME)
    world.settle()
    assert len(world.cloud.history()) == 3
    assert world.crashes == (moment in {Moment.BEFORE, Moment.AFTER})


def _order_of_the_third() -> int:
    world = world_among_others()
    world.create(NAME)
    world.settle()
    return max(int(line.split()[1]) for line in world.trace if " cloud.order " in line)


@pytest.mark.parametrize("seconds", [5.0, 10.0, 15.0, 19.0])
@pytest.mark.parametrize("loss", LOSSES)
def test_f02_a_device_that_is_not_listed_yet_is_waited_for(loss: str, seconds: float) -> None:
    """Within the visibility window an order whose answer was lost is not repeated, also not after a kill."""
    world = world_among_others()
    world.cloud.faults.add(LOSSES[loss], FaultRule(kind=FaultKind.STALE_LIST, seconds=seconds))
    world.create(NAME)
    world.run_until(lambda: len(world.cloud.history()) == 3)
    world.crash()
    world.settle()
    assert len(world.cloud.history()) == 3


def test_f02_a_device_that_hides_longer_than_promised_costs_one_more_for_a_while() -> None:
    """When lists break the window, the second device is given back by itself, and the recorded one stays."""
    world = world_among_others()
    world.cloud.faults.add(LOSSES["reset"], FaultRule(kind=FaultKind.STALE_LIST, seconds=90.0))
    machine = world.create(NAME)
    world.invariants.foreign[machine.uid] = 1
    world.run_until(lambda: len(world.cloud.history()) == 4)
    world.run_until(lambda: len(world.cloud.billing()) == 3)
    world.settle()
    kept = {each.id for each in world.cloud.billing()}
    assert record_of(world).device_id in kept
    assert len(kept) == 3


@pytest.mark.parametrize("place", [place for place in PLACES if place not in {"release", "forget-node"}])
def test_f13_a_deletion_at_every_place_leaves_nothing(place: str) -> None:
    """Wherever a Machine stands when it is deleted, what was bought is returned, and nothing is bought after that."""
    world = at(place)
    bought = len(world.cloud.history())
    world.delete(NAME)
    world.step()
    mend(world)
    world.settle()
    assert not world.cloud.devices()
    assert len(world.cloud.history()) == bought
    assert not world.cluster.user.machines()


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed"])
def test_f13_a_deletion_between_any_two_calls_leaves_nothing(*, killed: bool) -> None:
    """The user deletes the Machine at each single call of its life, in the middle of the engine's turn."""
    calls = LIVES["plain"].run().calls
    for number in range(1, calls + 1):
        world = World(Seed("lives"), ModelStore(), mishaps={number + 1: Moment.AFTER} if killed else {})
        at_call(world, lambda call, number=number: call.number == number, lambda _call, world=world: world.delete(NAME))  # type: ignore[misc]  # bound early
        world.create(NAME)
        world.run_until(lambda world=world, number=number: world.calls >= number)  # type: ignore[misc]  # bound early
        world.delete(NAME)
        world.settle()
        assert not world.cloud.devices(), f"deleted at call {number}"
        assert len(world.cloud.history()) <= 1


@pytest.mark.parametrize("status", [403, 404])
def test_f15_a_device_that_vanishes_fails_its_machine_and_buys_no_other(status: int) -> None:
    """An on-demand device that failed and left the account costs its machine, with a reason, and never a second one."""
    metal = replace(QUICK_METAL, vanished_status=status)
    world = World(Seed("vanishing"), ModelStore(), WorldSettings(metal=metal))
    world.cloud.faults.add(FaultRule(kind=FaultKind.FAIL_PROVISIONING))
    world.create(NAME)
    world.run_for(HOUR)
    _failed_once(world)


def test_f15_a_reserved_device_that_fails_and_stays_fails_its_machine_and_buys_no_other() -> None:
    """A reserved device that failed is kept until somebody deletes its Machine; the reservation is then free again."""
    world = World(Seed("failing"), ModelStore(), RESERVED)
    world.cloud.faults.add(FaultRule(kind=FaultKind.FAIL_AND_STAY))
    world.create(NAME)
    world.run_for(HOUR)
    _failed_once(world)
    assert len(world.cloud.devices()) == 1
    ended(world)
    assert all(each.freed_at for each in world.store.reservations())


def _failed_once(world: World) -> None:
    record = record_of(world)
    assert record.state is State.FAILED
    assert record.problem
    assert orders(world) == 1
    assert releases(world) == 0


@pytest.mark.parametrize("place", CREATING)
def test_f15_a_cloud_without_hardware_is_asked_at_a_moderate_pace(place: str) -> None:
    """A sold-out metro costs a few orders in half an hour, and one Failed with its reason when the time is over."""
    world = at(place)
    world.cloud.faults.add(FaultRule(kind=FaultKind.NO_CAPACITY))
    before = orders(world)
    world.run_for(30 * MINUTE)
    assert orders(world) - before <= 10 * MINUTE / world.settings.policy.capacity_retry + 1
    ended(world)


def test_f15_a_replacement_of_a_failed_machine_is_another_machine() -> None:
    """MCM replaces a failed Machine by a new one: each buys one device, and the failed one's history says why."""
    world = World(Seed("replaced"), ModelStore(), SLOW)
    for number in range(3):
        world.cloud.faults.add(FaultRule(kind=FaultKind.FAIL_AND_STAY, left=1))
        name = f"worker-{number}"
        world.create(name)
        world.run_until(lambda name=name: world.places().get(name) == "Failed/halt")  # type: ignore[misc]  # bound early
        world.delete(name)
    world.run_until(lambda: not world.store.find(MachineFilter(unfinished_only=True)), limit=timedelta(minutes=20))
    failures = world.store.history(HistoryFilter(limit=1000, triggers=frozenset({Trigger.DEVICE_FAILED})))
    assert len(failures) == 3
    assert all(each.problem for each in failures)
    assert len(world.cloud.history()) == 3


def test_f18_a_locked_device_is_asked_for_until_it_is_free() -> None:
    """A device that a person locked refuses to go; its machine keeps its finalizer, and ends when the lock is off."""
    world = at("healthy")
    device = record_of(world).device_id
    ask(world, "PUT", f"/metal/v1/devices/{device}", b'{"locked": true}')
    world.delete(NAME)
    world.run_for(5 * MINUTE)
    assert world.cluster.user.machine(NAME)
    assert releases(world) <= 5 * MINUTE / world.settings.policy.busy_retry
    ask(world, "PUT", f"/metal/v1/devices/{device}", b'{"locked": false}')
    ended(world)
