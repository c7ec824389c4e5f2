"""One life of the engine's process, assembled as in production and driven by one thread.

Every queue, cache and mark lives here and is thrown away by a crash; what survives is handed in as `Surroundings`.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from engine.clock import Clock
from engine.domain.ids import MachineUid
from engine.errors import EngineError
from engine.jobs.dispatch import Dispatch
from engine.jobs.poll_inventory import Cadence, PollInventory
from engine.jobs.queue import ReadyQueue
from engine.jobs.reap import Reap
from engine.jobs.sync_cluster import SyncCluster
from engine.ports.cluster import Cluster
from engine.ports.provider import Provider
from engine.ports.store import Store
from engine.simulators.invariants import BrokenPromiseError
from engine.simulators.ports import Tap
from engine.workflow.binding import Bindings
from engine.workflow.inventory import Inventory
from engine.workflow.mirror import Mirror
from engine.workflow.observation import Marks, Observer
from engine.workflow.policy import Policy
from engine.workflow.runner import Ran, Report, Runner

RUNS_MAX = 1_000  # in one step; more is a machine that wakes itself for ever
_LONG_AGO = -1e9
_REAP_SECONDS = 10.0  # as in production


class NeverCameError(Exception):
    """What a simulation waited for did not come about within its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is there before the process begins, and after it ends."""

    clock: Clock
    store: Store
    cluster: Cluster
    provider: Provider
    provider_name: str
    policy: Policy
    cadence: Cadence
    full_every: timedelta


class Engine:
    """One life of the process: assembled as in production, driven by one thread."""

    def __init__(self, around: Surroundings, tap: Tap) -> None:
        self.tap = tap
        self._clock = clock = around.clock
        store, cluster, policy = tap.store(around.store), tap.cluster(around.cluster), around.policy
        providers = {around.provider_name: tap.provider(around.provider)}
        self.inventory, self.bindings = Inventory(), Bindings(cluster, providers)
        marks = Marks(clock)
        observer = Observer(
            clock=clock,
            store=store,
            cluster=cluster,
            bindings=self.bindings,
            inventory=self.inventory,
            marks=marks,
            policy=policy,
            started=clock.monotonic(),
        )
        runner = _StrictRunner(
            clock=clock,
            store=store,
            cluster=cluster,
            inventory=self.inventory,
            observer=observer,
            mirror=Mirror(cluster),
            marks=marks,
            policy=policy,
            worker="worker",
        )
        self.dispatch = Dispatch(clock=clock, store=store, cluster=cluster, runner=runner, queue=ReadyQueue())
        wake = self.dispatch.wake
        self.sync = SyncCluster(
            clock=clock,
            store=store,
            cluster=cluster,
            bindings=self.bindings,
            inventory=self.inventory,
            wake=wake,
            full_every=around.full_every,
        )
        self.poll = PollInventory(
            clock=clock,
            store=store,
            inventory=self.inventory,
            wake=wake,
            cadence=around.cadence,
            spawn=lambda act: act(),
        )
        self._reap = Reap(clock=clock, store=store, wake=wake)
        self._reaped_at = _LONG_AGO
        cluster.start(self.sync.notice)

    def turn(self) -> None:
        """Let every job take its turn, and serve every machine that is ready."""
        self._take(self.sync.turn)
        self._serve()
        self._take(self.poll.turn)
        self._take(self.dispatch.turn)
        if self._clock.monotonic() - self._reaped_at >= _REAP_SECONDS:
            self._take(self._reap.turn)
            self._reaped_at = self._clock.monotonic()
        self._serve()

    def _take(self, turn: Callable[[], None]) -> None:
        """A turn that the outside world spoils is over, as in production; a bug ends the simulation."""
        with suppress(EngineError):
            turn()

    def _serve(self) -> None:
        for _ in range(RUNS_MAX):
            if self.sync.arrived.is_set():
                self._take(self.sync.turn)
            if not self.dispatch.serve_next(0.0):
                return
        raise NeverCameError(f"after {RUNS_MAX} runs in one instant there is still a machine that wants to run")


class _StrictRunner(Runner):
    """A runner whose faults of its own are not forgiven."""

    def run(self, uid: MachineUid) -> Report:
        """Take the machine as far as it goes now."""
        report = Runner.run(self, uid)
        if report.ran is Ran.FAULT:
            raise BrokenPromiseError(f"a fault of the engine while it moved machine {uid}; its log says which")
        return report
