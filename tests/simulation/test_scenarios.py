"""What went wrong elsewhere, played through: each scenario is a promise that somebody's controller once broke."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.domain.intents import IntentKind
from engine.domain.machine import MachineFilter, MachineRecord
from engine.domain.states import State
from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER, RETRY_ANNOTATION, ClassObject, SecretObject
from engine.ports.store import HistoryFilter
from engine.simulators.http import HttpRequest
from engine.simulators.metal import PROJECT_ID, FaultKind, FaultRule, KeySettings, Operation, ProjectSettings
from engine.simulators.ports import Moment
from engine.simulators.seed import Seed
from engine.simulators.world import OTHER_TOKEN, QUICK_METAL, TOKEN, WRONG_TOKEN, World, WorldSettings
from tests.model.model_store import ModelStore
from tests.simulation.lives import LONELY, NAME, PLAIN, RESERVED

HOUR = timedelta(hours=1)
OTHER_PROJECT = "0b6a3c3e-0000-4000-8000-00000000beef"


def world_with(
    settings: WorldSettings = PLAIN, *, serving: bool = True, mishaps: dict[int, Moment] | None = None
) -> World:
    """A world, and in it a Machine that serves unless told otherwise."""
    world = World(Seed("scenarios"), ModelStore(), settings, mishaps=mishaps)
    if serving:
        world.create(NAME)
        world.settle()
    return world


def record_of(world: World, name: str = NAME) -> MachineRecord:
    """The newest record of this name."""
    return world.store.find(MachineFilter(name=name))[-1]


def triggers(world: World, name: str = NAME) -> list[str]:
    """The facts of a machine's life, in order."""
    return [entry.trigger for entry in world.store.history(HistoryFilter(uid=record_of(world, name).uid))]


def is_in(world: World, state: State, name: str = NAME) -> Callable[[], bool]:
    """Whether the machine is in this state."""
    return lambda: record_of(world, name).state is state


def lists(world: World) -> int:
    """How many lists were asked for."""
    return sum(" cloud.inventory " in line for line in world.trace)


def releases(world: World) -> int:
    """How many returns were asked for."""
    return sum(" cloud.release " in line for line in world.trace)


def test_a_second_device_is_given_back_without_a_human() -> None:
    """A device that shows up long after its order was given up goes, the recorded one stays, and nobody is hammered."""
    world = world_with()
    kept = record_of(world).device_id
    world.buy(NAME, record_of(world).uid)
    world.run_until(lambda: len(world.cloud.devices()) == 2 and len(world.cloud.billing()) == 1)
    world.settle()
    assert [each.id for each in world.cloud.billing()] == [kept]
    assert releases(world) <= 12, "a device that refuses to go is asked every few seconds, not in a loop"


def test_an_empty_list_deletes_and_fails_nothing() -> None:
    """A list that says 200 and nothing, for five minutes, costs no device and no machine."""
    world = world_with()
    world.cloud.faults.add(FaultRule(kind=FaultKind.LIST_EMPTY))
    world.run_for(timedelta(minutes=5))
    assert record_of(world).state is State.ACTIVE
    assert len(world.cloud.billing()) == 1
    assert releases(world) == 0


@pytest.mark.parametrize("kind", [FaultKind.LIST_TRUNCATED, FaultKind.LIST_EMPTY, FaultKind.LIST_PAGE_ERROR])
def test_a_list_that_hides_a_device_does_not_drop_the_finalizer(kind: FaultKind) -> None:
    """While its device refuses to go, a machine that is deleted keeps its finalizer, whatever the lists say."""
    world = world_with(WorldSettings(page_size=1), serving=False)
    world.create(NAME)
    world.create("other")
    world.run_until(lambda: len(world.cloud.history()) == 2)
    world.cloud.faults.add(FaultRule(kind=kind))
    world.delete(NAME)
    world.run_for(timedelta(seconds=12))
    world.cloud.faults.replace()
    world.settle()
    assert [each.hostname for each in world.cloud.devices()] == ["other"]


@pytest.mark.parametrize("kind", [FaultKind.OH_SNAP_BEFORE, FaultKind.LOST_BEFORE, FaultKind.BAD_GATEWAY])
@pytest.mark.parametrize("leaving", [False, True], ids=["serving", "leaving"])
def test_an_empty_list_and_a_failing_look_prove_nothing(kind: FaultKind, *, leaving: bool) -> None:
    """Neither a loss nor the end of a return follows from two calls that say nothing."""
    slow = replace(QUICK_METAL, deprovision_for=HOUR)
    world = world_with(WorldSettings(metal=slow))
    world.cloud.faults.add(FaultRule(kind=FaultKind.LIST_EMPTY), FaultRule(kind=kind, operation=Operation.GET))
    if leaving:
        world.delete(NAME)
    world.run_for(timedelta(minutes=10))
    assert world.cluster.user.machine(NAME)
    assert record_of(world).state is (State.DELETING if leaving else State.ACTIVE)
    world.cloud.faults.replace()
    world.settle(limit=2 * HOUR)


@pytest.mark.parametrize("status", [403, 404])
def test_a_device_that_vanishes_fails_its_machine(status: int) -> None:
    """A device that failed and was moved out of the account is lost; the machine fails, and can be deleted."""
    settings = WorldSettings(metal=replace(QUICK_METAL, vanished_status=status))
    world = world_with(settings, serving=False)
    world.cloud.faults.add(FaultRule(kind=FaultKind.FAIL_PROVISIONING, left=1))
    world.create(NAME)
    world.run_until(lambda: triggered(world))
    assert triggers(world)[-1] == Trigger.DEVICE_LOST
    world.crash()
    world.delete(NAME)
    world.settle()


def triggered(world: World) -> bool:
    """Whether the one machine failed."""
    return any(each.state is State.FAILED for each in world.store.find(MachineFilter()))


@pytest.mark.parametrize("status", [403, 404])
def test_a_device_that_vanished_before_a_restart_is_still_known(status: int) -> None:
    """What an earlier process was shown of an account counts for the next."""
    settings = WorldSettings(metal=replace(QUICK_METAL, vanished_status=status))
    world = world_with(settings, serving=False)
    world.cloud.faults.add(FaultRule(kind=FaultKind.FAIL_PROVISIONING, left=1))
    world.create(NAME)
    world.run_until(lambda: [each for each in world.cloud.history() if each.state == "failed"])
    world.crash()
    world.run_until(lambda: triggered(world))
    world.delete(NAME)
    world.settle()


def test_a_key_that_lost_its_rights_proves_nothing() -> None:
    """An hour of 401 during a deletion drops no finalizer; a good key ends the deletion."""
    world = world_with()
    world.rotate(WRONG_TOKEN)
    world.delete(NAME)
    world.run_for(HOUR)
    held = world.cluster.user.machine(NAME)
    assert held
    assert MACHINE_FINALIZER in held.finalizers
    assert len(world.cloud.billing()) == 1
    world.rotate(TOKEN)
    world.settle()


@pytest.mark.parametrize("asked", [False, True], ids=["before", "after"])
def test_a_key_of_another_project_proves_nothing(*, asked: bool) -> None:
    """A class that was moved to another project sees neither list nor device; the finalizer stays until it is back.

    It is moved before the return is asked for, or after it was accepted.
    """
    metal = replace(
        QUICK_METAL,
        projects=(ProjectSettings(id=PROJECT_ID), ProjectSettings(id=OTHER_PROJECT)),
        keys=(
            KeySettings(token=TOKEN, projects=(PROJECT_ID,)),
            KeySettings(token=OTHER_TOKEN, projects=(OTHER_PROJECT,)),
        ),
        deprovision_for=timedelta(minutes=30),
    )
    world = world_with(WorldSettings(metal=metal))
    world.delete(NAME)
    if asked:
        world.run_until(lambda: not world.cloud.billing())
    world.rotate(OTHER_TOKEN)
    world.reclass(projectID=OTHER_PROJECT)
    world.run_for(timedelta(minutes=10))
    assert world.cluster.user.machine(NAME)
    world.rotate(TOKEN)
    world.reclass(projectID=PROJECT_ID)
    world.settle(limit=HOUR)


@pytest.mark.parametrize("settings", [PLAIN, LONELY], ids=["target", "lonely"])
def test_a_take_over_during_an_outage_fails_nobody(settings: WorldSettings) -> None:
    """Machines that are older than the creation timeout are taken over by a new database while the cloud is away."""
    world = world_with(settings)
    world.run_for(timedelta(minutes=30))
    world.cloud.faults.add(FaultRule(kind=FaultKind.LOST_BEFORE))
    world.lose_store(ModelStore())
    world.run_for(timedelta(minutes=5))
    assert record_of(world).state is not State.FAILED
    world.cloud.faults.replace()
    world.settle()
    assert len(world.cloud.history()) == 1


def test_a_take_over_waits_for_what_was_just_bought() -> None:
    """The device that an earlier controller bought a moment ago is adopted, although no list shows it yet."""
    world = world_with(serving=False)
    world.cloud.faults.add(FaultRule(kind=FaultKind.STALE_LIST, seconds=15.0))
    machine = world.create(NAME, finalizers=(MACHINE_FINALIZER,))
    world.buy(NAME, machine.uid)
    world.settle()
    assert len(world.cloud.history()) == 1


def test_a_take_over_without_its_secret_fails_nobody() -> None:
    """A Secret that is missing for half an hour at a take-over must not have every machine replaced."""
    world = world_with()
    world.run_for(timedelta(minutes=30))
    world.cluster.user.make_class("workers", secret="nowhere", spec=world.settings.spec)
    world.lose_store(ModelStore())
    world.run_for(timedelta(minutes=30))
    assert record_of(world).state is State.PENDING
    world.cluster.user.make_class("workers", secret="workers-key", spec=world.settings.spec)
    world.settle()


def test_another_machines_device_is_neither_adopted_nor_returned() -> None:
    """A providerID that names the device of another Machine is a mistake, and costs that Machine nothing."""
    world = world_with()
    taken = record_of(world)
    world.create("thief", provider_id=taken.provider_id)
    world.run_for(timedelta(minutes=1))
    assert record_of(world, "thief").device_id is None
    world.delete("thief")
    world.settle()
    assert [each.id for each in world.cloud.billing()] == [taken.device_id]


def test_a_providerid_that_is_changed_later_returns_nobodys_device() -> None:
    """The device of another Machine is not returned because somebody wrote its id into this one."""
    world = world_with()
    world.create("other")
    world.settle()
    world.cluster.user.change_machine(NAME, provider_id=record_of(world, "other").provider_id)
    world.delete(NAME)
    world.crash()
    world.settle()
    assert [each.hostname for each in world.cloud.billing()] == ["other"]


def test_a_reservation_is_not_held_by_a_machine_that_never_ordered() -> None:
    """A process that dies between the hold and the order's intent leaves no hold behind when the machine is deleted."""
    number = next(
        index for index, line in enumerate(world_with(RESERVED).trace, start=1) if "store.hold_reservation" in line
    )
    world = world_with(RESERVED, serving=False, mishaps={number: Moment.AFTER})
    world.create(NAME)
    world.run_until(lambda: world.crashes)
    assert [each.freed_at for each in world.store.reservations()] == [None]
    world.delete(NAME)
    world.settle()
    assert not world.cloud.history()


def test_a_retry_after_a_lost_device_buys_another() -> None:
    """An operator's retry of a machine whose device is proven gone ends with a new device, named in the object."""
    world = world_with()
    lost = record_of(world).device_id
    take_away(world, str(lost))
    world.run_until(is_in(world, State.FAILED))
    world.cluster.user.change_machine(NAME, annotations={RETRY_ANNOTATION: "1"})
    world.run_until(is_in(world, State.ACTIVE))
    world.settle()
    machine, now = world.cluster.user.machine(NAME), record_of(world)
    assert machine
    assert now.device_id != lost
    assert machine.provider_id == now.provider_id


def take_away(world: World, device_id: str) -> None:
    """Somebody deletes the device in the cloud's console."""
    path = f"/metal/v1/devices/{device_id}"
    world.cloud.handle(HttpRequest(method="DELETE", path=path, headers={"x-auth-token": TOKEN}))


def test_a_stripped_finalizer_costs_no_device() -> None:
    """An object that vanished without a deletion fails its machine; its device stays, and is known."""
    world = world_with()
    world.cluster.user.change_machine(NAME, finalizers=())
    world.delete(NAME)
    assert world.cluster.user.machine(NAME) is None
    world.run_until(is_in(world, State.FAILED))
    world.run_for(timedelta(minutes=10))
    assert len(world.cloud.billing()) == 1
    assert releases(world) == 0


def test_a_purchase_in_doubt_is_looked_for_at_a_moderate_pace() -> None:
    """A lost answer to an order costs some lists over the visibility window, and no second device."""
    world = world_with(serving=False)
    world.cloud.faults.add(
        FaultRule(kind=FaultKind.LOST_AFTER, left=1, operation=Operation.CREATE),
        FaultRule(kind=FaultKind.STALE_LIST, seconds=15.0),
    )
    world.create(NAME)
    world.run_until(world.cloud.history)
    before = lists(world)
    world.run_until(lambda: record_of(world).device_id)
    assert lists(world) - before <= 10
    world.settle()
    assert len(world.cloud.history()) == 1


def test_a_purchase_that_never_happened_is_made_after_the_window() -> None:
    """An order whose connection broke before it arrived is made once more, and not before the window is over."""
    world = world_with(serving=False)
    world.cloud.faults.add(FaultRule(kind=FaultKind.LOST_BEFORE, left=1, operation=Operation.CREATE))
    world.create(NAME)
    waited = world.run_until(world.cloud.history)
    assert waited >= world.settings.policy.visibility_window
    world.settle()
    intents = [each.result for each in world.store.intents(record_of(world).uid) if each.kind is IntentKind.ORDER]
    assert [str(each) for each in intents] == ["never-happened", "done"]


def test_a_purchase_in_doubt_says_why_it_is_not_looked_for() -> None:
    """With its Secret gone, a machine in doubt neither buys nor is silent."""
    world = world_with(serving=False)
    world.cloud.faults.add(FaultRule(kind=FaultKind.LOST_AFTER, left=1, operation=Operation.CREATE))
    world.create(NAME)
    world.run_until(world.cloud.history)
    world.cluster.user.make_class("workers", secret="nowhere", spec=world.settings.spec)
    world.run_for(timedelta(seconds=30))
    fault = record_of(world).problem
    assert fault
    assert "nowhere" in fault.message
    world.cluster.user.make_class("workers", secret="workers-key", spec=world.settings.spec)
    world.settle()
    assert len(world.cloud.history()) == 1


def test_a_device_of_the_go_controller_goes_with_its_machine() -> None:
    """A Machine that is first seen while it is deleted loses the untagged device that was bought under its name."""
    world = world_with(serving=False)
    world.buy_untagged(NAME)
    world.create(NAME, finalizers=(MACHINE_FINALIZER,))
    world.delete(NAME)
    world.settle()
    assert not world.cloud.devices()


def test_health_follows_the_node() -> None:
    """A Node that falls silent makes its machine unhealthy, and healthy again when it is back."""
    world = world_with()
    world.cluster.user.set_ready(NAME, ready=False)
    world.run_until(lambda: "Unknown" in str(world.cluster.user.machine(NAME)))
    world.cluster.user.set_ready(NAME, ready=True)
    world.settle()
    assert triggers(world)[-2:] == [Trigger.HEALTH_LOST, Trigger.HEALTH_REGAINED]


def test_secrets_and_classes_are_let_go_after_their_machines() -> None:
    """A class and its Secret that are deleted while in use stay until the last Machine is gone."""
    world = world_with()
    world.cluster.user.delete(ClassObject, "workers")
    world.cluster.user.delete(SecretObject, "workers-key")
    world.run_for(timedelta(minutes=1))
    assert world.cluster.machine_class("workers")
    world.delete(NAME)
    world.settle()
    assert not world.cluster.machine_class("workers")
    assert not world.cluster.secrets()
