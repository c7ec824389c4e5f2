"""Lists that lie, classes that waste and Nodes that go dark at once: the breakers open in time, and close again."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from engine.domain.breakers import Breaker, Limits
from engine.domain.machine import MachineFilter
from engine.domain.states import State
from engine.domain.triggers import Trigger
from engine.domain.wanted import CLOSE_BREAKER_ANNOTATION, MachineObject
from engine.metrics import BREAKER_OPEN
from engine.ports.store import HistoryFilter
from engine.simulators.http import HttpRequest
from engine.simulators.metal import FaultKind, FaultRule, Operation
from engine.simulators.seed import Seed
from engine.simulators.world import CLASS, QUICK_METAL, SECRET, TOKEN, World, WorldSettings
from tests.model.model_store import ModelStore

FLEET = 14
WASTE_MAX = 3
CONFIRMATION = timedelta(minutes=2)
SETTINGS = WorldSettings(
    metal=replace(QUICK_METAL, deprovision_for=timedelta(0)),
    limits=Limits(list_confirmation=CONFIRMATION, wasted_purchases_per_hour=WASTE_MAX),
)
LIES = pytest.mark.parametrize("kind", [FaultKind.LIST_EMPTY, FaultKind.LIST_TRUNCATED])


def fleet(settings: WorldSettings = SETTINGS) -> World:
    """A world with a fleet that serves."""
    world = World(Seed("breakers"), ModelStore(), settings)
    for number in range(FLEET):
        world.create(f"worker-{number}")
    world.settle()
    return world


def is_open(world: World, breaker: Breaker) -> Callable[[], bool]:
    """Whether this breaker is open."""
    return lambda: any(each.breaker is breaker for each in world.engine.breakers.opened())


def events(world: World, reason: str) -> list[str]:
    """What the Events of this reason say."""
    return [each.message for each in world.cluster.events.values() if each.reason == reason]


def annotate(world: World, value: str) -> None:
    """An operator gives an order."""
    held = world.cluster.machine_class(CLASS)
    spec = held.provider_spec if held and held.provider_spec else {}
    world.cluster.user.make_class(CLASS, secret=SECRET, spec=spec, annotations={CLOSE_BREAKER_ANNOTATION: value})


def remove_half(world: World) -> None:
    """Somebody deletes half of the devices in the console, and they are gone before a list is asked for."""
    for each in world.cloud.devices()[: FLEET // 2]:
        headers = {"x-auth-token": TOKEN}
        world.cloud.handle(HttpRequest(method="DELETE", path=f"/metal/v1/devices/{each.id}", headers=headers))


def failures(world: World) -> int:
    """How many machines failed so far."""
    return len(world.store.history(HistoryFilter(triggers=frozenset({Trigger.DEVICE_LOST, Trigger.DEVICE_FAILED}))))


@LIES
def test_a_list_that_shrank_fails_nothing_and_is_forgotten_when_the_devices_are_back(kind: FaultKind) -> None:
    """While half of the fleet or all of it is missing, everything serves; the breaker tells, and closes by itself."""
    world = fleet()
    world.cloud.faults.add(FaultRule(kind=kind))
    world.run_until(is_open(world, Breaker.LIST_SHRANK))
    assert BREAKER_OPEN.labels(breaker=Breaker.LIST_SHRANK)._value.get() == 1
    world.run_for(CONFIRMATION / 2)
    assert set(world.places().values()) == {"Active/healthy"}
    world.cloud.faults.replace()
    world.run_until(lambda: not is_open(world, Breaker.LIST_SHRANK)())
    world.settle()
    assert len(world.cloud.billing()) == FLEET
    assert failures(world) == 0
    assert [text for text in events(world, "BreakerOpened") if "console" in text and "close-breaker" in text]
    assert events(world, "BreakerClosed")


@LIES
def test_a_list_that_shrank_stops_neither_births_nor_deaths_for_good(kind: FaultKind) -> None:
    """Machines that come and go while lists lie are served when the lie is over; nothing is bought twice or left."""
    world = fleet()
    world.create("newcomer")
    world.run_until(lambda: len(world.cloud.billing()) == FLEET + 1)
    world.cloud.faults.add(FaultRule(kind=kind))
    world.run_until(is_open(world, Breaker.LIST_SHRANK))
    world.create("late")
    for number in range(3):
        world.delete(f"worker-{number}")
    world.run_for(CONFIRMATION / 2)
    world.cloud.faults.replace()
    world.settle()
    assert len(world.cloud.billing()) == FLEET - 1
    assert failures(world) == 0


def test_a_purchase_in_doubt_is_not_given_up_because_of_a_list_that_shrank() -> None:
    """Lists that show nothing never prove that an order with a lost answer did not happen."""
    world = fleet()
    world.cloud.faults.add(FaultRule(kind=FaultKind.LIST_EMPTY))
    world.run_until(is_open(world, Breaker.LIST_SHRANK))
    buyer = world.create("in-doubt")
    world.cloud.faults.add(FaultRule(kind=FaultKind.LOST_AFTER, operation=Operation.CREATE, left=1))
    world.run_until(lambda: len(world.cloud.history()) > FLEET)
    world.run_for(CONFIRMATION / 2)
    assert [each.unresolved for each in world.store.intents(buyer.uid)] == [True]
    world.cloud.faults.replace()
    world.settle()
    assert len(world.cloud.history()) == FLEET + 1


def test_a_loss_that_lists_confirm_is_believed() -> None:
    """Devices that somebody deleted in the console are doubted at first, and lost when lists kept saying so."""
    world = fleet()
    remove_half(world)
    world.run_until(is_open(world, Breaker.LIST_SHRANK))
    assert failures(world) == 0
    world.run_until(lambda: failures(world) == FLEET // 2)
    assert not is_open(world, Breaker.LIST_SHRANK)()


def test_a_restart_believes_no_list_that_lost_what_the_last_process_saw() -> None:
    """The first list of a new process is compared with the devices that the database remembers."""
    world = fleet()
    world.cloud.faults.add(FaultRule(kind=FaultKind.LIST_EMPTY))
    world.crash()
    world.run_until(is_open(world, Breaker.LIST_SHRANK))
    world.run_for(CONFIRMATION / 2)
    assert set(world.places().values()) == {"Active/healthy"}
    world.cloud.faults.replace()
    world.settle()


def test_an_operator_has_a_list_believed_at_once() -> None:
    """The annotation on a class closes the breaker, and the next list counts."""
    world = fleet()
    remove_half(world)
    world.run_until(is_open(world, Breaker.LIST_SHRANK))
    annotate(world, "list-shrank=1")
    passed = world.run_until(lambda: failures(world) == FLEET // 2)
    assert passed < CONFIRMATION


def doomed_class(world: World) -> None:
    """Every device of the class fails, and MCM replaces each Machine that failed."""
    world.cloud.faults.add(FaultRule(kind=FaultKind.FAIL_PROVISIONING))
    world.create("loop-0")


def replace_failed(world: World, span: timedelta) -> None:
    """Let time pass while MCM replaces what failed."""
    end = world.clock.now() + span
    while world.clock.now() < end:
        world.step()
        for record in world.store.find(MachineFilter(states=frozenset({State.FAILED}))):
            found = world.cluster.user.machine(record.name)
            if found and not found.deletion_requested_at:
                world.cluster.user.delete(MachineObject, record.name)
                world.create(f"after-{record.uid[:8]}")


def barred_class() -> World:
    """A world whose class wasted too much, and three Machines that wait until it may buy again."""
    world = World(Seed("waste"), ModelStore(), SETTINGS)
    doomed_class(world)
    replace_failed(world, timedelta(minutes=5))
    world.create("second")
    world.create("third")
    return world


def test_a_class_whose_devices_always_fail_stops_buying() -> None:
    """After so many failures nothing is bought, also after a restart; the waiting Machine says why."""
    world = World(Seed("waste"), ModelStore(), SETTINGS)
    doomed_class(world)
    replace_failed(world, timedelta(minutes=15))
    assert len(world.cloud.history()) == WASTE_MAX
    assert is_open(world, Breaker.WASTED_PURCHASES)()
    waiting = world.store.find(MachineFilter(unfinished_only=True))
    assert [each for each in waiting if each.problem and "without ever serving" in each.problem.message]
    world.crash()
    replace_failed(world, timedelta(minutes=5))
    assert len(world.cloud.history()) == WASTE_MAX, "the count survives a restart"


def test_a_class_that_wasted_tries_one_device_at_a_time_and_goes_on_when_one_serves() -> None:
    """When the hour is over the breaker closes; three Machines cost one device until it serves, then all are bought."""
    world = barred_class()
    replace_failed(world, timedelta(hours=2))
    assert len(world.cloud.history()) <= 3 * WASTE_MAX, "no more than the limit in any hour"
    tried = sorted((each.created_at, each.ended_at or each.created_at) for each in world.cloud.history())[WASTE_MAX:]
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(tried)), "on trial, one at a time"
    world.cloud.faults.replace()
    replace_failed(world, timedelta(hours=1, minutes=10))
    assert len(world.cloud.billing()) == len(world.cluster.user.machines()) == 3
    assert not world.engine.breakers.opened()


def test_a_try_that_ends_in_any_way_makes_room_for_the_next() -> None:
    """On trial, the Machine that tries is removed by force; the next one may buy."""
    world = barred_class()
    world.cloud.faults.replace()
    bought = len(world.cloud.history())
    for _ in range(600):
        replace_failed(world, timedelta(seconds=10))
        if len(world.cloud.history()) > bought:
            break
    assert len(world.cloud.history()) == bought + 1, "one tries"
    world.cluster.user.strike_out(MachineObject, world.cloud.history()[-1].hostname)
    replace_failed(world, timedelta(minutes=30))
    serving = [each for each in world.places().values() if each == "Active/healthy"]
    assert len(serving) == len(world.cluster.user.machines()) > 0


def test_an_operator_lets_a_class_buy_again() -> None:
    """The annotation closes the breaker at once; the same value is not obeyed a second time."""
    world = World(Seed("waste"), ModelStore(), SETTINGS)
    doomed_class(world)
    replace_failed(world, timedelta(minutes=10))
    annotate(world, "unhealthy-nodes, wasted-purchases=1")
    replace_failed(world, timedelta(minutes=10))
    assert len(world.cloud.history()) == 2 * WASTE_MAX
    replace_failed(world, timedelta(minutes=5))
    assert len(world.cloud.history()) == 2 * WASTE_MAX


def test_nodes_that_go_dark_at_once_open_the_breaker() -> None:
    """While more than a fifth of the Nodes are unhealthy, no machine is judged by its health; then all is as before."""
    world = fleet()
    for number in range(5):
        world.cluster.user.set_ready(f"worker-{number}", ready=False)
    world.run_until(is_open(world, Breaker.UNHEALTHY_NODES))
    assert not world.engine.breakers.health_counts()
    assert len(world.cloud.billing()) == FLEET
    for number in range(5):
        world.cluster.user.set_ready(f"worker-{number}", ready=True)
    world.settle()
    assert world.engine.breakers.health_counts()


def test_devices_are_given_back_unasked_only_so_often() -> None:
    """Duplicates beyond the limit stay until the hour is over; the breaker says where to look."""
    settings = WorldSettings(target=False, limits=Limits(unasked_deletions_per_hour=2))
    world = World(Seed("duplicates"), ModelStore(), settings)
    machines = [world.create(f"worker-{number}") for number in range(4)]
    world.settle()
    for machine in machines:
        world.buy(machine.name, machine.uid)
    world.run_until(is_open(world, Breaker.UNASKED_DELETIONS))
    world.run_for(timedelta(minutes=10))
    assert len(world.cloud.billing()) >= 5
    assert [text for text in events(world, "BreakerOpened") if "another controller" in text]
    world.settle(limit=timedelta(hours=2))
    assert len(world.cloud.billing()) == 4
