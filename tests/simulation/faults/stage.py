"""A machine brought to every place of its life, and the peace after a fault in which everything must come right."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Final

from engine.domain.machine import MachineFilter, MachineRecord
from engine.domain.states import (
    ACTIVE_HEALTHY,
    ACTIVE_UNHEALTHY,
    DELETING_FORGET_NODE,
    DELETING_RELEASE,
    FAILED_HALT,
    PENDING_VALIDATE,
    PENDING_WAIT_CAPACITY,
    PROVISIONING_INSTALL,
    PROVISIONING_JOIN,
    PROVISIONING_ORDER,
    Place,
    State,
)
from engine.ports.cluster import ClusterUnavailableError
from engine.simulators.http import HttpRequest
from engine.simulators.metal import FaultKind, FaultRule, Operation
from engine.simulators.ports import Call
from engine.simulators.seed import Seed
from engine.simulators.world import QUICK_METAL, TOKEN, World, WorldSettings
from tests.model.model_store import ModelStore
from tests.simulation.lives import NAME

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SLOW = WorldSettings(metal=replace(QUICK_METAL, deprovision_for=MINUTE), join_after=timedelta(seconds=15))
"""A world in which joins and returns take so long that a fault can meet them."""


def record_of(world: World, name: str = NAME) -> MachineRecord:
    """The newest record of this name."""
    return max(world.store.find(MachineFilter(name=name)), key=lambda each: each.admitted_at)


def is_at(world: World, place: Place) -> Callable[[], bool]:
    """Whether the machine stands at this place."""
    return lambda: bool(world.store.find(MachineFilter(name=NAME))) and record_of(world).place == place


def releases(world: World) -> int:
    """How many returns were asked for."""
    return sum(" cloud.release " in line for line in world.trace)


def orders(world: World) -> int:
    """How many purchases were asked for."""
    return sum(" cloud.order " in line for line in world.trace)


def _unlisted(world: World) -> None:
    world.cloud.faults.add(FaultRule(kind=FaultKind.LOST_BEFORE, operation=Operation.LIST))
    world.crash()  # a process that was given a list before would not wait for the next
    _create(world, PENDING_VALIDATE)


def _sold_out(world: World) -> None:
    world.cloud.faults.add(FaultRule(kind=FaultKind.NO_CAPACITY))
    _create(world, PENDING_WAIT_CAPACITY)


def _in_doubt(world: World) -> None:
    lost = FaultRule(kind=FaultKind.LOST_AFTER, left=1, operation=Operation.CREATE)
    world.cloud.faults.add(lost, FaultRule(kind=FaultKind.STALE_LIST, seconds=15.0))
    _create(world, PROVISIONING_ORDER)


def _installing(world: World) -> None:
    _create(world, PROVISIONING_INSTALL)


def _joining(world: World) -> None:
    _create(world, PROVISIONING_JOIN)


def _serving(world: World) -> None:
    _create(world, ACTIVE_HEALTHY)
    world.settle()


def _unhealthy(world: World) -> None:
    _serving(world)
    world.cluster.user.set_ready(NAME, ready=False)
    world.run_until(is_at(world, ACTIVE_UNHEALTHY))


def _failed(world: World) -> None:
    world.cloud.faults.add(FaultRule(kind=FaultKind.FAIL_AND_STAY, left=1))
    _create(world, FAILED_HALT)


def _releasing(world: World) -> None:
    _serving(world)
    world.delete(NAME)
    world.run_until(is_at(world, DELETING_RELEASE))


def _forgetting(world: World) -> None:
    _releasing(world)
    world.cluster.refusing = ClusterUnavailableError("away")
    world.run_until(is_at(world, DELETING_FORGET_NODE))


def _create(world: World, place: Place) -> None:
    world.create(NAME)
    world.run_until(is_at(world, place))


PLACES: Final[dict[str, Callable[[World], None]]] = {
    "validate": _unlisted,
    "wait-capacity": _sold_out,
    "order": _in_doubt,
    "install": _installing,
    "join": _joining,
    "healthy": _serving,
    "unhealthy": _unhealthy,
    "halt": _failed,
    "release": _releasing,
    "forget-node": _forgetting,
}
"""How a world gets a machine to stand at each place; what held it there is a fault that `at_peace` ends."""

CREATING = ("validate", "wait-capacity", "order", "install", "join")
LEAVING = ("release", "forget-node")


def at(place: str, settings: WorldSettings = SLOW) -> World:
    """A world whose one machine stands at this place."""
    world = World(Seed(f"faults/{place}"), ModelStore(), settings)
    PLACES[place](world)
    return world


def at_peace(world: World, *, limit: timedelta = 2 * HOUR) -> None:
    """End all faults, replace who failed as MCM would, and wait until everything is at rest."""
    mend(world)
    world.run_until(lambda: _came_right(world), limit=limit)
    world.settle(limit=limit)


def mend(world: World) -> None:
    """End all faults; kubelets of devices that are up report again."""
    world.cloud.faults.replace()
    world.cluster.refusing = None
    world.cluster.lag = timedelta(0)
    world.rotate(TOKEN)
    up = {each.hostname for each in world.cloud.devices() if each.state == "active"}
    for node in world.cluster.user.nodes():
        world.cluster.user.set_ready(node.name, ready=node.name in up)


def ended(world: World) -> None:
    """All is at peace, everything is deleted, and nothing is left."""
    at_peace(world)
    for machine in world.cluster.user.machines():
        world.delete(machine.name)
    world.settle()
    assert not world.cloud.devices()
    assert not world.cluster.user.machines()


def at_call(world: World, wanted: Callable[[Call], bool], act: Callable[[Call], None]) -> None:
    """Act in the middle of the engine's turn, just before the first call that is wanted; a new process forgets it."""
    tap = world.engine.tap
    checked, done = tap._before, False

    def before(call: Call) -> None:
        nonlocal done
        checked(call)
        if not done and wanted(call):
            done = True
            act(call)

    tap._before = before


def _came_right(world: World) -> bool:
    for record in world.store.find(MachineFilter(states=frozenset({State.FAILED}))):
        world.delete(record.name)
    return world.at_rest()


def ask(world: World, method: str, path: str, body: bytes = b"") -> None:
    """Somebody uses the cloud's console."""
    headers = {"x-auth-token": TOKEN, "content-type": "application/json"}
    answer = world.cloud.handle(HttpRequest(method=method, path=path, headers=headers, body=body))
    assert answer.status < 300, answer


def copied(store: ModelStore) -> ModelStore:
    """A backup of the database as it is now."""
    backup = ModelStore()
    for name, kept in vars(store).items():
        if name != "_lock":
            setattr(backup, name, deepcopy(kept))
    return backup
