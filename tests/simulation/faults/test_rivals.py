"""F7: two active controllers; one is frozen in the middle of its turn, for longer than its claim, and goes on."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from engine.ports.cluster import ObjectChange
from engine.ports.store import Store
from engine.simulators.ports import Call
from engine.simulators.seed import Seed
from engine.simulators.world import Engine, World
from engine.store import open_store
from tests.model.model_store import ModelStore
from tests.simulation.faults.stage import at_call
from tests.simulation.lives import LIVES, NAME

FROZEN_FOR = timedelta(seconds=60)  # five claims, and three visibility windows
CALLS = LIVES["plain"].run().calls


class Rivals:
    """Two processes on one store, cloud and cluster, in the place of a world's one engine; they take turns."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.first = world.engine
        self.second = world._born(first=1_000_000)
        world.cluster.start(self._notice)
        world.engine = cast("Engine", self)
        self.tap = self.second.tap

    def turn(self) -> None:
        """Let both take their turn."""
        self.first.turn()
        self.second.turn()

    def _notice(self, change: ObjectChange) -> None:
        self.first.sync.notice(change)
        self.second.sync.notice(change)

    def freeze(self, _call: Call) -> None:
        """Let the first one sleep in the middle of a call, while the other goes on."""
        self._world.engine = self.second
        self._world.run_for(FROZEN_FOR)
        self._world.engine = cast("Engine", self)


def frozen_life(store: Store, number: int) -> tuple[World, str]:
    """A whole life under two controllers, the first of which is frozen before its call of this number."""
    world, met = World(Seed("rivals"), store), [""]

    def freeze(call: Call) -> None:
        met[0] = call.name
        if call.name == "cloud.order":
            # Nobody can call back an order that is under way: one more device, for a while, is what a freeze may cost.
            world.invariants.foreign[call.arguments[0].uid] = 1
        rivals.freeze(call)

    at_call(world, lambda call: call.number == number, freeze)
    rivals = Rivals(world)
    world.create(NAME)
    world.settle()
    assert len(world.cloud.billing()) == 1
    world.delete(NAME)
    world.settle()
    return world, met[0]


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Store]:
    """The real store."""
    store = open_store(f"sqlite:///{tmp_path / 'engine.db'}")
    yield store
    store.close()


def test_f07_a_controller_that_was_frozen_at_any_call_does_no_harm() -> None:
    """What it still writes is fenced; only an order that was under way costs a device more, which goes by itself."""
    frozen = []
    for number in range(1, CALLS + 1):
        world, name = frozen_life(ModelStore(), number)
        assert not world.cloud.devices(), f"frozen before {name}"
        assert len(world.cloud.history()) <= (2 if name == "cloud.order" else 1), f"frozen before {name}"
        frozen.append(name)
    assert {"cloud.order", "cloud.release", "store.commit", "cluster.write_status"} <= set(frozen)


def test_f07_the_real_store_fences_a_controller_that_was_frozen(on_disk: Store) -> None:
    """The same on SQLite, where the first one is frozen before it writes down what it bought."""
    number = next(number for number in range(1, CALLS) if _name_of(number - 1) == "cloud.order")
    world, name = frozen_life(on_disk, number)
    assert name == "store.commit"
    assert len(world.cloud.history()) == 1
    assert any("LostClaimError" in line for line in world.trace)


def _name_of(number: int) -> str:
    """The call of this number in an undisturbed life under two controllers."""
    world = World(Seed("rivals"), ModelStore())
    Rivals(world)
    world.create(NAME)
    world.settle()
    return next((line.split()[2] for line in world.trace if line.split()[1] == str(number)), "")


def test_f07_two_controllers_without_a_fault_buy_one_device() -> None:
    """Two processes that are both active from the start to the end cost nothing but some calls."""
    world, _ = frozen_life(ModelStore(), -1)
    assert len(world.cloud.history()) == 1
