"""F11 and F12: Nodes that go dark by the dozen, and Nodes that will not go."""

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.domain.breakers import Breaker
from engine.domain.machine import MachineFilter
from engine.domain.states import State
from engine.domain.wanted import NodeObject
from engine.simulators.seed import Seed
from engine.simulators.world import World
from tests.model.model_store import ModelStore
from tests.simulation.faults.stage import MINUTE, SLOW, at, ended, orders, record_of, releases
from tests.simulation.lives import NAME

FLEET = 10
MELTDOWN = 20 * MINUTE
SOON = timedelta(seconds=10)


def fleet() -> World:
    """A world in which ten machines serve."""
    world = World(Seed("meltdown"), ModelStore(), replace(SLOW, tick_max=timedelta(seconds=10)))
    for number in range(FLEET):
        world.create(f"worker-{number}")
    world.settle()
    return world


def darken(world: World, dark: int) -> None:
    """The kubelets of so many Nodes are heard no more."""
    world.silent = {node.provider_id for node in world.cluster.user.nodes()[:dark]}


def phases(world: World) -> list[str]:
    """What the statuses say, as MCM reads them."""
    return sorted(each.status.phase for each in world.cluster.user.machines() if each.status)


def breaker_is_open(world: World) -> bool:
    """Whether the breaker of unhealthy Nodes is open."""
    return Breaker.UNHEALTHY_NODES in {each.breaker for each in world.engine.breakers.opened()}


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed"])
@pytest.mark.parametrize(("dark", "opens"), [(FLEET, True), (6, True), (3, True), (2, False)])
def test_f11_a_meltdown_replaces_nobody(dark: int, *, opens: bool, killed: bool) -> None:
    """All Nodes, most of them, or those of one zone are dark for 20 minutes: nothing is bought, returned or failed.

    Above a fifth of the Nodes the breaker is open, also for a process that begins in the middle; in the end it closes
    by itself, and everything serves as before.
    """
    world = fleet()
    darken(world, dark)
    world.run_for(MELTDOWN / 2)
    if killed:
        world.crash()
    world.run_for(MELTDOWN / 2)
    assert phases(world) == ["Running"] * (FLEET - dark) + ["Unknown"] * dark
    assert (breaker_is_open(world), world.engine.breakers.health_counts()) == (opens, not opens)
    world.silent = set()
    world.settle()
    assert phases(world) == ["Running"] * FLEET
    assert not breaker_is_open(world)
    assert (orders(world), releases(world), len(world.cloud.history())) == (FLEET, 0, FLEET)


def test_f11_nodes_that_are_deleted_in_a_meltdown_cost_no_device() -> None:
    """Whoever deletes the Node objects of dark Nodes deletes no device; kubelets that register anew serve again."""
    world = fleet()
    darken(world, FLEET)
    world.run_for(MINUTE)
    for node in world.cluster.user.nodes():
        world.cluster.user.delete(NodeObject, node.name)
    world.run_for(MELTDOWN)
    assert phases(world) == ["Unknown"] * FLEET
    world.silent = set()
    for record in world.store.find(MachineFilter()):
        world.cluster.user.make_node(record.name, provider_id=record.provider_id)
    world.settle()
    assert (orders(world), releases(world)) == (FLEET, 0)


def test_f11_a_deletion_in_a_meltdown_is_obeyed() -> None:
    """The breaker judges nobody by its health; a Machine that somebody deletes goes all the same, and only that one."""
    world = fleet()
    darken(world, FLEET)
    world.run_for(MINUTE)
    world.delete("worker-0")
    world.run_until(lambda: world.cluster.user.machine("worker-0") is None)
    assert len(world.cloud.billing()) == FLEET - 1
    world.silent = set()
    world.settle()


@pytest.mark.parametrize("how", ["held", "unreachable", "both"])
def test_f12_a_node_that_will_not_go_holds_up_nobody(how: str) -> None:
    """Pods are not drained yet; what exists: the device goes, its Machine goes, and nobody else waits a moment longer.

    The Node object is held by somebody's finalizer, or its kubelet cannot be reached, or both.
    """
    quiet, world = at("healthy"), at("healthy")
    if how != "unreachable":
        world.cluster.held_nodes.add(NAME)
    if how != "held":
        darken(world, 1)
    took = []
    for each in (quiet, world):
        each.delete(NAME)
        each.create("other")
        took.append(each.run_until(lambda each=each: each.places() == {"other": "Active/healthy"}))  # type: ignore[misc]  # bound early
    assert took[1] <= took[0] + timedelta(seconds=2)
    assert [each.hostname for each in world.cloud.billing()] == ["other"]
    assert bool(world.cluster.user.node(NAME)) is (how != "unreachable")


def test_f12_two_nodes_that_wait_for_each_other_hold_up_nobody() -> None:
    """Two deletions at once whose Nodes are both held end both, within the time of one."""
    world = World(Seed("deadlock"), ModelStore(), SLOW)
    for name in (NAME, "other"):
        world.create(name)
    world.settle()
    world.cluster.held_nodes |= {NAME, "other"}
    for name in (NAME, "other"):
        world.delete(name)
    passed = world.settle()
    assert passed <= world.settings.metal.deprovision_for + 2 * SOON
    assert not world.cloud.devices()


def test_f12_a_node_that_cannot_be_deleted_is_tried_again() -> None:
    """While the deletion of the Node is refused, the device is gone and the Machine stays; afterwards it goes."""
    world = at("forget-node")
    assert not world.cloud.devices()
    world.run_for(5 * MINUTE)
    assert record_of(world).state is State.DELETING
    assert world.cluster.user.machine(NAME)
    world.cluster.refusing = None
    ended(world)
