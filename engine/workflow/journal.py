"""Intent before effect, result before use: the only place where the engine touches a cloud or commits a decision."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from engine.clock import Clock
from engine.domain.ids import DeviceId
from engine.domain.intents import Intent, IntentKind, IntentResult, order_id, release_id
from engine.domain.lifecycle import move
from engine.domain.machine import HistoryEntry, MachineRecord
from engine.domain.phase import phase_of
from engine.domain.triggers import Trigger
from engine.ports.provider import (
    Cloud,
    DeviceBusyError,
    DeviceOrder,
    OutcomeUnknownError,
    OutOfCapacityError,
    ProviderRefusal,
)
from engine.ports.store import Claim, Commit, Resolution, Store
from engine.workflow.binding import Binding
from engine.workflow.step import (
    Accepted,
    Advance,
    CloudEffect,
    Effected,
    ExamineDevice,
    Held,
    HoldReservation,
    Order,
    Outcome,
    ReleaseDevice,
    Remember,
)

_NOTHING_IS_LEFT = frozenset({Trigger.DEVICE_GONE, Trigger.FINALIZED})
_SERVICE_BEGINS = frozenset({Trigger.NODE_JOINED, Trigger.DEVICE_READIED, Trigger.RECOVERED})


@dataclass(slots=True)
class Journal:
    """Writes one claimed machine; holds the newest claim and the entries that this run committed."""

    store: Store
    clock: Clock
    span: timedelta
    cooldown: timedelta
    claim: Claim
    entries: list[HistoryEntry]

    @property
    def record(self) -> MachineRecord:
        """The committed record."""
        return self.claim.record

    def advance(self, step: Advance) -> None:
        """Commit a fact, with its line of history; give reservations back before the device is called gone."""
        if step.trigger in _NOTHING_IS_LEFT:
            self._free_reservations()
        now = self.clock.now()
        record = moved(self.record, step, now)
        entry = entry_of(self.record, step, record)
        self._commit(Commit(record=record, entries=(entry,), resolved=step.resolved), now)
        self.entries.append(entry)

    def remember(self, step: Remember) -> None:
        """Commit changes that are no news."""
        now = self.clock.now()
        self._commit(Commit(record=replace(self.record, **step.changes), resolved=step.resolved), now)

    def perform(self, effect: CloudEffect, binding: Binding) -> Effected:
        """Write the intent, act, and answer what came back; the result is not committed yet."""
        cloud = binding.cloud if isinstance(effect, Order) else binding.returning
        if isinstance(effect, HoldReservation):
            return Effected(effect=effect, outcome=self._hold(effect))
        if cloud is None:
            raise AssertionError(f"machine {self.record.uid}: a step acts on a cloud that it was not given")
        match effect:
            case Order():
                intent = self._intend_order(effect, cloud.summary)
                order = DeviceOrder(
                    uid=self.record.uid,
                    hostname=self.record.name,
                    userdata=effect.userdata,
                    reservation_id=effect.reservation_id,
                )
                return self._tried(effect, lambda: cloud.order(order), intent)
            case ReleaseDevice(device_id=device_id):
                intent = self._intend_release(device_id)
                return self._tried(effect, lambda: _accept(cloud, device_id), intent)
            case ExamineDevice(device_id=device_id):
                return self._tried(effect, lambda: cloud.device(device_id), None)

    def finish(self, due_at: datetime | None) -> None:
        """Give the claim back and say when the machine is due again."""
        self.store.release(claim=self.claim, due_at=due_at)

    def _tried(self, effect: CloudEffect, act: Callable[[], Outcome], intent: Intent | None) -> Effected:
        try:
            outcome = act()
        except ProviderRefusal as refusal:
            outcome = refusal
        if isinstance(effect, Order) and effect.reservation_id and isinstance(outcome, ProviderRefusal):
            self._give_up(effect.reservation_id, outcome)
        return Effected(effect=effect, outcome=outcome, intent=intent)

    def _give_up(self, reservation_id: str, refusal: ProviderRefusal) -> None:
        """A reservation that refused cools down; one that never was the reason is free at once; in doubt it is kept."""
        if isinstance(refusal, OutcomeUnknownError):
            return
        unfit = isinstance(refusal, OutOfCapacityError | DeviceBusyError)
        freed_at = self.clock.now() - (timedelta(0) if unfit else self.cooldown)
        self.store.free_reservation(uid=self.record.uid, reservation_id=reservation_id, now=freed_at)

    def _hold(self, effect: HoldReservation) -> Held:
        taken = self.store.hold_reservation(
            uid=self.record.uid, wanted=effect.wanted, now=self.clock.now(), cooldown=self.cooldown
        )
        return Held(reservation_id=taken)

    def _intend_order(self, order: Order, summary: Mapping[str, str]) -> Intent:
        number = self.record.orders + 1
        intent = Intent(
            intent_id=order_id(self.record.uid, number),
            uid=self.record.uid,
            kind=IntentKind.ORDER,
            written_at=self.clock.now(),
            reservation_id=order.reservation_id,
            details=summary,
        )
        return self._intend(intent, {"orders": number})

    def _intend_release(self, device_id: DeviceId) -> Intent:
        told = [each for each in self.store.intents(self.record.uid) if each.device_id == device_id]
        number = 1 + sum(each.kind is IntentKind.RELEASE for each in told)
        intent = Intent(
            intent_id=release_id(self.record.uid, device_id, number),
            uid=self.record.uid,
            kind=IntentKind.RELEASE,
            written_at=self.clock.now(),
            device_id=device_id,
        )
        cut_short = [
            Resolution(intent_id=each.intent_id, result=IntentResult.REPEATED, at=intent.written_at)
            for each in told
            if each.kind is IntentKind.RELEASE and each.unresolved
        ]
        return self._intend(intent, {}, cut_short)

    def _intend(self, intent: Intent, changes: Mapping[str, Any], resolved: Sequence[Resolution] = ()) -> Intent:
        record = replace(self.record, **changes)
        self._commit(Commit(record=record, opened=(intent,), resolved=resolved), intent.written_at)
        return intent

    def _free_reservations(self) -> None:
        """The ledger is asked and not the intents: a crash may come between the hold and the intent."""
        uid, now = self.record.uid, self.clock.now()
        for hold in self.store.reservations():
            if hold.uid == uid and hold.freed_at is None:
                self.store.free_reservation(uid=uid, reservation_id=hold.reservation_id, now=now)

    def _commit(self, commit: Commit, now: datetime) -> None:
        self.claim = self.store.commit(claim=self.claim, commit=commit, span=self.span, now=now)


def moved(record: MachineRecord, step: Advance, now: datetime) -> MachineRecord:
    """Answer the record after this fact; a new place starts without a problem and without failed attempts.

    Raises IllegalMoveError when the table of lives has no such move.
    """
    place = move(record.place, step.trigger)
    changes: dict[str, Any] = {"place": place, "version": record.version + 1, "operation_at": now}
    if place != record.place:
        changes |= {"problem": step.problem, "attempts": 0, "retry_at": None, "due_at": None}
    elif step.problem:
        changes["problem"] = step.problem
    if step.trigger in _SERVICE_BEGINS and record.joined_at is None:
        changes["joined_at"] = now
    after = replace(record, **(changes | dict(step.changes)))
    if phase_of(after, target=True) is not phase_of(record, target=True):
        after = replace(after, place_since=now)
    return after


def entry_of(before: MachineRecord, step: Advance, after: MachineRecord) -> HistoryEntry:
    """Answer the line of history for this fact, which led from one record to the other."""
    return HistoryEntry(
        uid=after.uid,
        version=after.version,
        at=after.operation_at,
        trigger=step.trigger,
        source=before.place,
        target=after.place,
        note=step.note,
        problem=step.problem,
        device_id=step.device_id,
        intent_id=step.resolved[0].intent_id if step.resolved else None,
    )


def _accept(cloud: Cloud, device_id: DeviceId) -> Accepted:
    cloud.release(device_id)
    return Accepted()
