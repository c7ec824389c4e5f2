"""The composition root: the only module that names concrete adapters, and the table of what runs by itself."""

import hashlib
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from engine import __version__
from engine.clock import Clock, SystemClock
from engine.cluster.checks import await_start
from engine.cluster.connect import ClusterOptions
from engine.cluster.kube import KubeCluster, open_cluster
from engine.cluster.leases import LeaderElector, LeaseSettings
from engine.config import Settings
from engine.console.health import Health, Probes
from engine.console.machines import MachineCollector
from engine.console.server import ConsoleServer
from engine.domain.breakers import Limits
from engine.domain.outcome import Code
from engine.domain.retry import Backoff
from engine.jobs.dispatch import Dispatch
from engine.jobs.poll_inventory import Cadence, PollInventory
from engine.jobs.prompt import Prompt
from engine.jobs.prune import Prune
from engine.jobs.queue import ReadyQueue
from engine.jobs.reap import Reap
from engine.jobs.scheduler import Job, Scheduler
from engine.jobs.sweep import SweepOrphans
from engine.jobs.sync_cluster import SyncCluster
from engine.logs import logger
from engine.metrics import (
    CLOUD_REQUEST_SECONDS,
    CLOUD_REQUESTS,
    CLOUD_REQUESTS_FAILED,
    KUBERNETES_WRITES,
    LEADER,
)
from engine.ports.provider import Provider
from engine.providers.equinix.api import EquinixSettings
from engine.providers.equinix.provider import NAME as EQUINIX
from engine.providers.equinix.provider import EquinixMetal
from engine.providers.pace import PaceSettings
from engine.providers.registry import assemble
from engine.reconcile.orphans import OrphanPolicy
from engine.store.opening import open_store
from engine.store.sql import SqlStore
from engine.workflow.belief import Belief
from engine.workflow.binding import Bindings
from engine.workflow.breakers import Breakers
from engine.workflow.inventory import Inventory
from engine.workflow.mirror import Mirror
from engine.workflow.observation import Marks, Observer
from engine.workflow.policy import Policy
from engine.workflow.runner import Runner

STOP_PATIENCE = timedelta(seconds=25)  # a pod is killed 30 s after it was asked to stop
_LISTS_AT_ONCE = 8  # accounts; one that answers slowly must not delay the others
_SYNC_AT_LEAST = timedelta(seconds=1)
_SWEEP_LOOK = timedelta(seconds=30)  # how soon after the first complete lists the first sweep comes
_LOOK_LEAST = timedelta(seconds=1)  # A period of zero must not make a job spin.

log = logger(__name__)


class PrometheusMeter:
    """Counts the calls to clouds in the metrics of the contract."""

    def record(self, provider: str, operation: str, seconds: float, error_code: Code | None) -> None:
        """Take note of one call."""
        CLOUD_REQUESTS.labels(provider=provider, service=operation).inc()
        CLOUD_REQUEST_SECONDS.labels(provider=provider, service=operation).observe(seconds)
        if error_code is not None:
            CLOUD_REQUESTS_FAILED.labels(provider=provider, service=operation).inc()


class Controller:
    """The machine controller as one thing: `start`, then `stop`."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.lost = threading.Event()
        """Set when the process must end because it may not act any more."""
        self.store: SqlStore = open_store(
            settings.database, connections=settings.concurrent_syncs + 2, clock=self.clock
        )
        self.cluster: KubeCluster = open_cluster(cluster_options(settings), clock=self.clock, on_write=_count_write)
        self._inventory = Inventory()
        self._bindings = Bindings(self.cluster, _providers(settings, self.clock))
        self._breakers = Breakers(clock=self.clock, store=self.store, cluster=self.cluster, limits=_limits(settings))
        self._dispatch = self._assemble_dispatch()
        self._sync = self._assemble_sync()
        self._prompt = Prompt(
            clock=self.clock,
            name="sync cluster",
            turn=self._sync.turn,
            news=self._sync.arrived,
            at_least=_SYNC_AT_LEAST,
        )
        self._lists = ThreadPoolExecutor(_LISTS_AT_ONCE, thread_name_prefix="list")
        self._scheduler = Scheduler(clock=self.clock, jobs=self._jobs())
        self._acting = threading.Event()
        self._elector = self._assemble_elector() if settings.leader_elect else None
        self.health = Health(self._probes())
        self.console = ConsoleServer(
            health=self.health,
            machines=MachineCollector(self.cluster.machines),
            address=settings.address,
            port=settings.port,
            clock=self.clock,
        )

    def start(self, stopping: threading.Event | None = None) -> None:
        """Serve the probes, wait for the clusters, watch them, and act as soon as this replica leads.

        Waits as long as the clusters need, or until `stopping` is set. Raises ConfigurationError, in words, when the
        probes cannot be served.
        """
        self._take_back_claims()
        self.console.start()
        log.info("serving", address=self.settings.address, port=self.console.port, version=__version__)
        if not await_start(self.cluster.servers, clock=self.clock, stopping=stopping or threading.Event()):
            return
        self.cluster.start(self._sync.notice)
        if self._elector is None:
            self._act()
        else:
            self._elector.start(on_started=self._act, on_lost=self._yield)

    def stop(self) -> None:
        """Finish the runs under way and leave; safe to call at any time, and twice."""
        if self._acting.is_set():
            self._scheduler.stop()
            self._prompt.stop()
            self._dispatch.stop(STOP_PATIENCE)
        self._lists.shutdown(wait=False, cancel_futures=True)
        if self._elector:
            self._elector.stop()
        self.cluster.stop()
        self.console.stop()
        self.store.close()
        LEADER.set(0)

    def _take_back_claims(self) -> None:
        """Who held a claim on a file that is ours alone was killed: its machines need not wait for the claim's end."""
        if _is_alone(self.settings):
            left = self.store.reap(now=self.clock.now() + _policy(self.settings).claim_span)
            log.info("claims of a former life taken back", count=len(left))

    def _act(self) -> None:
        if self._acting.is_set():
            return
        log.info("acting", namespace=self.settings.namespace, target=self.cluster.has_target)
        self._acting.set()
        LEADER.set(1)
        self._dispatch.start(self.settings.concurrent_syncs)
        self._prompt.start()
        self._scheduler.start()

    def _yield(self) -> None:
        """Whoever lost the Lease must not finish what it began: the process ends, and starts anew as a candidate."""
        log.error("the Lease was lost; this process ends so that it cannot act beside the new leader")
        self.lost.set()

    def _assemble_dispatch(self) -> Dispatch:
        marks = Marks(self.clock)
        policy = _policy(self.settings)
        observer = Observer(
            clock=self.clock,
            store=self.store,
            cluster=self.cluster,
            bindings=self._bindings,
            inventory=self._inventory,
            marks=marks,
            breakers=self._breakers,
            policy=policy,
            started=self.clock.monotonic(),
        )
        runner = Runner(
            clock=self.clock,
            store=self.store,
            cluster=self.cluster,
            inventory=self._inventory,
            observer=observer,
            mirror=Mirror(self.cluster),
            marks=marks,
            breakers=self._breakers,
            policy=policy,
            worker=_identity(self.settings),
        )
        return Dispatch(clock=self.clock, store=self.store, cluster=self.cluster, runner=runner, queue=ReadyQueue())

    def _assemble_sync(self) -> SyncCluster:
        return SyncCluster(
            clock=self.clock,
            store=self.store,
            cluster=self.cluster,
            bindings=self._bindings,
            inventory=self._inventory,
            wake=self._dispatch.wake,
            full_every=self.settings.sync_period,
        )

    def _jobs(self) -> list[Job]:
        settings, clock, store = self.settings, self.clock, self.store
        cadence = Cadence(
            fastest=settings.poll_fastest, expecting_max=settings.poll_expecting, quiet=settings.poll_quiet
        )
        poll = PollInventory(
            clock=clock,
            store=store,
            inventory=self._inventory,
            belief=Belief(clock=clock, store=store, breakers=self._breakers),
            wake=self._dispatch.wake,
            cadence=cadence,
            spawn=self._list_beside,
        )
        prune = Prune(clock=clock, store=store, retention=settings.history_retention)
        reap = Reap(clock=clock, store=store, wake=self._dispatch.wake)
        sweep_look = max(_LOOK_LEAST, min(_SWEEP_LOOK, settings.machine_safety_orphan_vms_period))
        return [
            Job(name="poll inventory", turn=poll.turn, every=timedelta(milliseconds=250)),
            Job(name="dispatch", turn=self._dispatch.turn, every=timedelta(seconds=1)),
            Job(name="breakers", turn=self._breakers.turn, every=timedelta(seconds=5)),
            Job(name="reap", turn=reap.turn, every=timedelta(seconds=10)),
            Job(name="sweep orphans", turn=self._assemble_sweep().turn, every=sweep_look),
            Job(name="prune", turn=prune.turn, every=timedelta(days=1)),
        ]

    def _assemble_sweep(self) -> SweepOrphans:
        settings = self.settings
        return SweepOrphans(
            clock=self.clock,
            store=self.store,
            cluster=self.cluster,
            bindings=self._bindings,
            inventory=self._inventory,
            period=settings.machine_safety_orphan_vms_period,
            policy=OrphanPolicy(age=settings.orphan_age, releases_max=settings.orphan_releases_max),
            may_delete=self._breakers.may_delete,
            on_return=self._breakers.count_deletion,
        )

    def _list_beside(self, turn: Callable[[], None]) -> None:
        self._lists.submit(turn).add_done_callback(_tell_fault)

    def _assemble_elector(self) -> LeaderElector:
        return LeaderElector(
            self.cluster.servers.control,
            namespace=self.settings.namespace,
            identity=_identity(self.settings),
            clock=self.clock,
            settings=LeaseSettings(
                lease_span=self.settings.leader_elect_lease_duration,
                renew_deadline=self.settings.leader_elect_renew_deadline,
                retry_span=self.settings.leader_elect_retry_period,
            ),
            count=self.cluster.count,
        )

    def _probes(self) -> Probes:
        return Probes(
            workers_stuck_for=self._dispatch.stuck_for,
            workers_alive=self._dispatch.alive,
            late_jobs=self._late_jobs,
            blind_for=self.cluster.blind_for,
            synced=self.cluster.synced,
        )

    def _late_jobs(self) -> list[str]:
        if not self._acting.is_set():
            return []
        return self._scheduler.late() + (["sync cluster"] if self._prompt.late() else [])


def cluster_options(settings: Settings) -> ClusterOptions:
    """Answer which clusters the settings name."""
    return ClusterOptions(
        control_kubeconfig=settings.control_kubeconfig,
        target_kubeconfig=settings.target_kubeconfig,
        namespace=settings.namespace,
        qps=settings.kube_api_qps,
        burst=settings.kube_api_burst,
        workers=settings.concurrent_syncs,
    )


def _policy(settings: Settings) -> Policy:
    return Policy(
        creation_timeout=settings.machine_creation_timeout,
        visibility_window=settings.visibility_window,
        vanished_after=settings.visibility_window,
        capacity_retry=settings.resource_exhausted_retry,
        reservation_cooldown=settings.reservation_cooldown,
        backoff=Backoff(first=settings.retry_first, longest=settings.retry_longest),
        busy_retry=settings.busy_retry,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        list_shrink_share=settings.breaker_list_shrink_share,
        list_shrink_devices=settings.breaker_list_shrink_devices,
        list_confirmation=settings.breaker_list_confirmation,
        wasted_purchases_per_hour=settings.breaker_wasted_purchases_per_hour,
        unasked_deletions_per_hour=settings.breaker_unasked_deletions_per_hour,
        unhealthy_share=settings.breaker_unhealthy_share,
    )


def _providers(settings: Settings, clock: Clock) -> dict[str, Provider]:
    registry = assemble({EQUINIX: partial(_equinix, settings)}, clock=clock, meter=PrometheusMeter())
    return {name: registry.provider(name) for name in registry.names}


def _equinix(settings: Settings, clock: Clock) -> EquinixMetal:
    pace = PaceSettings(
        calls_per_second=settings.metal_calls_per_second, burst=max(1, round(2 * settings.metal_calls_per_second))
    )
    return EquinixMetal(
        clock=clock,
        settings=EquinixSettings(base_url=settings.metal_api_url, connections_max=settings.concurrent_syncs, pace=pace),
    )


def _tell_fault(done: Future[None]) -> None:
    """A fault of ours in a thread of a pool would vanish; the next list comes as usual."""
    fault = None if done.cancelled() else done.exception()
    if fault is not None:
        log.error("a list failed by a fault of the engine", exc_info=fault)


def _count_write(verb: str, resource: str) -> None:
    KUBERNETES_WRITES.labels(verb=verb, resource=resource).inc()


def _identity(settings: Settings) -> str:
    """A restart on the same SQLite file is the same candidate: the file's lock keeps two of it from running at once."""
    mark = hashlib.blake2b(settings.database.encode(), digest_size=4).hexdigest()
    if not _is_alone(settings):
        mark = f"{mark}-{os.getpid()}"
    return f"{socket.gethostname()}_{mark}"


def _is_alone(settings: Settings) -> bool:
    """Whether the database's own lock keeps every other process out."""
    return settings.database.startswith("sqlite")
