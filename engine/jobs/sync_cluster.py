"""What Kubernetes wants against what is recorded: on every change, and in full from time to time."""

import threading
from collections.abc import Callable
from datetime import timedelta

from engine.clock import Clock
from engine.domain.ids import MachineUid
from engine.domain.machine import MachineFilter, MachineRecord
from engine.domain.wanted import MachineObject
from engine.errors import ClusterError, StoreUnavailableError
from engine.logs import logger
from engine.metrics import MACHINES_BY_STATE
from engine.ports.cluster import Cluster, Kind, ObjectChange
from engine.ports.store import Store
from engine.reconcile.classes import ClassProtection, Protection, protections
from engine.reconcile.intent import admission, ours
from engine.workflow.binding import Bindings
from engine.workflow.inventory import Inventory

_BACKLOG_MAX = 100_000  # changes that wait for a turn; beyond it a full comparison finds them all

log = logger(__name__)


class SyncCluster:
    """Admits Machines, wakes those that a change concerns, and keeps the finalizers of classes and secrets right."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        cluster: Cluster,
        bindings: Bindings,
        inventory: Inventory,
        wake: Callable[[MachineUid], None],
        full_every: timedelta,
    ) -> None:
        self._clock = clock
        self._store = store
        self._cluster = cluster
        self._bindings = bindings
        self._inventory = inventory
        self._wake = wake
        self._full_every = full_every.total_seconds()
        self._lock = threading.Lock()
        self._changes: dict[ObjectChange, None] = {}
        self._arrived = threading.Event()
        self._known: dict[MachineUid, str] = {}
        self._full_at = -1e9
        self._protections_due = True

    @property
    def arrived(self) -> threading.Event:
        """Set while changes wait for a turn."""
        return self._arrived

    def notice(self, change: ObjectChange) -> None:
        """Take note of a change; the next turn deals with it. Safe from any thread, and quick."""
        with self._lock:
            if len(self._changes) < _BACKLOG_MAX:
                self._changes[change] = None
            else:
                self._full_at = -1e9
        self._arrived.set()

    def turn(self) -> None:
        """Deal with the changes since the last turn; compare everything when that is due."""
        if not self._cluster.synced():
            return
        with self._lock:
            changes, self._changes = list(self._changes), {}
            self._arrived.clear()
        try:
            if self._clock.monotonic() - self._full_at >= self._full_every:
                self._compare_all()
            for change in changes:
                self._deal_with(change)
        except StoreUnavailableError as away:
            log.warning("Machines are not compared; the database is away", reason=str(away))
            self._full_at = -1e9
        if self._protections_due:
            self._protect()

    def _compare_all(self) -> None:
        records = {record.uid: record for record in self._store.find(MachineFilter(unfinished_only=True))}
        self._known = {uid: record.name for uid, record in records.items()}
        for record in records.values():
            if record.device_id:
                self._inventory.own(record.device_id, record.uid)
        for machine in self._cluster.machines():
            self._see(machine)
        for uid in records:
            self._wake(uid)
        self._protections_due = True
        self._retain_accounts()
        self._count(list(records.values()))
        self._full_at = self._clock.monotonic()

    def _deal_with(self, change: ObjectChange) -> None:
        match change.kind:
            case Kind.MACHINE:
                self._machine_changed(change)
            case Kind.CLASS | Kind.SECRET:
                self._protections_due = True
                self._wake_users(change)
            case Kind.NODE:
                self._node_changed(change)

    def _machine_changed(self, change: ObjectChange) -> None:
        machine = self._cluster.machine_named(change.name)
        if machine is not None:
            self._see(machine)
            self._wake(machine.uid)
        if machine is None or change.deleted:
            self._protections_due = True
            for uid in [uid for uid, name in self._known.items() if name == change.name]:
                self._wake(uid)

    def _see(self, machine: MachineObject) -> None:
        if machine.uid in self._known or not ours(machine):
            return
        record, entry = admission(machine, self._clock.now())
        if self._store.admit(record=record, entry=entry):
            log.info("machine admitted", machine=machine.uid, name=machine.name, taken_over=record.taken_over)
        self._known[machine.uid] = machine.name
        self._protections_due = True

    def _wake_users(self, change: ObjectChange) -> None:
        names = {change.name} if change.kind is Kind.CLASS else self._classes_naming(change.name)
        for machine in self._cluster.machines():
            if machine.class_name in names:
                self._wake(machine.uid)

    def _classes_naming(self, secret: str) -> set[str]:
        return {
            each.name
            for each in self._cluster.machine_classes()
            if secret in {reference.name for reference in (each.secret, each.credentials_secret) if reference}
        }

    def _node_changed(self, change: ObjectChange) -> None:
        machine = self._cluster.machine_named(change.name)
        if machine is not None:
            self._wake(machine.uid)
            return
        node = self._cluster.node(name=change.name, device_suffix="")
        owner = self._owner_of(node.provider_id) if node else None
        if owner:
            self._wake(owner)

    def _owner_of(self, provider_id: str) -> MachineUid | None:
        from engine.domain.ids import DeviceId

        return self._inventory.owner_of(DeviceId(provider_id.rsplit("/", 1)[-1]))

    def _protect(self) -> None:
        self._protections_due = False
        wanted = protections(
            machines=self._cluster.machines(),
            classes=self._cluster.machine_classes(),
            secrets=self._cluster.secrets(),
        )
        for change in wanted:
            try:
                self._apply(change)
            except ClusterError as refused:
                log.warning("a finalizer could not be changed; trying again", reason=str(refused))
                self._protections_due = True

    def _apply(self, change: Protection) -> None:
        if isinstance(change, ClassProtection):
            self._cluster.protect_class(change.class_object, protected=change.protected)
        else:
            self._cluster.protect_secret(change.secret, protected=change.protected)

    def _retain_accounts(self) -> None:
        used = {machine.class_name for machine in self._cluster.machines()}
        clouds = [binding.cloud for binding in (self._bindings.of_class(name) for name in used) if binding.cloud]
        self._inventory.retain(cloud.account for cloud in clouds)
        for cloud in clouds:
            self._inventory.register(cloud)

    def _count(self, records: list[MachineRecord]) -> None:
        MACHINES_BY_STATE.clear()
        for record in records:
            MACHINES_BY_STATE.labels(state=record.state.value, step=record.place.step.value).inc()
