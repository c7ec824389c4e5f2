"""The store port over SQLAlchemy Core, on SQLite and on Postgres; statements, mapping, transactions live beside it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.domain.intents import Intent
from engine.domain.machine import HistoryEntry, MachineFilter, MachineRecord
from engine.domain.orphans import Orphan
from engine.errors import LostClaimError
from engine.ports.store import Claim, Commit, HistoryFilter, Lease, ObservedDevice, Parked, ReservationHold
from engine.store import mapping, statements
from engine.store.gate import Gate

PRUNE_BATCH: Final = 50  # some thousand rows: the writer is busy for a few milliseconds, not longer


class SqlStore:
    """The database of record; the contract is `engine.ports.store.Store`.

    A connection to Postgres that is lost during COMMIT leaves open whether the change was made. Every method may be
    repeated then: a commit that was made answers LostClaimError, because the version has moved on.
    """

    def __init__(self, gate: Gate) -> None:
        """Take the gate over: it is closed with the store."""
        self._gate = gate
        self._upserts = statements.Upserts(gate.dialect)

    def admit(self, *, record: MachineRecord, entry: HistoryEntry) -> bool:
        """Insert a machine with its first entry; answer False when the uid is known."""
        _check_first(record, entry)
        row, first = mapping.machine_row(record), mapping.entry_row(entry)

        def work(connection: Connection) -> bool:
            if connection.execute(self._upserts.admit, row).one_or_none() is None:
                return False
            connection.execute(statements.ADD_ENTRY, first)
            return True

        return self._gate.write(work)

    def readmit(self, *, record: MachineRecord, entry: HistoryEntry) -> bool:
        """Let a finished machine live on; answer False unless it is finished and one version older."""
        _check_next(record, entry)
        values = {**mapping.machine_row(record), "which": record.uid, "known": record.version - 1}
        line = mapping.entry_row(entry)

        def work(connection: Connection) -> bool:
            if connection.execute(statements.READMIT, values).rowcount == 0:
                return False
            connection.execute(statements.ADD_ENTRY, line)
            return True

        return self._gate.write(work)

    def claim(self, *, uid: MachineUid, worker: str, now: datetime, span: timedelta) -> Claim | None:
        """Take the machine for `span`, unless somebody holds it."""
        values = {"which": uid, "worker": worker, "now": now, "until": now + span}
        row = self._gate.write(lambda connection: connection.execute(statements.CLAIM, values).one_or_none())
        if row is None:
            return None
        return Claim(record=mapping.machine(row), worker=worker, fence=row.fence, expires_at=now + span)

    def due(self, *, now: datetime, limit: int) -> Sequence[MachineUid]:
        """Answer what waits, the longest due first."""
        values = {"now": now, "most": limit}
        rows = self._gate.read(lambda connection: connection.execute(statements.DUE, values).scalars().all())
        return [MachineUid(uid) for uid in rows]

    def commit(self, *, claim: Claim, commit: Commit, span: timedelta, now: datetime) -> Claim:
        """Write one change of one machine, or nothing."""
        _check_versions(claim, commit)
        uid, until = claim.record.uid, now + span
        held = {"claimed_by": claim.worker, "claimed_until": until}
        values = {
            **mapping.machine_row(commit.record),
            **(dict.fromkeys(held) if commit.release else held),
            "which": uid,
            "held": claim.fence,
            "known": claim.record.version,
        }
        entries = [mapping.entry_row(entry) for entry in commit.entries]
        opened = [mapping.intent_row(intent) for intent in commit.opened]
        resolved = [mapping.resolution_row(uid, resolution) for resolution in commit.resolved]

        def work(connection: Connection) -> None:
            if connection.execute(statements.COMMIT, values).rowcount == 0:
                raise LostClaimError(
                    f"machine {uid}: claim {claim.fence} of {claim.worker} was lost; nothing is written"
                )
            _run(connection, statements.ADD_ENTRY, entries)
            _run(connection, statements.ADD_INTENT, opened)
            _run(connection, statements.RESOLVE, resolved)

        self._gate.write(work)
        return replace(claim, record=commit.record, expires_at=claim.expires_at if commit.release else until)

    def release(self, *, claim: Claim, due_at: datetime | None) -> None:
        """Give the claim back and set when the machine is due."""
        values = {"which": claim.record.uid, "held": claim.fence, "due": due_at}
        self._gate.write(lambda connection: _run(connection, statements.RELEASE, values))

    def reap(self, *, now: datetime) -> Sequence[MachineUid]:
        """Make machines due whose claim is over; answer them."""
        values = {"now": now, "due": now}
        rows = self._gate.write(lambda connection: connection.execute(statements.REAP, values).scalars().all())
        return [MachineUid(uid) for uid in sorted(rows)]

    def get(self, uid: MachineUid) -> MachineRecord | None:
        """Answer the committed record."""
        values = {"which": uid}
        row = self._gate.read(lambda connection: connection.execute(statements.GET, values).one_or_none())
        return None if row is None else mapping.machine(row)

    def find(self, wanted: MachineFilter) -> Sequence[MachineRecord]:
        """Answer the records that match and that this program can read."""
        return list(mapping.readable(self._rows(statements.find(wanted))))

    def parked(self) -> Sequence[Parked]:
        """Answer the machines whose records only a newer program can read."""
        return [mapping.parked(row) for row in self._rows(statements.PARKED)]

    def history(self, wanted: HistoryFilter) -> Sequence[HistoryEntry]:
        """Answer the newest matching entries, oldest first."""
        entries = [mapping.entry(row) for row in self._rows(statements.history(wanted))]
        return _in_order(entries[::-1])

    def intents(self, uid: MachineUid) -> Sequence[Intent]:
        """Answer every intent of this machine, oldest first."""
        return [mapping.intent(row) for row in self._rows(statements.INTENTS, {"which": uid})]

    def hold_reservation(
        self, *, uid: MachineUid, wanted: Sequence[str], now: datetime, cooldown: timedelta
    ) -> str | None:
        """Take the first of the wanted reservations that is free, or answer the one that is held already."""

        def work(connection: Connection) -> str | None:
            rows = connection.execute(statements.WANTED_RESERVATIONS, {"wanted": list(wanted)})
            known = {row.reservation_id: mapping.reservation(row) for row in rows}
            mine = [name for name in wanted if name in known and _holds(known[name], uid)]
            if mine:
                return mine[0]
            free = (name for name in wanted if name not in known or known[name].freed_at is not None)
            taken = (self._hold(connection, uid, name, now=now, cooled=now - cooldown) for name in free)
            return next((name for name in taken if name is not None), None)

        return self._gate.write(work)

    def free_reservation(self, *, uid: MachineUid, reservation_id: str, now: datetime) -> None:
        """Give the reservation back, if this machine holds it."""
        values = {"which": reservation_id, "who": uid, "now": now}
        self._gate.write(lambda connection: _run(connection, statements.FREE_RESERVATION, values))

    def reservations(self) -> Sequence[ReservationHold]:
        """Answer the ledger."""
        return [mapping.reservation(row) for row in self._rows(statements.RESERVATIONS)]

    def record_devices(
        self, *, account: AccountKey, seen: Sequence[ObservedDevice], gone: Sequence[DeviceId], at: datetime
    ) -> None:
        """Insert or update what was seen; mark the others as gone."""
        rows = [mapping.device_row(account, observed) for observed in seen]
        marks = [{"whose": account, "which": device_id, "now": at} for device_id in gone]

        def work(connection: Connection) -> None:
            _run(connection, self._upserts.see, rows)
            _run(connection, statements.MARK_GONE, marks)

        self._gate.write(work)

    def devices(self, *, account: AccountKey | None = None) -> Sequence[ObservedDevice]:
        """Answer every device that was ever seen, by first sight."""
        return [mapping.device(row) for row in self._rows(statements.seen_devices(account))]

    def record_orphans(self, *, seen: Sequence[Orphan], forgotten: Sequence[DeviceId] = ()) -> None:
        """Insert or replace these rows, and drop those."""
        rows = [mapping.orphan_row(orphan) for orphan in seen]
        marks = [{"which": device_id} for device_id in forgotten]

        def work(connection: Connection) -> None:
            _run(connection, self._upserts.orphan, rows)
            _run(connection, statements.FORGET_ORPHAN, marks)

        self._gate.write(work)

    def orphans(self) -> Sequence[Orphan]:
        """Answer every orphan that was not forgotten, by first sight."""
        return [mapping.orphan(row) for row in self._rows(statements.ORPHANS)]

    def acquire_lease(self, *, name: str, holder: str, now: datetime, span: timedelta) -> Lease | None:
        """Take or renew a lease, unless somebody else holds it."""
        values = {"name": name, "holder": holder, "epoch": 1, "expires_at": now + span, "now": now}
        row = self._gate.write(lambda connection: connection.execute(self._upserts.lease, values).one_or_none())
        return None if row is None else mapping.lease(row)

    def release_lease(self, *, name: str, holder: str) -> None:
        """End the lease, if this holder has it."""
        values = {"which": name, "who": holder}
        self._gate.write(lambda connection: _run(connection, statements.RELEASE_LEASE, values))

    def prune(self, *, before: datetime, limit: int) -> int:
        """Forget finished machines that ended before, in small transactions."""
        forgotten = 0
        while forgotten < limit:
            batch = min(PRUNE_BATCH, limit - forgotten)
            count = self._forget(before, batch)
            forgotten += count
            if count < batch:
                break
        return forgotten

    def close(self) -> None:
        """Finish what is being written and close every connection."""
        self._gate.close()

    def _rows(self, statement: Any, values: dict[str, Any] | None = None) -> Sequence[Any]:
        return self._gate.read(lambda connection: connection.execute(statement, values).all())

    def _hold(
        self, connection: Connection, uid: MachineUid, name: str, *, now: datetime, cooled: datetime
    ) -> str | None:
        values = {"reservation_id": name, "uid": uid, "held_at": now, "freed_at": None, "cooled": cooled}
        taken: str | None = connection.execute(self._upserts.hold, values).scalar_one_or_none()
        return taken

    def _forget(self, before: datetime, most: int) -> int:
        def work(connection: Connection) -> int:
            uids = connection.execute(statements.ENDED, {"before": before, "most": most}).scalars().all()
            for statement in statements.FORGET if uids else ():
                connection.execute(statement, {"uids": uids})
            return len(uids)

        return self._gate.write(work)


def _run(connection: Connection, statement: Any, values: Any) -> None:
    if values:
        connection.execute(statement, values)


def _holds(hold: ReservationHold, uid: MachineUid) -> bool:
    return hold.uid == uid and hold.freed_at is None


def _in_order(entries: list[HistoryEntry]) -> list[HistoryEntry]:
    # Two replicas' clocks may differ: a machine's entries keep the places they have together, in the order of versions.
    versions: dict[MachineUid, list[HistoryEntry]] = {}
    for entry in entries:
        versions.setdefault(entry.uid, []).append(entry)
    ordered = {uid: iter(sorted(those, key=lambda entry: entry.version)) for uid, those in versions.items()}
    return [next(ordered[entry.uid]) for entry in entries]


def _check_first(record: MachineRecord, entry: HistoryEntry) -> None:
    if (record.uid, record.version, entry.version) != (entry.uid, 1, 1):
        raise ValueError(f"machine {record.uid}: an admission is version 1 with one entry of the same machine")


def _check_next(record: MachineRecord, entry: HistoryEntry) -> None:
    if (record.uid, record.version) != (entry.uid, entry.version) or record.finished:
        raise ValueError(f"machine {record.uid}: a life goes on with one entry of the same machine and version")


def _check_versions(claim: Claim, commit: Commit) -> None:
    uid, known = claim.record.uid, claim.record.version
    versions = [entry.version for entry in commit.entries]
    if versions != list(range(known + 1, commit.record.version + 1)):
        raise ValueError(f"machine {uid}: version {known} to {commit.record.version} does not fit entries {versions}")
    named = {entry.uid for entry in commit.entries} | {intent.uid for intent in commit.opened}
    if named | {commit.record.uid} != {uid}:
        raise ValueError(f"machine {uid}: the commit names another machine")
