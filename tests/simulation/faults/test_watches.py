"""F8, F9 and F10: watches that lag, go back in time or lose events, and an API server that is away or shows nothing."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from engine.domain.states import State
from engine.domain.triggers import Trigger
from engine.domain.wanted import MachineObject, NodeObject
from engine.ports.cluster import Kind
from engine.ports.store import HistoryFilter
from engine.simulators.seed import Seed
from engine.simulators.world import QUICK_POLICY, World
from engine.workflow.policy import Policy
from tests.model.model_store import ModelStore
from tests.simulation.faults.stage import (
    CREATING,
    HOUR,
    LEAVING,
    MINUTE,
    PLACES,
    SLOW,
    at,
    ended,
    orders,
    record_of,
    releases,
)
from tests.simulation.lives import NAME

REAL = Policy()
PATIENT = replace(
    SLOW,
    tick_max=timedelta(seconds=8),
    policy=replace(QUICK_POLICY, object_lost_after=REAL.object_lost_after, objects_lost_after=REAL.objects_lost_after),
)
"""A world that doubts a missing object as long as a real one does; watches lag by real minutes, too."""
LATE = MINUTE
KILLED = pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed"])
EVERYTHING = tuple(Kind)


def reconnect(world: World) -> None:
    """The watches begin anew, at an API server that is up to date."""
    world.cluster.lag = timedelta(0)
    world.cluster.watch.deaf = world.cluster.watch.mute = world.cluster.away = False
    world.cluster.watch.hidden = ()
    world.cluster.relist()


def run_looking(world: World, span: timedelta) -> None:
    """Let the span pass; no status that anybody can read ever becomes an older one."""
    end, newest = world.clock.now() + span, dict[str, datetime]()
    while world.clock.now() < end:
        world.step()
        for machine in world.cluster.user.machines():
            if machine.status and machine.status.operation and machine.status.operation.at:
                told_at = machine.status.operation.at
                assert told_at >= newest.get(machine.uid, told_at), f"the status of {machine.name} went back"
                newest[machine.uid] = told_at


def triggers(world: World, name: str = NAME) -> list[str]:
    """The facts of a machine's life, in order."""
    return [entry.trigger for entry in world.store.history(HistoryFilter(uid=record_of(world, name).uid))]


def beside(place: str) -> World:
    """A world in which one Machine has served for a while, and another stands at this place."""
    world = World(Seed(f"watches/{place}"), ModelStore(), PATIENT)
    world.create("other")
    world.settle()
    world.run_for(LATE)
    PLACES[place](world)
    return world


def others(world: World) -> None:
    """Two more Machines, that serve."""
    for name in ("other-1", "other-2"):
        world.create(name)
    world.settle()


@KILLED
@pytest.mark.parametrize("place", PLACES)
def test_f08_a_watch_that_lags_a_minute_at_any_place_buys_nothing_twice(place: str, *, killed: bool) -> None:
    """The wish for deletion comes a minute late, a second Machine as well; one device each, and no status goes back."""
    world = beside(place)
    world.cluster.lag = LATE
    world.delete(NAME)
    world.create("late")
    if killed:
        world.crash()
        world.cluster.watch.rewind(LATE)
    run_looking(world, 4 * LATE)
    reconnect(world)
    ended(world)
    assert len(world.cloud.history()) <= 3


@KILLED
@pytest.mark.parametrize("place", PLACES)
def test_f08_a_watch_that_goes_back_in_time_at_any_place_changes_nothing(place: str, *, killed: bool) -> None:
    """The caches show an older state, and what happened since comes again: nothing is bought, returned or failed anew.

    A process that is killed meanwhile begins with the older state, and knows the newer one from its database alone.
    """
    world = beside(place)
    before, returned = record_of(world).state, releases(world)
    if killed:
        world.crash()
    world.cluster.watch.rewind(LATE)
    run_looking(world, 3 * LATE)
    assert before is State.FAILED or record_of(world).state is not State.FAILED
    assert place in LEAVING or releases(world) == returned
    reconnect(world)
    ended(world)
    assert len(world.cloud.history()) == 2


def test_f08_a_whole_life_behind_a_watch_that_lags_a_minute_costs_one_device() -> None:
    """Created, served, deleted: everything comes a minute late, and everything comes once."""
    world = World(Seed("late"), ModelStore(), replace(PATIENT, lag=LATE))
    world.create(NAME)
    world.settle()
    world.delete(NAME)
    world.settle()
    assert len(world.cloud.history()) == 1
    assert not world.cloud.devices()


def test_f08_a_machine_that_is_gone_and_shown_again_stays_gone() -> None:
    """An old state that shows a Machine whose life is over, with its finalizer on, begins no life and adds nothing."""
    world = at("healthy", PATIENT)
    uid = record_of(world).uid
    world.delete(NAME)
    world.settle()
    told = triggers(world)
    world.cluster.watch.rewind(LATE)
    assert world.cluster.machine(uid), "the old state shows it"
    world.run_for(2 * LATE)
    assert world.cluster.machine(uid) is None
    assert triggers(world) == told
    assert orders(world) == 1


@pytest.mark.parametrize("place", [place for place in PLACES if place not in LEAVING])
def test_f09_a_deletion_of_which_nobody_is_told_is_noticed_by_the_full_comparison(place: str) -> None:
    """Wherever a Machine stands, the wish for its deletion is seen within the period of full comparisons."""
    world = at(place, PATIENT)
    world.cluster.watch.mute = True
    world.delete(NAME)
    waited = world.run_until(lambda: Trigger.DELETION_REQUESTED in triggers(world))
    assert waited <= world.settings.full_every + world.settings.tick_max
    reconnect(world)
    ended(world)
    assert len(world.cloud.history()) <= 1


@pytest.mark.parametrize("place", PLACES)
def test_f09_events_that_are_lost_at_any_place_are_made_good_by_a_list(place: str) -> None:
    """A deletion, a Machine and a Node of which no event came are known as soon as everything is listed anew."""
    world = at(place, PATIENT)
    world.cluster.watch.deaf = True
    world.delete(NAME)
    world.create("unheard")
    world.run_for(LATE)
    assert "unheard" not in world.places()
    world.cluster.watch.deaf = False
    world.cluster.relist()
    world.run_for(timedelta(seconds=5))
    assert State.DELETING is record_of(world).state or record_of(world).finished
    assert "unheard" in world.places()
    ended(world)
    assert len(world.cloud.history()) <= 2


def test_f09_an_object_whose_end_nobody_told_is_missed() -> None:
    """With its finalizer stripped and its end unheard, a Machine is found to be gone after the list, and not before."""
    world = at("healthy", PATIENT)
    others(world)
    world.cluster.watch.deaf = True
    world.cluster.user.strike_out(MachineObject, NAME)
    world.run_for(LATE)
    assert record_of(world).state is State.ACTIVE
    reconnect(world)
    waited = world.run_until(lambda: triggers(world)[-1] == Trigger.OBJECT_LOST)
    believed = PATIENT.policy.object_lost_after
    assert believed <= waited <= believed + world.settings.full_every
    assert (releases(world), len(world.cloud.billing())) == (0, 3)


def test_f09_a_node_that_is_lost_unheard_is_missed_after_the_list() -> None:
    """The end of a Node of which no event came makes its machine unhealthy as soon as Nodes are listed anew."""
    world = at("healthy", PATIENT)
    world.cluster.watch.deaf = True
    world.cluster.user.delete(NodeObject, NAME)
    world.run_for(LATE)
    assert world.places() == {NAME: "Active/healthy"}
    reconnect(world)
    world.run_for(timedelta(seconds=3))
    assert world.places() == {NAME: "Active/unhealthy"}
    assert releases(world) == 0


def span_of(place: str) -> timedelta:
    """How long Kubernetes is away: half an hour, and for a machine in creation half of the creation timeout."""
    return PATIENT.policy.creation_timeout / 2 if place in CREATING else HOUR / 2


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
@pytest.mark.parametrize("place", PLACES)
def test_f10_kubernetes_that_is_away_at_a_restart_costs_nothing(place: str, *, lost: bool) -> None:
    """Nothing is listed, or the kind does not exist: until there is a list nothing is bought, returned or failed.

    With the database lost as well, everything is adopted afterwards.
    """
    world = at(place, PATIENT)
    before, bought = record_of(world).state, len(world.cloud.history())
    world.cluster.away = True
    if lost:
        world.lose_store(ModelStore())
    else:
        world.crash()
    done = (orders(world), releases(world))
    world.run_for(span_of(place))
    assert (orders(world), releases(world)) == done
    assert not world.store.orphans()
    assert lost or record_of(world).state is before
    reconnect(world)
    ended(world)
    assert len(world.cloud.history()) == max(bought, 1)


@pytest.mark.parametrize(
    ("hidden", "lost"),
    [((Kind.MACHINE,), False), ((Kind.MACHINE,), True), (EVERYTHING, False)],
    ids=["machines", "machines-lost", "everything"],
)
@pytest.mark.parametrize("place", PLACES)
def test_f10_an_empty_answer_at_a_restart_costs_nothing(place: str, hidden: Collection[Kind], *, lost: bool) -> None:
    """An API server that says 200 and nothing is not believed: no device goes, nothing fails, and all comes back.

    Only a return that had begun goes on.
    """
    world = at(place, PATIENT)
    before, bought = record_of(world).state, len(world.cloud.history())
    world.invariants.unknown.add(record_of(world).uid)
    world.cluster.watch.hidden = hidden
    if lost:
        world.lose_store(ModelStore())
        world.invariants.unknown |= set(world.invariants.owners())
    else:
        world.crash()
    done = (orders(world), releases(world))
    world.run_for(span_of(place))
    assert orders(world) == done[0]
    assert place in LEAVING or releases(world) == done[1]
    assert lost or before is State.FAILED or record_of(world).state is not State.FAILED
    reconnect(world)
    ended(world)
    assert len(world.cloud.history()) == max(bought, 1)


def test_f10_machines_that_serve_are_as_before_after_an_empty_answer() -> None:
    """Not one status says anything else in the end, and none said anything else on the way."""
    world = at("healthy", PATIENT)
    others(world)
    before = {each.name: each.status for each in world.cluster.user.machines()}
    world.cluster.watch.hidden = EVERYTHING
    world.crash()
    world.run_for(HOUR / 2)
    reconnect(world)
    run_looking(world, 10 * MINUTE)
    assert {each.name: each.status for each in world.cluster.user.machines()} == before
    assert (orders(world), releases(world)) == (3, 0)
