"""F22 and the budget of calls: hundreds of Machines at once, refused writes, and a cloud that is not stormed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.errors import ClusterError
from engine.ports.cluster import ClusterUnavailableError, ConflictError
from engine.providers.pace import PaceSettings
from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.metal import FaultKind, FaultRule, MetalSimulator
from engine.simulators.ports import Moment
from engine.simulators.seed import Seed
from engine.simulators.world import World
from tests.model.model_store import ModelStore
from tests.simulation.faults.stage import HOUR, MINUTE, SLOW

HERD = 300
WRITES_MAX = 8
"""Writes to Kubernetes in a whole life, with a Node and without Events."""
STORM = MINUTE
RETRY = timedelta(seconds=2)
REFUSALS = {
    "429": ClusterUnavailableError("machines: the API server answered 429: too many requests"),
    "conflict": ConflictError("machines: the object has been modified"),
}


class Calls:
    """The instants of the engine's calls to the cloud; whoever uses the console is not counted."""

    def __init__(self) -> None:
        self.instants: list[float] = []

    def worst(self, pace: PaceSettings) -> float:
        """How far the calls ever went beyond the pace: what was taken of a bucket that holds the burst."""
        level, last, lowest = float(pace.burst), 0.0, 0.0
        for instant in self.instants:
            level = min(float(pace.burst), level + (instant - last) * pace.calls_per_second) - 1
            last, lowest = instant, min(lowest, level)
        return -lowest


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Every call from now on."""
    answer, counted = MetalSimulator.handle, Calls()

    def handle(self: MetalSimulator, request: HttpRequest) -> HttpResponse:
        if request.headers.get("user-agent", "").startswith("machine-engine/"):
            counted.instants.append(self._clock.monotonic())
        return answer(self, request)

    monkeypatch.setattr(MetalSimulator, "handle", handle)
    return counted


def herd(size: int) -> World:
    """A world in which so many Machines are wanted at once."""
    world = World(Seed("herd"), ModelStore(), replace(SLOW, join_after=timedelta(seconds=4)))
    for number in range(size):
        world.create(f"worker-{number}")
    return world


def queued(world: World) -> int:
    """How many machines wait to run, or how many retries are remembered, whichever is more."""
    dispatch = world.engine.dispatch
    return max(dispatch._queue.depth(), len(dispatch._retry_at))


def stepped(world: World, span: timedelta) -> Iterator[int]:
    """Let the span pass, and tell after each step how long the queue is."""
    end = world.clock.now() + span
    while world.clock.now() < end:
        world.step()
        yield queued(world)


def writes(world: World) -> int:
    """How many writes were asked for, but for those to classes and Secrets."""
    counted = world.cluster.writes
    return sum(counted.values()) - counted["protect_class"] - counted["protect_secret"]


def test_f22_a_herd_lives_within_its_writes_and_the_pace(calls: Calls) -> None:
    """Three hundred come at once and go at once: the queue stays short, and each writes no more than one alone."""
    world = herd(HERD)
    assert max(stepped(world, MINUTE)) <= HERD
    world.settle(limit=HOUR)
    for number in range(HERD):
        world.delete(f"worker-{number}")
    assert max(stepped(world, MINUTE)) <= HERD
    world.settle(limit=HOUR)
    assert len(world.cloud.history()) == HERD
    assert writes(world) <= WRITES_MAX * HERD
    assert calls.worst(PaceSettings()) <= 1


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("leaving", [False, True], ids=["coming", "leaving"])
def test_f22_a_storm_of_refused_writes_is_not_answered_by_a_storm(refusal: str, *, leaving: bool) -> None:
    """While every write is refused, each Machine tries at its pace, and afterwards writes no more than without it."""
    size = HERD // 15
    world = herd(size)
    if leaving:
        world.settle(limit=HOUR)
        for number in range(size):
            world.delete(f"worker-{number}")
    before = writes(world)
    storm: ClusterError = REFUSALS[refusal]
    world.cluster.refusing = storm
    assert max(stepped(world, STORM)) <= size
    tried = writes(world) - before
    # A conflict is tried again when the watch will have caught up, which is at the next look; any other after a while.
    pace = timedelta(seconds=1) if isinstance(storm, ConflictError) else RETRY
    assert tried <= size * (STORM / pace + 2)
    world.cluster.refusing = None
    world.settle(limit=HOUR)
    for number in range(size):
        world.delete(f"worker-{number}")
    world.settle(limit=HOUR)
    assert writes(world) - tried <= WRITES_MAX * size
    assert len(world.cloud.history()) == size


@pytest.mark.parametrize("kind", [FaultKind.THROTTLED, FaultKind.OH_SNAP_BEFORE, FaultKind.LOST_AFTER, None])
def test_f22_calls_keep_the_pace_through_faults_and_restarts(kind: FaultKind | None, calls: Calls) -> None:
    """However often a call fails and the process dies: never more calls than the pace and one burst allow."""
    world = herd(20)
    if kind:
        world.cloud.faults.add(FaultRule(kind=kind, share=0.5))
    for span in (3, 1, 1, 1, 20, 1, 1, 30):
        world.run_for(timedelta(seconds=span))
        world.crash()
    world.cloud.faults.replace()
    world.settle(limit=HOUR)
    for number in range(20):
        world.delete(f"worker-{number}")
    for span in (1, 1, 1, 10):
        world.run_for(timedelta(seconds=span))
        world.crash()
    world.settle(limit=HOUR)
    assert len(calls.instants) >= 40
    assert calls.worst(PaceSettings()) <= 1 + world.crashes, "each life has its first call at once"


def test_f22_a_process_that_dies_again_and_again_calls_no_faster(calls: Calls) -> None:
    """With more to buy than the pace allows, and a kill in the middle of every wave, no life begins with a burst."""
    world = herd(100)
    for _ in range(12):
        world.mishap(world.calls + 200, Moment.AFTER)
        world.step()
    assert world.crashes >= 6
    assert calls.worst(PaceSettings()) <= 1 + world.crashes
