"""Valid records for tests of the store; a test states only the difference."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.domain.device import Address, Device, DeviceState
from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.domain.intents import Intent, IntentKind, order_id
from engine.domain.machine import HistoryEntry, MachineRecord, NodeCondition, Release
from engine.domain.orphans import Orphan, OrphanState
from engine.domain.outcome import Code, Problem
from engine.domain.states import DELETED_REST, PENDING_VALIDATE, PROVISIONING_ORDER, Place
from engine.domain.triggers import Trigger
from engine.ports.store import Claim, Commit, ObservedDevice, Store

START = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SPAN = 60 * SECOND
ACCOUNT = AccountKey("account")


def machine(number: int = 1, **changes: Any) -> MachineRecord:
    """The record of a machine that was just admitted and is due at once."""
    plain = MachineRecord(
        uid=MachineUid(f"uid-{number}"),
        namespace="shoot",
        name=f"machine-{number}",
        place=PENDING_VALIDATE,
        version=1,
        created_at=START - SECOND,
        admitted_at=START,
        place_since=START,
        operation_at=START,
        due_at=START,
    )
    return replace(plain, **changes)


def full_machine(record: MachineRecord) -> MachineRecord:
    """The same machine with something in every field."""
    odd = START + timedelta(microseconds=7)
    return replace(
        record,
        class_name="class",
        secret_name="secret",
        provider="equinix",
        taken_over=True,
        device_id=DeviceId("device"),
        provider_id="equinixmetal://am/device",
        node_name="node",
        joined_at=odd,
        problem=Problem(code=Code.RESOURCE_EXHAUSTED, message="no capacity: “müde” \U0001f40c"),
        attempts=3,
        retry_at=odd + SECOND,
        inputs="fingerprint",
        orders=2,
        reservations_tried=("r-1", "r-2"),
        releases=(Release(device_id=DeviceId("old"), accepted_at=odd, gone_at=None),),
        addresses=(Address(kind="InternalIP", address="10.0.0.1"),),
        conditions=(NodeCondition(type="Ready", status="True", reason="r", message='"m"', last_transition_at=odd),),
        due_at=odd + SPAN,
        retry_mark="mark",
    )


def entry(record: MachineRecord, **changes: Any) -> HistoryEntry:
    """The entry that made this version of the record."""
    plain = HistoryEntry(
        uid=record.uid,
        version=record.version,
        at=record.place_since,
        trigger=Trigger.ADMITTED,
        source=None,
        target=record.place,
    )
    return replace(plain, **changes)


def moved(claim: Claim, place: Place = PROVISIONING_ORDER, *, at: datetime = START, **changes: Any) -> Commit:
    """A commit that moves the claimed machine by one version."""
    old = claim.record
    record = replace(old, place=place, place_since=at, operation_at=at, version=old.version + 1)
    line = entry(record, at=at, trigger=Trigger.VALIDATED, source=old.place, note="It moved.")
    return replace(Commit(record=record, entries=(line,)), **changes)


def intent(uid: MachineUid, number: int = 1, **changes: Any) -> Intent:
    """An order that was written down."""
    plain = Intent(
        intent_id=order_id(uid, number),
        uid=uid,
        kind=IntentKind.ORDER,
        written_at=START,
        reservation_id="r-1",
        details={"plan": "c3.small", "metro": "am"},
    )
    return replace(plain, **changes)


def observed(number: int = 1, *, at: datetime = START, **changes: Any) -> ObservedDevice:
    """A device as a list showed it."""
    device = Device(
        device_id=DeviceId(f"device-{number}"),
        provider_id=f"equinixmetal://am/device-{number}",
        hostname=f"machine-{number}",
        state=DeviceState.ACTIVE,
        state_text="active",
        tags=("kubernetes.io/cluster", f"uid-{number}"),
        region="am",
        plan="c3.small",
        created_at=START,
        reservation_id=None,
        addresses=(Address(kind="ExternalIP", address="192.0.2.1"),),
    )
    plain = ObservedDevice(
        account=ACCOUNT, device=device, uid=MachineUid(f"uid-{number}"), first_seen_at=at, last_seen_at=at
    )
    return replace(plain, **changes)


def orphan(number: int = 1, **changes: Any) -> Orphan:
    """A device that nobody owns, as it was first found."""
    plain = Orphan(
        device_id=DeviceId(f"device-{number}"),
        account=ACCOUNT,
        uid=MachineUid(f"uid-{number}"),
        hostname=f"machine-{number}",
        reason="nobody knows its Machine",
        first_seen_at=START,
        last_seen_at=START,
    )
    return replace(plain, **changes)


def full_orphan(found: Orphan) -> Orphan:
    """The same orphan with something in every field."""
    odd = START + timedelta(microseconds=7)
    return replace(
        found,
        plan="c3.small",
        region="am",
        price_per_hour=0.75,
        reason="its Machine ended: “müde” \U0001f40c",
        last_seen_at=odd,
        sightings=3,
        state=OrphanState.GONE,
        intended_at=odd,
        accepted_at=odd + SECOND,
        gone_at=odd + SPAN,
    )


def admitted(store: Store, number: int = 1, **changes: Any) -> MachineRecord:
    """A machine that the store knows."""
    record = machine(number, **changes)
    assert store.admit(record=record, entry=entry(record, at=record.admitted_at))
    return record


def claimed(store: Store, number: int = 1, *, worker: str = "worker", now: datetime = START) -> Claim:
    """A claim on a machine that the store knows."""
    claim = store.claim(uid=MachineUid(f"uid-{number}"), worker=worker, now=now, span=SPAN)
    assert claim is not None
    return claim


def finished(store: Store, number: int, *, at: datetime = START) -> MachineUid:
    """A machine whose life is over."""
    record = admitted(store, number)
    claim = claimed(store, number, now=at)
    store.commit(claim=claim, commit=moved(claim, DELETED_REST, at=at, release=True), span=SPAN, now=at)
    return record.uid


def versions(entries: Sequence[HistoryEntry]) -> list[tuple[str, int]]:
    """Which entries these are."""
    return [(line.uid, line.version) for line in entries]
