"""What Kubernetes wants against what is recorded: on every change, and in full from time to time."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from engine.clock import Clock
from engine.domain.admission import ours
from engine.domain.ids import DeviceId, MachineUid
from engine.domain.machine import MachineFilter
from engine.domain.wanted import MachineObject
from engine.errors import ClusterError, NewerRecordError, StoreUnavailableError
from engine.logs import logger
from engine.ports.cluster import Cluster, Kind, ObjectChange
from engine.ports.store import Store
from engine.reconcile.classes import ClassProtection, Protection, protections
from engine.workflow.binding import Bindings
from engine.workflow.inventory import Inventory

_BACKLOG_MAX = 100_000  # changes that wait for a turn; beyond it a full comparison finds them all

log = logger(__name__)


@dataclass(slots=True, kw_only=True)
class SyncCluster:
    """Wakes the machines that a change concerns, and keeps the finalizers of classes and secrets right."""

    clock: Clock
    store: Store
    cluster: Cluster
    bindings: Bindings
    inventory: Inventory
    wake: Callable[[MachineUid], None]
    full_every: timedelta
    arrived: threading.Event = field(default_factory=threading.Event, init=False)
    """Set while changes wait for a turn."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _changes: dict[ObjectChange, None] = field(default_factory=dict, init=False)
    _known: dict[MachineUid, str] = field(default_factory=dict, init=False)
    _parked: dict[MachineUid, str] = field(default_factory=dict, init=False)
    _nodes: dict[str, MachineUid] = field(default_factory=dict, init=False)
    _full_at: float = field(default=-1e9, init=False)
    _protections_due: bool = field(default=True, init=False)
    _accounts_due: bool = field(default=True, init=False)

    def notice(self, change: ObjectChange) -> None:
        """Take note of a change; the next turn deals with it. Safe from any thread, and quick."""
        with self._lock:
            if len(self._changes) < _BACKLOG_MAX:
                self._changes[change] = None
            else:
                self._full_at = -1e9
        self.arrived.set()

    def turn(self) -> None:
        """Deal with the changes since the last turn; compare everything when that is due."""
        # First, so that whoever waits for news does not spin before everything was listed.
        self.arrived.clear()
        if not self.cluster.synced():
            return
        with self._lock:
            changes, self._changes = list(self._changes), {}
        try:
            if self.clock.monotonic() - self._full_at >= self.full_every.total_seconds():
                self._compare_all()
            for change in changes:
                self._deal_with(change)
            if self._accounts_due:
                self._retain_accounts()
            if self._protections_due:
                self._protect()
        except (StoreUnavailableError, NewerRecordError, ClusterError) as away:
            log.warning("Machines were not all compared; everything is compared anew", reason=str(away))
            self._full_at = -1e9

    def _compare_all(self) -> None:
        records = {record.uid: record for record in self.store.find(MachineFilter(unfinished_only=True))}
        self._known = {uid: record.name for uid, record in records.items()}
        self._parked = {parked.uid: parked.class_name for parked in self.store.parked()}
        self._nodes = {record.node_name: uid for uid, record in records.items() if record.node_name}
        for record in records.values():
            if record.device_id:
                self.inventory.own(record.device_id, record.uid)
        for machine in self.cluster.machines():
            self._see(machine)
        for uid in self._known:
            self.wake(uid)
        self._protections_due = self._accounts_due = True
        self._full_at = self.clock.monotonic()

    def _deal_with(self, change: ObjectChange) -> None:
        match change.kind:
            case Kind.MACHINE:
                self._machine_changed(change)
            case Kind.CLASS | Kind.SECRET:
                self._protections_due = self._accounts_due = True
                self._wake_users(change)
            case Kind.NODE:
                self._node_changed(change)

    def _machine_changed(self, change: ObjectChange) -> None:
        machine = self.cluster.machine_named(change.name)
        if machine is not None:
            self._see(machine)
            self.wake(machine.uid)
        if machine is None or change.deleted:
            self._protections_due = True
            for uid in [uid for uid, name in self._known.items() if name == change.name]:
                self.wake(uid)

    def _see(self, machine: MachineObject) -> None:
        if machine.uid not in self._known and ours(machine):
            self._known[machine.uid] = machine.name
            self._protections_due = True

    def _wake_users(self, change: ObjectChange) -> None:
        names = {change.name} if change.kind is Kind.CLASS else self._classes_naming(change.name)
        for machine in self.cluster.machines():
            if machine.class_name in names:
                self.wake(machine.uid)

    def _classes_naming(self, secret: str) -> set[str]:
        return {
            each.name
            for each in self.cluster.machine_classes()
            if secret in {reference.name for reference in (each.secret, each.credentials_secret) if reference}
        }

    def _node_changed(self, change: ObjectChange) -> None:
        machine = self.cluster.machine_named(change.name)
        if machine is not None:
            self.wake(machine.uid)
            return
        node = self.cluster.node(name=change.name, device_suffix="")
        # Whose Node it was stands in no object any more when it is gone.
        owner = self._owner_of(node.provider_id) if node else self._nodes.pop(change.name, None)
        if owner and node:
            self._nodes[change.name] = owner
        if owner:
            self.wake(owner)

    def _owner_of(self, provider_id: str) -> MachineUid | None:
        return self.inventory.owner_of(DeviceId(provider_id.rsplit("/", 1)[-1]))

    def _protect(self) -> None:
        machines = self.cluster.machines()
        lingering = self._lingering({machine.uid for machine in machines})
        wanted = protections(
            machines=machines,
            lingering=lingering,
            classes=self.cluster.machine_classes(),
            secrets=self.cluster.secrets(),
        )
        refusals = [refused for refused in map(self._refusal, wanted) if refused]
        for refused in refusals:
            log.warning("a finalizer could not be changed; trying again", reason=str(refused))
        self._protections_due = bool(refusals or lingering)

    def _lingering(self, present: set[MachineUid]) -> set[str]:
        """Answer the classes of machines that have lost their object and not yet ended: a return needs its account."""
        names = {class_name for uid, class_name in self._parked.items() if uid not in present}
        for uid in [uid for uid in self._known if uid not in present and uid not in self._parked]:
            record = self.store.get(uid)
            if record is None or record.finished:
                del self._known[uid]
            else:
                names.add(record.class_name)
        return names

    def _refusal(self, change: Protection) -> ClusterError | None:
        try:
            self._apply(change)
        except ClusterError as refused:
            return refused
        return None

    def _apply(self, change: Protection) -> None:
        if isinstance(change, ClassProtection):
            self.cluster.protect_class(change.class_object, protected=change.protected)
        else:
            self.cluster.protect_secret(change.secret, protected=change.protected)

    def _retain_accounts(self) -> None:
        """Classes in use come last, for they say whose devices are ours; the others' accounts may hold orphans."""
        used = dict.fromkeys(machine.class_name for machine in self.cluster.machines())
        spare = [each.name for each in self.cluster.machine_classes() if each.name not in used]
        bindings = [self.bindings.of_class(name) for name in (*spare, *used)]
        clouds = [binding.returning for binding in bindings if binding.returning]
        self.inventory.retain(cloud.account for cloud in clouds)
        for cloud in clouds:
            self.inventory.register(cloud)
        self._accounts_due = False
