"""Who runs next, and how often a machine that did not succeed is tried again."""

from datetime import timedelta
from typing import cast

from engine.domain.ids import MachineUid
from engine.jobs.dispatch import Dispatch
from engine.jobs.queue import ReadyQueue
from engine.simulators.clock import VirtualClock
from engine.simulators.cluster import SimulatedCluster
from engine.simulators.seed import Seed
from engine.workflow.runner import Ran, Report, Runner
from tests.model.model_store import ModelStore

UID = MachineUid("uid-1")
RETRY = timedelta(seconds=2)


class Away:
    """A runner whose API server is away."""

    def __init__(self, clock: VirtualClock) -> None:
        self.runs = 0
        self.span: timedelta | None = RETRY
        self._clock = clock

    def run(self, _uid: MachineUid) -> Report:
        """Ask to be tried again."""
        self.runs += 1
        return Report(ran=Ran.CLUSTER_AWAY, due_at=self._clock.now() + self.span if self.span else None)


def test_a_machine_that_is_woken_often_is_tried_again_once() -> None:
    """The last run alone says when; one that asks for nothing takes the retry of the one before back."""
    clock = VirtualClock()
    cluster, runner = SimulatedCluster(clock=clock, seed=Seed(1)), Away(clock)
    cluster.start(lambda _change: None)
    dispatch = Dispatch(
        clock=clock, store=ModelStore(), cluster=cluster, runner=cast("Runner", runner), queue=ReadyQueue()
    )

    def pass_by(span: timedelta) -> int:
        before = runner.runs
        clock.advance(span)
        dispatch.turn()
        while dispatch.serve_next(0.0):
            pass
        return runner.runs - before

    for _ in range(5):
        dispatch.wake(UID)
        assert pass_by(RETRY / 4) == 1
    assert [pass_by(RETRY / 2) for _ in range(4)] == [0, 1, 0, 1]
    runner.span = None
    dispatch.wake(UID)
    assert [pass_by(RETRY / 2) for _ in range(4)] == [1, 0, 0, 0]
