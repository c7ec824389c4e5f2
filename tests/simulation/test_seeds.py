"""Random wishes and mishaps: every promise is checked after every step, and in peace everything comes right."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from engine.ports.store import HistoryFilter, Store
from engine.simulators.seed import Seed
from engine.simulators.world import World, WorldSettings
from engine.store import open_store
from tests.model.model_store import ModelStore
from tests.simulation.chaos import Chaos

SEEDS = 32
RAGE = timedelta(minutes=4)
FOUND: tuple[str, ...] = ()
"""Seeds that once broke something; they stay."""


def suffered(seed: str, store: Store) -> World:
    """A world after the rage, the peace, and the deletion of everything."""
    number = Seed(seed)
    settings = WorldSettings(
        target=number.child("target").chance(0.7),
        page_size=number.child("pages").integer(1, 3),
        lag=timedelta(seconds=number.child("lag").integer(0, 3)),
    )
    world = World(number, store, settings)
    chaos = Chaos(world, number.child("chaos"))
    chaos.rage(RAGE)
    chaos.calm()
    chaos.clear()
    return world


@contextmanager
def on_disk(path: Path) -> Iterator[Store]:
    """The real store on a file of its own."""
    store = open_store(f"sqlite:///{path}")
    try:
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("seed", [*map(str, range(SEEDS)), *FOUND])
def test_whatever_happens_every_promise_holds(seed: str) -> None:
    """In the end nothing is left, and on the way there was no leak, no wrong deletion and no double purchase."""
    world = suffered(seed, ModelStore())
    assert not world.cloud.devices()
    assert not world.cluster.user.machines()


@pytest.mark.parametrize("seed", ["sqlite-1", "sqlite-2"])
def test_the_real_store_carries_a_world(seed: str, tmp_path: Path) -> None:
    """The same world on SQLite, killed as often, keeps its promises and makes the same calls."""
    with on_disk(tmp_path / "engine.db") as store:
        real = suffered(seed, store)
    assert real.trace == suffered(seed, ModelStore()).trace


def test_the_same_seed_gives_the_same_world() -> None:
    """Two runs of one seed agree in every call and in every line of history."""
    one, other = suffered("twice", ModelStore()), suffered("twice", ModelStore())
    assert "\n".join(one.trace).encode() == "\n".join(other.trace).encode()
    everything = HistoryFilter(limit=100_000)
    assert repr(one.store.history(everything)) == repr(other.store.history(everything))


def test_another_seed_gives_another_world() -> None:
    """The seed is what decides."""
    assert suffered("one", ModelStore()).trace != suffered("another", ModelStore()).trace
