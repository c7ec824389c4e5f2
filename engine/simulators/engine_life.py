"""One life of the engine's process, assembled as in production and driven by one thread.

Every queue, cache and mark lives here and is thrown away by a crash; what survives is handed in as `Surroundings`.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from engine.clock import Clock
from engine.domain.breakers import Limits
from engine.domain.ids import MachineUid
from engine.errors import EngineError
from engine.jobs.dispatch import Dispatch
from engine.jobs.poll_inventory import Cadence, PollInventory
from engine.jobs.queue import ReadyQueue
from engine.jobs.reap import Reap
from engine.jobs.sweep import SweepOrphans
from engine.jobs.sync_cluster import SyncCluster
from engine.ports.cluster import Cluster
from engine.ports.provider import Provider
from engine.ports.store import Store
from engine.reconcile.orphans import OrphanPolicy
from engine.simulators.invariants import BrokenPromiseError
from engine.simulators.ports import Tap
from engine.simulators.seed import Seed
from engine.workflow.belief import Belief
from engine.workflow.binding import Bindings
from engine.workflow.breakers import Breakers
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
    orphans: OrphanPolicy
    sweep_every: timedelta
    limits: Limits


class Engine:
    """One life of the process: assembled as in production, driven by one thread."""

    def __init__(self, around: Surroundings, tap: Tap) -> None:
        """Begin; the watches of the cluster are started."""
        self.tap = tap
        self._around = around
        self._clock = around.clock
        self._store, self._cluster = tap.store(around.store), tap.cluster(around.cluster)
        self.inventory = Inventory()
        self.bindings = Bindings(self._cluster, {around.provider_name: tap.provider(around.provider)})
        self.breakers = Breakers(clock=self._clock, store=self._store, cluster=self._cluster, limits=around.limits)
        self.dispatch = Dispatch(
            clock=self._clock,
            store=self._store,
            cluster=self._cluster,
            runner=self._assemble_runner(),
            queue=ReadyQueue(),
        )
        self.sync = self._assemble_sync()
        self.poll = self._assemble_poll()
        self._sweep = self._assemble_sweep()
        self._reap = Reap(clock=self._clock, store=self._store, wake=self.dispatch.wake)
        self._reaped_at = _LONG_AGO
        self._jobs = (self.sync.turn, self.breakers.turn, self.poll.turn, self._sweep.turn, self.dispatch.turn)
        self._in_turn: set[Callable[[], None]] = set()
        self._cluster.start(self.sync.notice)

    def turn(self) -> None:
        """Let every job take its turn, and serve every machine that is ready."""
        self._take(self.sync.turn)
        self._serve()
        self._take(self.breakers.turn)
        self._take(self.poll.turn)
        self._take(self._sweep.turn)
        self._take(self.dispatch.turn)
        if self._clock.monotonic() - self._reaped_at >= _REAP_SECONDS:
            self._take(self._reap.turn)
            self._reaped_at = self._clock.monotonic()
        self._serve()

    def interleave(self, chance: Seed) -> None:
        """Let another thread of the process act while one waits for a call: a worker as often as a job."""
        chosen = chance.integer(-len(self._jobs), len(self._jobs) - 1)
        if chosen < 0:
            self.dispatch.serve_next(0.0)
        else:
            self._take(self._jobs[chosen])

    def _assemble_runner(self) -> Runner:
        marks, policy = Marks(self._clock), self._around.policy
        observer = Observer(
            clock=self._clock,
            store=self._store,
            cluster=self._cluster,
            bindings=self.bindings,
            inventory=self.inventory,
            marks=marks,
            breakers=self.breakers,
            policy=policy,
            started=self._clock.monotonic(),
        )
        return _StrictRunner(
            clock=self._clock,
            store=self._store,
            cluster=self._cluster,
            inventory=self.inventory,
            observer=observer,
            mirror=Mirror(self._cluster),
            marks=marks,
            breakers=self.breakers,
            policy=policy,
            worker="worker",
        )

    def _assemble_sync(self) -> SyncCluster:
        return SyncCluster(
            clock=self._clock,
            store=self._store,
            cluster=self._cluster,
            bindings=self.bindings,
            inventory=self.inventory,
            wake=self.dispatch.wake,
            full_every=self._around.full_every,
        )

    def _assemble_poll(self) -> PollInventory:
        return PollInventory(
            clock=self._clock,
            store=self._store,
            inventory=self.inventory,
            belief=Belief(clock=self._clock, store=self._store, breakers=self.breakers),
            wake=self.dispatch.wake,
            cadence=self._around.cadence,
            spawn=lambda act: act(),
        )

    def _assemble_sweep(self) -> SweepOrphans:
        return SweepOrphans(
            clock=self._clock,
            store=self._store,
            cluster=self._cluster,
            bindings=self.bindings,
            inventory=self.inventory,
            policy=self._around.orphans,
            period=self._around.sweep_every,
            may_delete=self.breakers.may_delete,
            on_return=self.breakers.count_deletion,
        )

    def _take(self, turn: Callable[[], None]) -> None:
        """A turn that the outside world spoils is over, as in production; a bug ends the simulation.

        No job has two turns at once.
        """
        if turn in self._in_turn:
            return
        self._in_turn.add(turn)
        try:
            with suppress(EngineError):
                turn()
        finally:
            self._in_turn.discard(turn)

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
