"""Devices that nobody owns: found with their price, watched, and returned by nothing but the rule."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from engine.domain.ids import MachineUid
from engine.domain.machine import MachineFilter
from engine.domain.orphans import Orphan, OrphanState
from engine.domain.states import State
from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER, MachineObject
from engine.ports.cluster import Kind
from engine.ports.store import HistoryFilter
from engine.providers.equinix.spec import UID_TAG_PREFIX
from engine.reconcile.orphans import OrphanPolicy
from engine.simulators.ports import Moment
from engine.simulators.seed import Seed
from engine.simulators.world import World, WorldSettings
from tests.model.model_store import ModelStore

MINUTE = timedelta(minutes=1)
AGE = 5 * MINUTE
SETTINGS = WorldSettings(orphans=OrphanPolicy(age=AGE, releases_max=2, repeat=timedelta(seconds=30)))


def world_of(*names: str, settings: WorldSettings = SETTINGS) -> World:
    """A world in which these Machines serve."""
    world = World(Seed("orphans"), ModelStore(), settings)
    for name in names:
        world.create(name)
    world.settle()
    return world


def strip(world: World, name: str) -> MachineObject:
    """Somebody takes the finalizer off by hand, and the object goes."""
    machine = world.cluster.user.machine(name)
    assert machine
    world.cluster.user.change_machine(name, finalizers=())
    world.delete(name)
    assert world.cluster.user.machine(name) is None
    return machine


def lose_everything(world: World, *names: str) -> None:
    """The objects go while the process is down, and the database with them."""
    world.invariants.unknown |= {strip(world, name).uid for name in names}
    world.lose_store(ModelStore())
    world.invariants.unknown |= set(world.invariants.owners())


def orphan(world: World) -> Orphan | None:
    """The one orphan."""
    found = world.store.orphans()
    assert len(found) <= 1
    return found[0] if found else None


def state(world: World) -> OrphanState | None:
    """What is done about the one orphan."""
    found = orphan(world)
    return found.state if found else None


def releases(world: World) -> int:
    """How many returns were asked for."""
    return sum(" cloud.release " in line for line in world.trace)


def has_returned(world: World, number: int) -> bool:
    """Whether so many returns were asked for."""
    return releases(world) >= number


def test_a_device_without_its_object_is_quarantined_and_returned_by_the_rule() -> None:
    """It is known with price and reason, nothing is asked for before its time, and in the end nothing is left."""
    world = world_of("kept", "lost")
    gone = strip(world, "lost")
    world.run_until(lambda: orphan(world))
    found = orphan(world)
    assert found
    assert (found.uid, found.hostname, found.plan, found.price_per_hour) == (gone.uid, "lost", "c3.small.x86", 0.75)
    assert "vanished" in found.reason
    world.run_for(AGE - 2 * MINUTE)
    assert (state(world), releases(world)) == (OrphanState.QUARANTINED, 0)
    world.run_until(lambda: state(world) is OrphanState.GONE)
    world.settle()
    assert [each.hostname for each in world.cloud.devices()] == ["kept"]
    assert releases(world) == 1
    entries = world.store.history(HistoryFilter(uid=gone.uid))
    assert entries[-1].trigger == Trigger.FINALIZED, "its record ends when the device is proven gone"


def test_a_restored_machine_lifts_the_quarantine() -> None:
    """An object that a backup brings back has its device again, and nothing was asked for."""
    world = world_of("kept", "lost")
    gone = strip(world, "lost")
    world.run_until(lambda: state(world) is OrphanState.QUARANTINED)
    world.cluster.user.make_machine(
        "lost", class_name=gone.class_name, uid=gone.uid, finalizers=(MACHINE_FINALIZER,), provider_id=gone.provider_id
    )
    world.run_until(lambda: orphan(world) is None)
    world.settle()
    assert (len(world.cloud.billing()), releases(world)) == (2, 0)


@pytest.mark.parametrize("tags", [("kubernetes.io/cluster/other",), ()], ids=["another cluster", "no cluster"])
def test_a_device_of_somebody_else_is_not_touched(tags: tuple[str, ...]) -> None:
    """Neither listed nor returned, whatever Machine its tag names."""
    world = world_of("kept")
    known = {each.id for each in world.cloud.history()}
    world.buy_untagged("theirs", tags=[*tags, "kubernetes.io/role/node", f"{UID_TAG_PREFIX}nobody"])
    world.invariants.strangers |= {each.id for each in world.cloud.history()} - known
    world.invariants.unknown.add("nobody")
    world.run_for(3 * AGE)
    assert (orphan(world), releases(world), len(world.cloud.billing())) == (None, 0, 2)


def test_a_lost_database_returns_nothing_and_adopts_instead() -> None:
    """Machines that are there get their devices back; what nobody wants waits as long as anywhere else."""
    world = world_of("kept", "lost")
    lose_everything(world, "lost")
    world.run_until(lambda: orphan(world))
    found = orphan(world)
    assert found
    assert "neither Kubernetes nor the database" in found.reason
    began = world.clock.now()
    world.run_until(lambda: releases(world))
    assert world.clock.now() - began >= AGE - MINUTE
    world.run_until(lambda: state(world) is OrphanState.GONE)
    assert [each.hostname for each in world.cloud.billing()] == ["kept"]
    assert len(world.cloud.history()) == 2, "nothing was bought"
    assert [each.state for each in world.store.find(MachineFilter())] == [State.ACTIVE]


def test_a_restart_begins_to_watch_anew() -> None:
    """An orphan that the database calls old is not returned by a process that has only just begun."""
    world = world_of("kept", "lost")
    strip(world, "lost")
    world.run_until(lambda: orphan(world))
    world.run_for(AGE - MINUTE)
    world.crash()
    world.run_for(AGE - MINUTE)
    assert (state(world), releases(world)) == (OrphanState.QUARANTINED, 0)
    world.run_until(lambda: state(world) is OrphanState.GONE)


def test_the_cap_is_obeyed() -> None:
    """Of five orphans no more than two are returned in one sweep."""
    names = [f"lost-{number}" for number in range(5)]
    world = world_of("kept", *names, settings=replace(SETTINGS, sweep_every=MINUTE))
    for name in names:
        strip(world, name)
    world.run_until(lambda: len(world.store.orphans()) == 5)
    for most in (2, 4, 5):
        world.run_until(partial(has_returned, world, most))
        assert releases(world) == most
        world.run_for(MINUTE / 2)
        assert releases(world) == most
    world.run_until(lambda: all(each.state is OrphanState.GONE for each in world.store.orphans()))


@pytest.mark.parametrize("why", ["unreadable", "no Machine at all"])
def test_what_may_be_incomplete_holds_returns_back(why: str) -> None:
    """While an object cannot be read, or none is shown, orphans are kept; afterwards the rule goes on."""
    world = world_of("lost", *(["kept"] if why == "unreadable" else []))
    world.cluster.blurred += [(Kind.MACHINE, "odd")] if why == "unreadable" else []
    strip(world, "lost")
    world.run_until(lambda: orphan(world))
    world.run_for(3 * AGE)
    assert (state(world), releases(world)) == (OrphanState.QUARANTINED, 0)
    world.cluster.blurred.clear()
    if not world.cluster.user.machines():
        world.create("kept")
    world.run_until(lambda: state(world) is OrphanState.GONE)


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("name", ["store.record_orphans", "cloud.release", "cloud.device"])
def test_a_crash_in_the_middle_of_a_return_loses_nothing(name: str, moment: Moment) -> None:
    """Whichever call it happens at, the orphan is gone in the end, and the rule held at every return."""
    quiet = returned()
    number = max(index for index, line in enumerate(quiet.trace, start=1) if f" {name} " in line)
    hurt = returned({number: moment})
    assert [each.hostname for each in hurt.cloud.devices()] == ["kept"]
    assert hurt.store.orphans()[0].state is OrphanState.GONE


def returned(mishaps: dict[int, Moment] | None = None) -> World:
    """A world whose one orphan is gone."""
    world = World(Seed("returned"), ModelStore(), SETTINGS, mishaps=mishaps)
    world.create("kept")
    world.create("lost")
    world.settle()
    strip(world, "lost")
    world.run_until(lambda: world.store.orphans() and state(world) is OrphanState.GONE, limit=timedelta(minutes=30))
    world.run_for(MINUTE)
    return world


def test_a_class_stays_while_a_return_needs_it() -> None:
    """A class that is deleted keeps its finalizer until the last device of its machines is gone."""
    world = world_of("kept", "lost")
    uid = MachineUid(strip(world, "lost").uid)
    world.run_until(lambda: orphan(world))
    world.delete("kept")
    world.run_until(lambda: world.cluster.user.machine("kept") is None)
    world.cluster.user.delete(type(world.cluster.machine_classes()[0]), "workers")
    world.run_for(2 * MINUTE)
    assert world.cluster.machine_class("workers")
    world.in_console("DELETE", str(orphan(world) and world.store.orphans()[0].device_id))
    world.run_until(lambda: bool((record := world.store.get(uid)) and record.finished))
    world.run_for(MINUTE)
    assert not world.cluster.machine_class("workers")
