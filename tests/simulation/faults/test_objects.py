"""F17: Machines that a backup brings back, that are replaced, or that vanish by force; finalizers that are stripped."""

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.domain.intents import IntentKind
from engine.domain.machine import MachineFilter
from engine.domain.orphans import OrphanState
from engine.domain.states import State
from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER, RETRY_ANNOTATION, ClassObject, MachineObject, SecretObject
from engine.ports.store import HistoryFilter
from engine.reconcile.orphans import OrphanPolicy
from engine.simulators.seed import Seed
from engine.simulators.world import CLASS, TOKEN, World
from tests.model.model_store import ModelStore
from tests.simulation.faults.stage import HOUR, LEAVING, MINUTE, PLACES, SLOW, at, ended, orders, record_of, releases
from tests.simulation.lives import NAME

AGE = 10 * MINUTE
SETTINGS = replace(SLOW, orphans=OrphanPolicy(age=AGE), tick_max=timedelta(seconds=8))
BELIEVED = SETTINGS.policy.object_restored_after
LIVING = [place for place in PLACES if place not in LEAVING]


def serving(*names: str) -> World:
    """A world in which these Machines serve."""
    world = World(Seed("objects"), ModelStore(), SETTINGS)
    for name in names:
        world.create(name)
    world.settle()
    return world


def kept(world: World, name: str = NAME) -> MachineObject:
    """A backup of this object."""
    machine = world.cluster.user.machine(name)
    assert machine
    return machine


def put_back(world: World, backup: MachineObject) -> None:
    """The backup is written over whatever is there, as a restored etcd has it: uid, finalizers, status and all."""
    world.cluster.user._shelf.put(backup)


def triggers(world: World, name: str = NAME) -> list[str]:
    """The facts of a machine's life, in order."""
    return [entry.trigger for entry in world.store.history(HistoryFilter(uid=record_of(world, name).uid))]


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed"])
def test_f17_a_machine_that_a_backup_brings_back_after_its_end_fails_and_says_so(*, killed: bool) -> None:
    """It is not silent for ever: its status and an Event say what happened and what to do; nothing is bought for it.

    Its history goes on where it had ended, and its deletion ends it once more.
    """
    world = serving(NAME, "other")
    backup = kept(world)
    world.delete(NAME)
    world.settle()
    told = triggers(world)
    put_back(world, backup)
    if killed:
        world.crash()
    world.run_for(BELIEVED - MINUTE)
    assert triggers(world) == told, "a cache that lags must begin nothing"
    world.run_until(lambda: record_of(world).state is State.FAILED)
    world.run_for(MINUTE)
    status = kept(world).status
    assert status
    assert status.operation
    assert "delete it to have it replaced" in status.operation.description
    assert [event for event in world.cluster.events.values() if event.reason == "ObjectRestored"]
    assert triggers(world) == [*told, Trigger.OBJECT_RESTORED]
    assert orders(world) == 2
    world.delete(NAME)
    world.settle()
    assert triggers(world)[-1] == Trigger.FINALIZED
    assert (len(world.cloud.history()), len(world.cloud.billing())) == (2, 1)


def test_f17_a_machine_that_is_back_buys_anew_when_an_operator_asks() -> None:
    """The retry orders a device under the next number, so that no intent is mistaken for one of the first life."""
    world = serving(NAME)
    backup = kept(world)
    world.delete(NAME)
    world.settle()
    put_back(world, backup)
    world.run_until(lambda: record_of(world).state is State.FAILED)
    world.cluster.user.change_machine(NAME, annotations={RETRY_ANNOTATION: "1"})
    world.run_until(lambda: record_of(world).state is State.ACTIVE)
    world.settle()
    bought = [each.intent_id for each in world.store.intents(record_of(world).uid) if each.kind is IntentKind.ORDER]
    assert [each.rsplit("/", 1)[-1] for each in bought] == ["1", "2"]
    assert kept(world).provider_id == record_of(world).provider_id
    ended(world)
    assert len(world.cloud.history()) == 2


@pytest.mark.parametrize("finished", [False, True], ids=["deleting", "finished"])
@pytest.mark.parametrize("still", [False, True], ids=["wanted", "unwanted"])
def test_f17_a_backup_of_a_machine_that_is_being_deleted_leaves_nothing(*, finished: bool, still: bool) -> None:
    """Brought back before or after the end, to be deleted or not: its one device goes, and it can always be deleted."""
    world = serving(NAME, "other")
    wanted = kept(world)
    world.delete(NAME)
    world.run_until(lambda: not world.cloud.billing()[1:])
    backup = kept(world) if still else wanted
    if finished:
        world.settle()
    put_back(world, backup)
    world.run_until(lambda: still or record_of(world).state is State.FAILED, limit=30 * MINUTE)
    world.delete(NAME)
    world.run_until(lambda: world.cluster.user.machine(NAME) is None, limit=30 * MINUTE)
    world.settle()
    assert (orders(world), releases(world), len(world.cloud.devices())) == (2, 1, 1)


def test_f17_a_machine_that_somebody_else_holds_after_its_end_is_left_alone() -> None:
    """An object that another finalizer holds is no object that came back: its history has ended for good."""
    world = serving(NAME, "other")
    world.cluster.user.change_machine(NAME, finalizers=(MACHINE_FINALIZER, "somebody/else"))
    world.delete(NAME)
    world.run_until(lambda: record_of(world).finished)
    told = triggers(world)
    for number in range(3):
        world.cluster.user.change_machine(NAME, labels={"seen": str(number)})
        world.run_for(BELIEVED)
    assert triggers(world) == told
    assert kept(world).finalizers == ("somebody/else",)


def test_f17_a_machine_of_the_same_name_is_another_machine() -> None:
    """Replaced by force, the old uid's device is an orphan with its price, and the new uid buys its own."""
    world = serving(NAME, "other")
    old = kept(world)
    world.cluster.user.strike_out(MachineObject, NAME)
    new = world.create(NAME)
    world.run_until(world.store.orphans)
    orphan = world.store.orphans()[0]
    assert (orphan.uid, orphan.price_per_hour, orphan.state) == (old.uid, 0.75, OrphanState.QUARANTINED)
    world.run_for(AGE / 2)
    assert [each.name for each in world.store.find(MachineFilter()) if each.state is State.ACTIVE] == ["other", NAME]
    assert (len(world.cloud.billing()), releases(world)) == (3, 0)
    world.run_until(lambda: releases(world), limit=HOUR)
    world.run_until(lambda: world.store.orphans()[0].state is OrphanState.GONE)
    assert {each.id for each in world.cloud.billing()} == {
        record.device_id for record in world.store.find(MachineFilter(unfinished_only=True))
    }
    assert record_of(world).uid == new.uid


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed"])
def test_f17_a_backup_under_new_uids_costs_no_device(*, killed: bool) -> None:
    """A Machine that comes back under a new uid and names its old device is told what to do, and the device is kept.

    Only when nobody names it any more is it returned, by the rule for orphans.
    """
    world = serving(NAME, "other")
    old = kept(world)
    world.cluster.user.strike_out(MachineObject, NAME)
    world.run_until(world.store.orphans)
    world.create(NAME, provider_id=old.provider_id)
    if killed:
        world.crash()
        world.run_for(MINUTE)
    world.run_for(3 * AGE)
    assert (releases(world), len(world.cloud.billing())) == (0, 2)
    assert "names it in its spec.providerID" in world.store.orphans()[0].reason
    world.delete(NAME)
    world.run_until(lambda: world.cluster.user.machine(NAME) is None)
    world.run_until(lambda: releases(world), limit=HOUR)
    world.run_until(lambda: len(world.cloud.devices()) == 1)


def test_f17_a_namespace_that_vanishes_by_force_loses_no_device() -> None:
    """Its Machines, classes and Secrets strike out at once: records say what bills on, and nothing is returned.

    With a class and its Secret back, each device is an orphan with its price, and goes by the rule and no sooner.
    """
    names = [f"worker-{number}" for number in range(4)]
    world = serving(*names)
    for name in names:
        world.cluster.user.strike_out(MachineObject, name)
    world.cluster.user.strike_out(ClassObject, CLASS)
    world.cluster.user.strike_out(SecretObject, "workers-key")
    world.run_for(HOUR / 2)
    lost = world.store.find(MachineFilter())
    assert all(each.problem and f"device {each.device_id} may still bill" in each.problem.message for each in lost)
    assert (releases(world), len(world.cloud.billing())) == (0, 4)
    world.rotate(TOKEN)
    world.reclass()
    world.create("newcomer")
    world.run_until(lambda: len(world.store.orphans()) == 4)
    assert sum(each.price_per_hour or 0 for each in world.store.orphans()) == 3.0
    world.run_for(AGE - MINUTE)
    assert releases(world) == 0
    world.run_until(lambda: len(world.cloud.billing()) == 1, limit=HOUR)
    assert [each.hostname for each in world.cloud.billing()] == ["newcomer"]


@pytest.mark.parametrize("place", LIVING)
def test_f17_a_finalizer_that_is_stripped_from_the_living_is_put_back(place: str) -> None:
    """Wherever a Machine stands that somebody unprotected, it is protected again, and its deletion leaves nothing."""
    world = at(place, SETTINGS)
    bought = len(world.cloud.history())
    world.cluster.user.change_machine(NAME, finalizers=())
    world.run_for(MINUTE)
    assert kept(world).finalizers == (MACHINE_FINALIZER,)
    world.delete(NAME)
    world.cloud.faults.replace()
    world.settle()
    assert not world.cloud.devices()
    assert len(world.cloud.history()) == bought


@pytest.mark.parametrize("place", LEAVING)
def test_f17_a_finalizer_that_is_stripped_from_the_dying_costs_no_device(place: str) -> None:
    """An object that vanishes in the middle of its deletion leaves a record that goes on until the device is gone."""
    world = at(place, SETTINGS)
    world.create("other")
    world.cluster.user.change_machine(NAME, finalizers=())
    assert world.cluster.user.machine(NAME) is None
    ended(world)
    assert triggers(world)[-1] == Trigger.FINALIZED
    assert len(world.cloud.history()) == 2
