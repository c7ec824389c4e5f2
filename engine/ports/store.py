"""The store: the truth about the workflow. Every implementation passes the contract suite in `tests/contract`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from engine.domain.device import Device
from engine.domain.ids import AccountKey, DeviceId, IntentId, MachineUid
from engine.domain.intents import Intent, IntentResult
from engine.domain.machine import HistoryEntry, MachineFilter, MachineRecord
from engine.domain.orphans import Orphan
from engine.domain.outcome import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on one machine, until it expires; `fence` grows with every claim of the machine."""

    record: MachineRecord
    worker: str
    fence: int
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What became of an intent."""

    intent_id: IntentId
    result: IntentResult
    at: datetime
    device_id: DeviceId | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One atomic change of one machine.

    `record.version` must be the claimed record's version plus the number of entries, and the entries carry exactly the
    versions between. `release` gives the claim back in the same transaction.
    """

    record: MachineRecord
    entries: Sequence[HistoryEntry] = ()
    opened: Sequence[Intent] = ()
    resolved: Sequence[Resolution] = ()
    release: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A machine whose record a newer program wrote: this one cannot tell what it needs, and leaves it alone."""

    uid: MachineUid
    namespace: str
    name: str
    class_name: str
    where: str
    """State and step in the newer program's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationHold:
    """Who uses, or last used, a hardware reservation."""

    reservation_id: str
    uid: MachineUid
    held_at: datetime
    freed_at: datetime | None = None
    """When it was given back; it cools down after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedDevice:
    """What was seen of a device, when first and when last."""

    account: AccountKey
    device: Device
    uid: MachineUid | None
    """The Machine that its tag names, if any."""
    first_seen_at: datetime
    last_seen_at: datetime
    gone_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who leads; `epoch` grows with every change of the holder."""

    name: str
    holder: str
    epoch: int
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """Which entries to read, newest last; empty fields do not filter."""

    uid: MachineUid | None = None
    since: datetime | None = None
    until: datetime | None = None
    triggers: frozenset[str] = field(default_factory=frozenset)
    limit: int = 1000


class Store(Protocol):
    """The database of record.

    Every method is atomic, durable when it returns, and safe to call from many threads. Instants come from the caller;
    the store never reads a clock. Every method raises StoreUnavailableError when the database does not answer or cannot
    write now (disk full, locked, connection lost): nothing was changed then.
    """

    def admit(self, *, record: MachineRecord, entry: HistoryEntry) -> bool:
        """Insert a machine with its first entry (version 1).

        Safe to repeat: answers False, and changes nothing, when the uid is already known.
        """
        ...

    def readmit(self, *, record: MachineRecord, entry: HistoryEntry) -> bool:
        """Let a finished machine live on, with its next entry; history and intents go on where they ended.

        Safe to repeat: answers False, and changes nothing, unless the machine is finished and one version older.
        """
        ...

    def claim(self, *, uid: MachineUid, worker: str, now: datetime, span: timedelta) -> Claim | None:
        """Take the machine for `span`. None when it is unknown, parked, finished, or claimed until after `now`.

        A claim whose time is over can be taken by anybody, also by the same worker.
        """
        ...

    def due(self, *, now: datetime, limit: int) -> Sequence[MachineUid]:
        """Answer unfinished machines that nobody holds and whose `due_at` is not after `now`, the longest due first.

        Parked ones are never due.
        """
        ...

    def commit(self, *, claim: Claim, commit: Commit, span: timedelta, now: datetime) -> Claim:
        """Write the change and answer the claim with the new record, extended to `now + span` unless released.

        Raises LostClaimError, and writes nothing, when the fence is not the machine's latest or the stored version is
        not the claimed one. Intents that are opened must be new; resolving an intent that has a result changes nothing.
        """
        ...

    def release(self, *, claim: Claim, due_at: datetime | None) -> None:
        """Give the claim back and set when the machine is due; nothing else changes. A lost claim is no error here."""
        ...

    def reap(self, *, now: datetime) -> Sequence[MachineUid]:
        """Make machines due whose claim expired before `now`; answer them."""
        ...

    def get(self, uid: MachineUid) -> MachineRecord | None:
        """Answer the committed record. Raises NewerRecordError when only a newer program can read it."""
        ...

    def find(self, wanted: MachineFilter) -> Sequence[MachineRecord]:
        """Answer the records that match, by namespace, name and admission; newest life last.

        Those that only a newer program can read are not among them.
        """
        ...

    def parked(self) -> Sequence[Parked]:
        """Answer the machines whose records only a newer program can read, by namespace and name."""
        ...

    def history(self, wanted: HistoryFilter) -> Sequence[HistoryEntry]:
        """Answer the newest `limit` matching entries, oldest first; per machine they are in the order of versions."""
        ...

    def intents(self, uid: MachineUid) -> Sequence[Intent]:
        """Answer every intent of this machine, oldest first."""
        ...

    def hold_reservation(
        self, *, uid: MachineUid, wanted: Sequence[str], now: datetime, cooldown: timedelta
    ) -> str | None:
        """Take the first of the wanted reservations that nobody holds and that has cooled down; answer it.

        Safe to repeat: a wanted reservation that this machine holds already is answered again. None when all are taken.
        """
        ...

    def free_reservation(self, *, uid: MachineUid, reservation_id: str, now: datetime) -> None:
        """Give the reservation back, if this machine holds it; it cools down from `now`. Safe to repeat."""
        ...

    def reservations(self) -> Sequence[ReservationHold]:
        """Answer the ledger."""
        ...

    def record_devices(
        self, *, account: AccountKey, seen: Sequence[ObservedDevice], gone: Sequence[DeviceId], at: datetime
    ) -> None:
        """Insert or update what was seen, keeping the first `first_seen_at`; mark the others as gone at `at`."""
        ...

    def devices(self, *, account: AccountKey | None = None) -> Sequence[ObservedDevice]:
        """Answer every device that was ever seen, by first sight."""
        ...

    def record_orphans(self, *, seen: Sequence[Orphan], forgotten: Sequence[DeviceId] = ()) -> None:
        """Insert these orphans, or put them in the place of what was known of the device; drop the forgotten ones.

        Safe to repeat; a device that is in neither stays as it is.
        """
        ...

    def orphans(self) -> Sequence[Orphan]:
        """Answer every orphan that was not forgotten, by first sight and device."""
        ...

    def acquire_lease(self, *, name: str, holder: str, now: datetime, span: timedelta) -> Lease | None:
        """Take or renew a lease. None when somebody else holds it until after `now`.

        The epoch grows when the holder changes, and when an expired lease is taken again.
        """
        ...

    def release_lease(self, *, name: str, holder: str) -> None:
        """End the lease if this holder has it; somebody else can take it at once."""
        ...

    def prune(self, *, before: datetime, limit: int) -> int:
        """Forget at most `limit` finished machines, with history and intents, that ended before; answer how many."""
        ...

    def close(self) -> None:
        """Finish what is being written and close every connection."""
        ...
