"""The store port in plain dictionaries: too slow and too forgetful for use, and obviously correct."""

# ruff: noqa: D102 - what each method must do stands at the port

import threading
from collections import deque
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from engine.domain.ids import AccountKey, DeviceId, IntentId, MachineUid
from engine.domain.intents import Intent
from engine.domain.machine import HistoryEntry, MachineFilter, MachineRecord
from engine.domain.orphans import Orphan
from engine.errors import LostClaimError, StoreError
from engine.ports.store import (
    Claim,
    Commit,
    HistoryFilter,
    Lease,
    ObservedDevice,
    Parked,
    ReservationHold,
    Resolution,
)


@dataclass
class Life:
    """All that is kept of one machine."""

    record: MachineRecord
    entries: list[HistoryEntry]
    intents: list[Intent] = field(default_factory=list)
    fence: int = 0
    worker: str | None = None
    claimed_until: datetime | None = None

    def held(self, now: datetime) -> bool:
        return self.claimed_until is not None and self.claimed_until > now

    def set_due(self, at: datetime | None) -> None:
        if self.record.due_at != at:
            self.record = replace(self.record, due_at=at)
        self.worker = self.claimed_until = None


class ModelStore:
    """Every method is the contract's sentence, written in Python."""

    def __init__(self) -> None:
        self._lives: dict[MachineUid, Life] = {}
        self._intents: set[IntentId] = set()
        self._reservations: dict[str, ReservationHold] = {}
        self._devices: dict[tuple[AccountKey, DeviceId], ObservedDevice] = {}
        self._orphans: dict[DeviceId, Orphan] = {}
        self._leases: dict[str, Lease] = {}
        self._ended_leases: set[str] = set()
        self._lock = threading.RLock()

    def copy(self) -> "ModelStore":
        """Answer a store that knows what this one knows now: a backup."""
        twin = ModelStore()
        with self._lock:
            kept = {name: value for name, value in vars(self).items() if name != "_lock"}
            vars(twin).update(deepcopy(kept))
        return twin

    def admit(self, *, record: MachineRecord, entry: HistoryEntry) -> bool:
        if (record.uid, record.version, entry.version) != (entry.uid, 1, 1):
            raise ValueError(record.uid)
        with self._lock:
            if record.uid in self._lives:
                return False
            self._lives[record.uid] = Life(record, [entry])
            return True

    def readmit(self, *, record: MachineRecord, entry: HistoryEntry) -> bool:
        if (record.uid, record.version) != (entry.uid, entry.version) or record.finished:
            raise ValueError(record.uid)
        with self._lock:
            life = self._lives.get(record.uid)
            if life is None or not life.record.finished or life.record.version != record.version - 1:
                return False
            life.record = record
            life.entries.append(entry)
            return True

    def claim(self, *, uid: MachineUid, worker: str, now: datetime, span: timedelta) -> Claim | None:
        with self._lock:
            life = self._lives.get(uid)
            if life is None or life.record.finished or life.held(now):
                return None
            life.fence += 1
            life.worker, life.claimed_until = worker, now + span
            return Claim(record=life.record, worker=worker, fence=life.fence, expires_at=now + span)

    def due(self, *, now: datetime, limit: int) -> Sequence[MachineUid]:
        with self._lock:
            waiting = [
                (life.record.due_at, uid)
                for uid, life in self._lives.items()
                if life.worker is None and not life.record.finished and life.record.due_at is not None
            ]
            return [uid for at, uid in sorted(waiting) if at <= now][:limit]

    def commit(self, *, claim: Claim, commit: Commit, span: timedelta, now: datetime) -> Claim:
        self._check(claim, commit)
        with self._lock:
            life = self._lives.get(claim.record.uid)
            if life is None or (life.fence, life.record.version) != (claim.fence, claim.record.version):
                raise LostClaimError(claim.record.uid)
            new = [intent.intent_id for intent in commit.opened]
            if self._intents.intersection(new) or len(set(new)) < len(new):
                raise StoreError("known intent")
            self._intents.update(new)
            life.record = commit.record
            life.entries += commit.entries
            life.intents += commit.opened
            life.intents = [self._resolved(intent, commit.resolved) for intent in life.intents]
            expires_at = claim.expires_at if commit.release else now + span
            if commit.release:
                life.set_due(commit.record.due_at)
            else:
                life.worker, life.claimed_until = claim.worker, expires_at
            return Claim(record=commit.record, worker=claim.worker, fence=claim.fence, expires_at=expires_at)

    def release(self, *, claim: Claim, due_at: datetime | None) -> None:
        with self._lock:
            life = self._lives.get(claim.record.uid)
            if life is not None and life.fence == claim.fence:
                life.set_due(due_at)

    def reap(self, *, now: datetime) -> Sequence[MachineUid]:
        with self._lock:
            expired = sorted(
                uid
                for uid, life in self._lives.items()
                if life.worker is not None and not life.held(now) and not life.record.finished
            )
            for uid in expired:
                self._lives[uid].set_due(now)
            return expired

    def get(self, uid: MachineUid) -> MachineRecord | None:
        with self._lock:
            return self._lives[uid].record if uid in self._lives else None

    def find(self, wanted: MachineFilter) -> Sequence[MachineRecord]:
        with self._lock:
            records = [
                record
                for record in (life.record for life in self._lives.values())
                if wanted.namespace in {"", record.namespace}
                and wanted.name in {"", record.name}
                and (not wanted.states or record.state in wanted.states)
                and not (wanted.unfinished_only and record.finished)
            ]
            return sorted(records, key=lambda record: (record.namespace, record.name, record.admitted_at, record.uid))

    def parked(self) -> Sequence[Parked]:
        return []

    def history(self, wanted: HistoryFilter) -> Sequence[HistoryEntry]:
        with self._lock:
            lives = self._lives.values() if wanted.uid is None else filter(None, [self._lives.get(wanted.uid)])
            entries = [
                entry
                for life in lives
                for entry in life.entries
                if (wanted.since is None or entry.at >= wanted.since)
                and (wanted.until is None or entry.at < wanted.until)
                and (not wanted.triggers or entry.trigger in wanted.triggers)
            ]
        if wanted.uid is not None:
            return sorted(entries, key=lambda entry: entry.version)[-wanted.limit :]
        newest = sorted(entries, key=lambda entry: (entry.at, entry.uid, entry.version))[-wanted.limit :]
        # A machine's entries share the places they have, in the order of versions, even when clocks disagreed.
        in_order: dict[MachineUid, deque[HistoryEntry]] = {}
        for entry in sorted(newest, key=lambda entry: entry.version):
            in_order.setdefault(entry.uid, deque()).append(entry)
        return [in_order[entry.uid].popleft() for entry in newest]

    def intents(self, uid: MachineUid) -> Sequence[Intent]:
        with self._lock:
            return list(self._lives[uid].intents) if uid in self._lives else []

    def hold_reservation(
        self, *, uid: MachineUid, wanted: Sequence[str], now: datetime, cooldown: timedelta
    ) -> str | None:
        with self._lock:
            for name in wanted:
                hold = self._reservations.get(name)
                if hold and hold.uid == uid and hold.freed_at is None:
                    return name
            for name in wanted:
                hold = self._reservations.get(name)
                if hold is None or (hold.freed_at is not None and hold.freed_at + cooldown <= now):
                    self._reservations[name] = ReservationHold(reservation_id=name, uid=uid, held_at=now)
                    return name
            return None

    def free_reservation(self, *, uid: MachineUid, reservation_id: str, now: datetime) -> None:
        with self._lock:
            hold = self._reservations.get(reservation_id)
            if hold and hold.uid == uid and hold.freed_at is None:
                self._reservations[reservation_id] = replace(hold, freed_at=now)

    def reservations(self) -> Sequence[ReservationHold]:
        with self._lock:
            return [self._reservations[name] for name in sorted(self._reservations)]

    def record_devices(
        self, *, account: AccountKey, seen: Sequence[ObservedDevice], gone: Sequence[DeviceId], at: datetime
    ) -> None:
        with self._lock:
            for new in seen:
                old = self._devices.get((account, new.device.device_id), new)
                kept = replace(new, account=account, first_seen_at=old.first_seen_at)
                self._devices[account, new.device.device_id] = kept
            for device_id in gone:
                known = self._devices.get((account, device_id))
                if known and known.gone_at is None:
                    self._devices[account, device_id] = replace(known, gone_at=at)

    def devices(self, *, account: AccountKey | None = None) -> Sequence[ObservedDevice]:
        with self._lock:
            found = [known for known in self._devices.values() if account in {None, known.account}]
            return sorted(found, key=lambda known: (known.first_seen_at, known.account, known.device.device_id))

    def record_orphans(self, *, seen: Sequence[Orphan], forgotten: Sequence[DeviceId] = ()) -> None:
        with self._lock:
            self._orphans |= {orphan.device_id: orphan for orphan in seen}
            for device_id in forgotten:
                self._orphans.pop(device_id, None)

    def orphans(self) -> Sequence[Orphan]:
        with self._lock:
            return sorted(self._orphans.values(), key=lambda known: (known.first_seen_at, known.device_id))

    def acquire_lease(self, *, name: str, holder: str, now: datetime, span: timedelta) -> Lease | None:
        with self._lock:
            old = self._leases.get(name)
            over = old is None or name in self._ended_leases or old.expires_at <= now
            if old is not None and not over and old.holder != holder:
                return None
            epoch = (old.epoch if old else 0) + (1 if over else 0)
            self._leases[name] = Lease(name=name, holder=holder, epoch=epoch, expires_at=now + span)
            self._ended_leases.discard(name)
            return self._leases[name]

    def release_lease(self, *, name: str, holder: str) -> None:
        with self._lock:
            if name in self._leases and self._leases[name].holder == holder:
                self._ended_leases.add(name)

    def prune(self, *, before: datetime, limit: int) -> int:
        with self._lock:
            ended = sorted(
                (life.record.place_since, uid)
                for uid, life in self._lives.items()
                if life.record.finished and life.record.place_since < before
            )[:limit]
            for _, uid in ended:
                ended_life = self._lives.pop(uid)
                self._intents.difference_update(intent.intent_id for intent in ended_life.intents)
            return len(ended)

    def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _check(claim: Claim, commit: Commit) -> None:
        uid, known = claim.record.uid, claim.record.version
        if [entry.version for entry in commit.entries] != list(range(known + 1, commit.record.version + 1)):
            raise ValueError("versions")
        named = [commit.record.uid, *(e.uid for e in commit.entries), *(i.uid for i in commit.opened)]
        if any(name != uid for name in named):
            raise ValueError("another machine")

    @staticmethod
    def _resolved(intent: Intent, resolutions: Sequence[Resolution]) -> Intent:
        for resolution in resolutions:
            if resolution.intent_id == IntentId(intent.intent_id) and intent.unresolved:
                intent = replace(
                    intent,
                    result=resolution.result,
                    resolved_at=resolution.at,
                    device_id=resolution.device_id or intent.device_id,
                    problem=resolution.problem,
                )
        return intent
