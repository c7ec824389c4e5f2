"""Everything that a step may look at, gathered in one place and at one instant."""

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import timedelta

from engine.clock import Clock
from engine.domain.admission import ours
from engine.domain.ids import DeviceId
from engine.domain.intents import Intent, IntentKind
from engine.domain.machine import MachineRecord
from engine.domain.wanted import MachineObject
from engine.ports.cluster import Cluster, Kind
from engine.ports.store import Store
from engine.workflow.binding import Binding, Bindings
from engine.workflow.breakers import Breakers
from engine.workflow.inventory import Inventory, Snapshot
from engine.workflow.policy import Policy
from engine.workflow.step import Context

_NO_BINDING = Binding(inputs="no object")


class Marks:
    """Monotonic instants at which this process first knew something; a restart forgets them and waits longer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._marks: dict[Hashable, float] = {}

    def first(self, key: Hashable) -> float:
        """Answer when this was first asked, which is now if it never was."""
        with self._lock:
            return self._marks.setdefault(key, self._clock.monotonic())

    def set(self, key: Hashable) -> None:
        """Note that this happened now."""
        with self._lock:
            self._marks[key] = self._clock.monotonic()

    def known(self, key: Hashable) -> float | None:
        """Answer when this happened, None when this process does not know."""
        return self._marks.get(key)

    def forget(self, *keys: Hashable) -> None:
        """Drop marks that nobody needs any more."""
        with self._lock:
            for key in keys:
                self._marks.pop(key, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Gathers the context of a machine."""

    clock: Clock
    store: Store
    cluster: Cluster
    bindings: Bindings
    inventory: Inventory
    marks: Marks
    breakers: Breakers
    policy: Policy
    started: float

    def observe(self, record: MachineRecord) -> Context:
        """Answer what the caches, the boards and the store show of this machine now."""
        machine = self.cluster.machine(record.uid)
        binding = self._binding(record, machine)
        account = binding.returning.account if binding.returning else None
        snapshot = self.inventory.snapshot(account) if account else None
        devices = _devices(record)
        open_order = self._open_order(record)
        return Context(
            record=record,
            machine=machine,
            absent_for=self._absence(record, machine),
            none_shown=machine is None and not self.cluster.machines(),
            back_for=self._return(record, machine),
            binding=binding,
            snapshot=snapshot,
            list_problem=self.inventory.problem(account) if account else None,
            node=self.cluster.node(name=record.node_name or record.name, device_suffix=record.device_id or ""),
            has_target=self.cluster.has_target,
            open_order=open_order,
            doubt_since=self.marks.first(open_order.intent_id) if open_order else 0.0,
            released_since=self._marked("released", devices),
            denied_since=self._denied(devices, snapshot),
            shown_before=self._shown_before(devices, snapshot),
            admitted_here=self.marks.known(("admitted", record.uid)) is not None,
            order_barred=self.breakers.order_barred(record),
            may_delete=self.breakers.may_delete(),
            started=self.started,
            now=self.clock.now(),
            monotonic=self.clock.monotonic(),
            policy=self.policy,
        )

    def _binding(self, record: MachineRecord, machine: MachineObject | None) -> Binding:
        if machine is not None:
            binding = self.bindings.of(machine)
        elif record.class_name:
            binding = self.bindings.of_class(record.class_name)
        else:
            return _NO_BINDING
        if binding.returning:
            self.inventory.register(binding.returning)
        return binding

    def _absence(self, record: MachineRecord, machine: MachineObject | None) -> timedelta:
        """An object that cannot be read is there, whatever it says; one that hides its name may be anybody's."""
        key = ("absent", record.uid)
        if machine is not None or self._is_unreadable(record.name):
            self.marks.forget(key)
            return timedelta(0)
        return timedelta(seconds=self.clock.monotonic() - self.marks.first(key))

    def _is_unreadable(self, name: str) -> bool:
        unreadable = self.cluster.unreadable
        return bool(unreadable) and any(kind is Kind.MACHINE and odd in {"", name} for kind, odd in unreadable)

    def _return(self, record: MachineRecord, machine: MachineObject | None) -> timedelta:
        if not record.finished:
            return timedelta(0)
        key = ("back", record.uid)
        if machine is None or not ours(machine):
            self.marks.forget(key)
            return timedelta(0)
        return timedelta(seconds=self.clock.monotonic() - self.marks.first(key))

    def _open_order(self, record: MachineRecord) -> Intent | None:
        if record.orders == 0 or record.device_id:
            return None
        intents = self.store.intents(record.uid)
        return next((each for each in intents if each.kind is IntentKind.ORDER and each.unresolved), None)

    def _marked(self, what: str, devices: list[DeviceId]) -> dict[DeviceId, float]:
        marked = [(each, self.marks.known((what, each))) for each in devices]
        return {device_id: instant for device_id, instant in marked if instant is not None}

    def _denied(self, devices: list[DeviceId], snapshot: Snapshot | None) -> dict[DeviceId, float]:
        """A list that shows a device puts an end to the doubt that a denied look raised."""
        marked = self._marked("denied", devices)
        for each in [each for each in marked if snapshot is not None and each in snapshot.devices]:
            self.marks.forget(("denied", each))
            del marked[each]
        return marked

    def _shown_before(self, devices: list[DeviceId], snapshot: Snapshot | None) -> frozenset[DeviceId]:
        """Only for devices that the list misses; what earlier processes were shown is asked for once."""
        if snapshot is None:
            return frozenset()
        account, missed = snapshot.account, [each for each in devices if each not in snapshot.devices]
        if missed and not self.inventory.recalls(account):
            known = self.store.devices(account=account)
            self.inventory.recall(account, [each.device.device_id for each in known])
        return frozenset(each for each in missed if self.inventory.was_shown(account, each))


def _devices(record: MachineRecord) -> list[DeviceId]:
    returned = [each.device_id for each in record.releases]
    return list(dict.fromkeys([record.device_id, *returned] if record.device_id else returned))
