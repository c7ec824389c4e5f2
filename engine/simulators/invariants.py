"""What must hold in a simulated world, checked against its ground truth and not against what the engine believes.

Some promises are about an instant (an intent before its effect, a finalizer after the last device) and are checked at
the very call; the others are checked after every step, and a few only when the world has come to rest.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from engine.domain.history import fold
from engine.domain.ids import DeviceId, MachineUid
from engine.domain.intents import IntentKind
from engine.domain.machine import MachineFilter, MachineRecord
from engine.domain.orphans import OrphanState
from engine.domain.phase import status_of
from engine.domain.states import State
from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER, MachineObject
from engine.ports.cluster import MachineEvent
from engine.ports.store import Claim, Commit, HistoryFilter, Store
from engine.providers.equinix.spec import UID_TAG_PREFIX
from engine.simulators.cluster import SimulatedCluster
from engine.simulators.metal import DeviceView, MetalSimulator
from engine.simulators.ports import Call
from engine.workflow.mirror import same

_words = msgspec.msgpack.Encoder(enc_hook=repr)
"""Writes down whatever is in a value, texts and bytes as they are."""

_TELLING = frozenset(
    {
        "store.admit",
        "store.readmit",
        "store.commit",
        "store.record_devices",
        "store.record_orphans",
        "cluster.patch_machine",
        "cluster.write_status",
        "cluster.announce",
    }
)
"""What carries words to a place where others read them."""


class BrokenPromiseError(BaseException):
    """The engine broke an invariant; the message names it. Nothing in the engine can catch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What an all-knowing observer sees."""

    store: Store
    cluster: SimulatedCluster
    cloud: MetalSimulator
    canaries: tuple[bytes, ...]
    """Secrets that must appear nowhere."""
    now: Callable[[], datetime]
    """The true time, whatever the engine's clocks say."""
    orphan_age: timedelta
    """How long a device must have been without an owner before it may be returned."""


class Invariants:
    """The promises, and what they remember between two checks."""

    def __init__(self, truth: Truth) -> None:
        self.foreign: Counter[str] = Counter()
        """How many devices of a machine were bought behind the engine's back; they may cost money beside its own."""
        self.strangers: set[str] = set()
        """Devices in our project that are none of our business, and must never be touched."""
        self.unknown: set[str] = set()
        """Machines that the database forgot: if they go meanwhile, a sweep finds their devices, and not before."""
        self._truth = truth
        self._began = truth.now()
        self._alive: dict[str, datetime] = {}
        self._owners: dict[str, str] = {}
        self._versions: dict[MachineUid, int] = {}
        self._acknowledged: dict[MachineUid, int] = {}
        self._holders: dict[DeviceId, set[MachineUid]] = {}
        """The machines in whose records a device ever stood."""
        self._doomed: set[str] = set()

    def continued(self, truth: Truth) -> "Invariants":
        """Answer the promises for a world whose store was exchanged: what is true outside of it stays known."""
        heir = Invariants(truth)
        heir.foreign, heir.strangers = self.foreign, self.strangers
        heir._owners, heir._doomed, heir._holders = self._owners, self._doomed, self._holders
        heir.unknown = self.unknown | set(self._billing())
        return heir

    def owners(self) -> list[str]:
        """Answer for whom there are devices, once for each device; all of them cost money at rest."""
        shown = [each for each in self._truth.cloud.devices() if each.id not in self.strangers]
        return sorted(self._owner(each) if each.ended_at is None else "" for each in shown)

    def untraceable(self) -> set[str]:
        """Answer the Machines of which a device has lost its tag: nothing at the cloud says any more whose it is."""
        return {self._owner(each) for each in self._truth.cloud.billing() if not owner_of(each)}

    def process_began(self) -> None:
        """Take note of a new life of the process: what it has not watched itself, it may not return as an orphan."""
        self._began = self._truth.now()

    def store_reopened(self, store: Store) -> None:
        """Take note of the store after a crash: it must hold whatever it acknowledged before."""
        self._truth = replace(self._truth, store=store)

    def before(self, call: Call) -> None:
        """Check what must hold at the instant of a call."""
        if call.name in _TELLING:
            self._no_secret_is_told(call)
        match call.name:
            case "cloud.order":
                self._order_is_intended(call.arguments[0].uid)
            case "cloud.release":
                self._release_is_right(call.arguments[0])
            case "cluster.drop_finalizer":
                self._nothing_is_left(call.arguments[0])
            case "cluster.write_status":
                self._status_is_committed(*call.arguments)
            case _:
                pass

    def after(self, call: Call, outcome: str) -> None:
        """Take note of what the store did, whether or not anybody was told."""
        if outcome.startswith("done") and call.name in {"store.admit", "store.commit"}:
            record: MachineRecord = call.named["record"] if "record" in call.named else call.named["commit"].record
            self._acknowledged[record.uid] = max(record.version, self._acknowledged.get(record.uid, 0))
            if record.device_id:
                self._holders.setdefault(record.device_id, set()).add(record.uid)

    def after_step(self) -> None:
        """Check what must hold at every instant."""
        machines = self._truth.cluster.user.machines()
        self._doomed |= {each.uid for each in machines if each.deletion_requested_at}
        self._alive |= dict.fromkeys((each.uid for each in machines), self._truth.now())
        orphans = {each.device_id for each in self._truth.store.orphans()}
        records = {record.uid: record for record in self._truth.store.find(MachineFilter())}
        self._nothing_is_forgotten(records)
        for record in records.values():
            self._history_explains(record)
        living = {each.uid for each in machines}
        for uid, devices in self._billing().items():
            # While lists show each device within the visibility window, not even an order in doubt costs a second.
            if len(devices) > 1 + self.foreign[uid]:
                raise BrokenPromiseError(f"I1: {len(devices)} devices of machine {uid} cost money at once")
            known = records.get(MachineUid(uid))
            wanted = uid in living
            listed = uid in self.unknown or all(each.id in orphans for each in devices)
            if not listed and (known.finished if known else not wanted):
                raise BrokenPromiseError(f"I2: device {devices[0].id} costs money and nobody knows it")

    def at_rest(self) -> None:
        """Check what must hold when nothing is under way any more."""
        self.after_step()
        for uid, devices in self._billing().items():
            if len(devices) > 1:
                raise BrokenPromiseError(f"I1: {len(devices)} devices of machine {uid} cost money at rest")
        if not self.mirrored():
            raise BrokenPromiseError("I7: a status is not that of the last commit")
        for record in self._truth.store.find(MachineFilter()):
            open_intents = [each for each in self._truth.store.intents(record.uid) if each.unresolved]
            if record.finished and any(each.kind is IntentKind.ORDER for each in open_intents):
                raise BrokenPromiseError(f"I2: machine {record.uid} ended with an order in doubt")
        bare = [each.name for each in self._truth.cluster.user.machines() if MACHINE_FINALIZER not in each.finalizers]
        if bare:
            raise BrokenPromiseError(f"I4: machine {bare[0]} is not held by its finalizer")
        held = [each for each in self._truth.store.reservations() if each.freed_at is None]
        for each in held:
            owner = self._truth.store.get(each.uid)
            if owner is None or owner.finished:
                raise BrokenPromiseError(f"reservation {each.reservation_id} is held by a machine that is gone")

    def mirrored(self) -> bool:
        """Answer whether every status says what was committed last."""
        target = self._truth.cluster.has_target
        for machine in self._truth.cluster.user.machines():
            record = self._truth.store.get(machine.uid)
            wanted = status_of(record, target=target) if record else None
            if wanted and not same(machine.status, wanted):
                return False
        return True

    def doomed(self, uid: str) -> bool:
        """Answer whether somebody truly asked for this Machine's deletion."""
        now = self._truth.cluster.user.machines()
        return uid in self._doomed or any(each.uid == uid and each.deletion_requested_at for each in now)

    def _order_is_intended(self, uid: MachineUid) -> None:
        intents = [each for each in self._truth.store.intents(uid) if each.kind is IntentKind.ORDER]
        unresolved = [each for each in intents if each.unresolved]
        if len(unresolved) != 1:
            raise BrokenPromiseError(f"I1: machine {uid} orders with {len(unresolved)} open intents")

    def _release_is_right(self, device_id: DeviceId) -> None:
        owner = self._owner_by_id(device_id)
        asking = self._asking(device_id, owner)
        if not asking and self._is_orphan(device_id):
            return
        if len(asking) != 1:
            raise BrokenPromiseError(f"I3: device {device_id} is released with {len(asking)} open intents")
        record = asking[0]
        if device_id in self.strangers:
            raise BrokenPromiseError(f"I3: device {device_id} of somebody else is released for machine {record.uid}")
        if owner not in {"", record.uid}:
            raise BrokenPromiseError(f"I3: device {device_id} of machine {owner} is released for machine {record.uid}")
        spare = bool(owner) and record.device_id not in {None, device_id}
        if not self.doomed(record.uid) and not spare:
            raise BrokenPromiseError(f"I3: device {device_id} of {record.name} is released and nobody asked for it")

    def _asking(self, device_id: DeviceId, owner: str) -> list[MachineRecord]:
        """Answer the machines with an open intent to return this device; only those that could have one are read."""
        store = self._truth.store
        if owner:
            possible = self._holders.get(device_id, set()) | {MachineUid(owner)}
            records = [record for uid in sorted(possible) if (record := store.get(uid)) and not record.finished]
        else:
            records = list(store.find(MachineFilter(unfinished_only=True)))
        return [
            record
            for record in records
            for each in store.intents(record.uid)
            if each.kind is IntentKind.RELEASE and each.unresolved and each.device_id == device_id
        ]

    def _is_orphan(self, device_id: DeviceId) -> bool:
        """Answer whether the return of an orphan is intended; raise when the rule for orphans does not allow it."""
        orphan = next((each for each in self._truth.store.orphans() if each.device_id == device_id), None)
        if orphan is None or orphan.state is not OrphanState.RELEASING or orphan.intended_at is None:
            return False
        now, record = self._truth.now(), self._truth.store.get(orphan.uid)
        owner = self._owner_by_id(device_id)
        broken = {
            "is somebody else's": device_id in self.strangers or owner != orphan.uid,
            "has a Machine": any(each.uid == orphan.uid for each in self._truth.cluster.user.machines()),
            "has a record that needs it": record is not None and not (record.finished or record.state is State.FAILED),
            "lost its Machine a moment ago": now - self._alive.get(owner, self._began) < self._truth.orphan_age,
            "was not watched for long by this process": now - self._began < self._truth.orphan_age,
        }
        for why in (why for why, true in broken.items() if true):
            raise BrokenPromiseError(f"I3: device {device_id} is returned as an orphan and {why}")
        return True

    def _nothing_is_left(self, machine: MachineObject) -> None:
        for each in self._truth.cloud.devices():
            if self._owner(each) == machine.uid and self._ours(machine):
                raise BrokenPromiseError(f"I4: the finalizer of {machine.name} goes, device {each.id} is {each.state}")

    def _ours(self, machine: MachineObject) -> bool:
        return MACHINE_FINALIZER in machine.finalizers

    def _status_is_committed(self, machine: MachineObject, status: object) -> None:
        record = self._truth.store.get(machine.uid)
        wanted = status_of(record, target=self._truth.cluster.has_target) if record else None
        if wanted != status:
            raise BrokenPromiseError(f"I7: the status of {machine.name} would say what is not committed: {status}")

    def _nothing_is_forgotten(self, records: Mapping[MachineUid, MachineRecord]) -> None:
        parked = {each.uid for each in self._truth.store.parked()}
        for uid, told in self._acknowledged.items():
            if uid in parked:
                continue
            held = records[uid].version if uid in records else 0
            if held < told:
                raise BrokenPromiseError(f"I5: version {told} of machine {uid} was committed, the store holds {held}")

    def _history_explains(self, record: MachineRecord) -> None:
        known = self._versions.get(record.uid)
        if known == record.version:
            return
        if known is not None and record.version < known:
            raise BrokenPromiseError(f"I5: machine {record.uid} went back from version {known} to {record.version}")
        entries = self._truth.store.history(HistoryFilter(uid=record.uid, limit=100_000))
        if len(entries) != record.version or fold(entries) != record.place:
            raise BrokenPromiseError(f"I5: the history of machine {record.uid} does not lead to {record.place}")
        if record.finished and entries[-1].trigger != Trigger.FINALIZED:
            raise BrokenPromiseError(f"I5: machine {record.uid} ended by {entries[-1].trigger}")
        self._versions[record.uid] = record.version

    def _no_secret_is_told(self, call: Call) -> None:
        """Whatever leaves the engine for others to read: the database, statuses, metadata and Events."""
        told = _words.encode([_readable(each) for each in (*call.arguments, *call.named.values())])
        for canary in self._truth.canaries:
            if canary in told:
                raise BrokenPromiseError(f"I8: a secret stands in {call.name}")

    def _billing(self) -> dict[str, Sequence[DeviceView]]:
        owned: dict[str, list[DeviceView]] = {}
        for each in self._truth.cloud.billing():
            uid = self._owner(each)
            if uid:
                owned.setdefault(uid, []).append(each)
        return dict(owned)

    def _owner_by_id(self, device_id: DeviceId) -> str:
        device = self._truth.cloud.device(device_id)
        return self._owner(device) if device else ""

    def _owner(self, device: DeviceView) -> str:
        """Answer for whom a device was bought, although somebody may have taken its tags off since."""
        known = self._owners.get(device.id)
        return known or self._owners.setdefault(device.id, owner_of(device))


def _readable(told: object) -> object:
    """Answer what others can read of an argument: of a commit what it adds, of anything else the whole."""
    if isinstance(told, Commit):
        return (told.entries, told.opened, told.resolved, told.record.problem)
    if isinstance(told, MachineEvent):
        return (told.reason, told.message, told.key)
    return None if isinstance(told, (Claim, MachineObject)) else told


def owner_of(device: DeviceView) -> str:
    """Answer the uid that a device's tag names, empty when it has none."""
    tags = [tag.removeprefix(UID_TAG_PREFIX) for tag in device.tags if tag.startswith(UID_TAG_PREFIX)]
    return tags[0] if tags else ""
