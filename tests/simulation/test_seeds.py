"""Random wishes and mishaps: every promise is checked after every step, and in peace everything comes right."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.ports.store import HistoryFilter, Store
from engine.simulators.chaos import Chaos
from engine.simulators.deeds import TEMPERS
from engine.simulators.plan import draw_plan, read_plan
from engine.simulators.seed import Seed
from engine.simulators.store import ModelStore
from engine.simulators.trial import try_out
from engine.simulators.world import World
from engine.store import open_store

SEEDS = 300
STEPS = 150
KEPT = sorted((Path(__file__).parent / "plans").glob("*.json"))
"""Plans that once broke a promise, shrunk; they stay."""


def suffered(seed: str, store: Store, *, steps: int = STEPS) -> World:
    """A world after its plan, the peace, and the deletion of everything; the store stays the one that it is."""
    plan = draw_plan(seed, steps=steps, faults=TEMPERS["everyday"] - {"store_lost"})
    world = World(Seed(seed), store, plan.settings)
    Chaos(world, plan).run()
    return world


@contextmanager
def on_disk(path: Path) -> Iterator[Store]:
    """The real store on a file of its own."""
    store = open_store(f"sqlite:///{path}")
    try:
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("seed", [*map(str, range(SEEDS))])
def test_whatever_happens_every_promise_holds(seed: str) -> None:
    """In the end nothing is left, and on the way there was no leak, no wrong deletion and no double purchase."""
    report = try_out(draw_plan(seed, steps=STEPS))
    assert not report.broken, f"machine-engine simulate world --seed {seed} --steps {STEPS}"


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_once_broke_a_promise_holds(path: Path) -> None:
    """A plan that found a fault of the engine is played for ever."""
    assert not try_out(read_plan(path)).broken, f"machine-engine simulate world --plan {path}"


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
