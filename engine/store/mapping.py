"""Rows to records and back. Knows the columns by name, no statements and no connection."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Row

from engine.domain.device import Address, Device, DeviceState
from engine.domain.ids import AccountKey, DeviceId, IntentId, MachineUid
from engine.domain.intents import Intent, IntentKind, IntentResult
from engine.domain.machine import HistoryEntry, MachineRecord, NodeCondition, Release
from engine.domain.orphans import Orphan, OrphanState
from engine.domain.outcome import Code, Problem
from engine.domain.states import PLACES, Place, UnknownPlace
from engine.errors import NewerRecordError, StoreUnfitError
from engine.ports.store import Lease, ObservedDevice, Parked, ReservationHold, Resolution

E = TypeVar("E", bound=Enum)

_PLACES: Final = {(str(place.state), str(place.step)): place for place in PLACES}
_DEVICE_STATES: Final = frozenset(DeviceState)
_CODES: Final = frozenset(Code)
_ENCODER: Final = msgspec.json.Encoder()
_WORDS: Final = msgspec.json.Decoder(tuple[str, ...])
_RELEASES: Final = msgspec.json.Decoder(tuple[Release, ...])
_ADDRESSES: Final = msgspec.json.Decoder(tuple[Address, ...])
_CONDITIONS: Final = msgspec.json.Decoder(tuple[NodeCondition, ...])
_DETAILS: Final = msgspec.json.Decoder(dict[str, str])


def machine_row(record: MachineRecord) -> dict[str, Any]:
    """Answer the columns of a record; the claim is not among them."""
    return {
        "uid": record.uid,
        "namespace": record.namespace,
        "name": record.name,
        "state": record.place.state.value,
        "step": record.place.step.value,
        "version": record.version,
        "created_at": record.created_at,
        "admitted_at": record.admitted_at,
        "place_since": record.place_since,
        "operation_at": record.operation_at,
        "class_name": record.class_name,
        "secret_name": record.secret_name,
        "provider": record.provider,
        "taken_over": record.taken_over,
        "device_id": record.device_id,
        "provider_id": record.provider_id,
        "node_name": record.node_name,
        "joined_at": record.joined_at,
        **_problem_row(record.problem),
        "attempts": record.attempts,
        "retry_at": record.retry_at,
        "inputs": record.inputs,
        "orders": record.orders,
        "reservations_tried": _json(record.reservations_tried),
        "releases": _json(record.releases),
        "addresses": _json(record.addresses),
        "conditions": _json(record.conditions),
        "due_at": record.due_at,
        "retry_mark": record.retry_mark,
    }


def machine(row: Row[Any]) -> MachineRecord:
    """Answer the record of a row of machines."""
    return MachineRecord(
        uid=MachineUid(row.uid),
        namespace=row.namespace,
        name=row.name,
        place=_place(row.uid, row.state, row.step),
        version=row.version,
        created_at=row.created_at,
        admitted_at=row.admitted_at,
        place_since=row.place_since,
        operation_at=row.operation_at,
        class_name=row.class_name,
        secret_name=row.secret_name,
        provider=row.provider,
        taken_over=row.taken_over,
        device_id=_device_id(row.device_id),
        provider_id=row.provider_id,
        node_name=row.node_name,
        joined_at=row.joined_at,
        problem=_problem(row),
        attempts=row.attempts,
        retry_at=row.retry_at,
        inputs=row.inputs,
        orders=row.orders,
        reservations_tried=_WORDS.decode(row.reservations_tried),
        releases=_RELEASES.decode(row.releases),
        addresses=_ADDRESSES.decode(row.addresses),
        conditions=_CONDITIONS.decode(row.conditions),
        due_at=row.due_at,
        retry_mark=row.retry_mark,
    )


def readable(rows: Iterable[Row[Any]]) -> Iterator[MachineRecord]:
    """Yield the records of these rows, without those that a newer program wrote."""
    for row in rows:
        with suppress(NewerRecordError):
            yield machine(row)


def parked(row: Row[Any]) -> Parked:
    """Answer what is known of a machine whose record cannot be read."""
    return Parked(
        uid=MachineUid(row.uid),
        namespace=row.namespace,
        name=row.name,
        class_name=row.class_name,
        where=f"{row.state}/{row.step}",
    )


def entry_row(entry: HistoryEntry) -> dict[str, Any]:
    """Answer the columns of an entry."""
    return {
        "uid": entry.uid,
        "version": entry.version,
        "at": entry.at,
        "trigger": str(entry.trigger),
        "source_state": str(entry.source.state) if entry.source else None,
        "source_step": str(entry.source.step) if entry.source else None,
        "target_state": str(entry.target.state),
        "target_step": str(entry.target.step),
        "note": _sentence(entry.note),
        **_problem_row(entry.problem),
        "actor": entry.actor,
        "device_id": entry.device_id,
        "intent_id": entry.intent_id,
    }


def entry(row: Row[Any]) -> HistoryEntry:
    """Answer the entry of a row of transitions, also of one that a newer program wrote."""
    return HistoryEntry(
        uid=MachineUid(row.uid),
        version=row.version,
        at=row.at,
        trigger=row.trigger,
        source=None if row.source_state is None else _any_place(row.source_state, row.source_step),
        target=_any_place(row.target_state, row.target_step),
        note=row.note,
        problem=_any_problem(row),
        actor=row.actor,
        device_id=_device_id(row.device_id),
        intent_id=row.intent_id,
    )


def intent_row(intent: Intent) -> dict[str, Any]:
    """Answer the columns of an intent."""
    return {
        "intent_id": intent.intent_id,
        "uid": intent.uid,
        "kind": intent.kind.value,
        "written_at": intent.written_at,
        "device_id": intent.device_id,
        "reservation_id": intent.reservation_id,
        "details": _json(intent.details),
        "result": intent.result.value if intent.result else None,
        "resolved_at": intent.resolved_at,
        **_problem_row(intent.problem),
    }


def resolution_row(uid: MachineUid, resolution: Resolution) -> dict[str, Any]:
    """Answer the parameters of the statement that resolves an intent."""
    return {
        "which_uid": uid,
        "which_intent": resolution.intent_id,
        "new_device": resolution.device_id,
        "result": resolution.result.value,
        "resolved_at": resolution.at,
        **_problem_row(resolution.problem),
    }


def intent(row: Row[Any]) -> Intent:
    """Answer the intent of a row."""
    return Intent(
        intent_id=IntentId(row.intent_id),
        uid=MachineUid(row.uid),
        kind=_owned(IntentKind, row.kind, row.uid),
        written_at=row.written_at,
        device_id=_device_id(row.device_id),
        reservation_id=row.reservation_id,
        details=_DETAILS.decode(row.details),
        result=None if row.result is None else _owned(IntentResult, row.result, row.uid),
        resolved_at=row.resolved_at,
        problem=_problem(row),
    )


def device_row(account: AccountKey, seen: ObservedDevice) -> dict[str, Any]:
    """Answer the columns of an observed device."""
    device = seen.device
    return {
        "account": account,
        "device_id": device.device_id,
        "uid": seen.uid,
        "provider_id": device.provider_id,
        "hostname": device.hostname,
        "state": device.state.value,
        "state_text": device.state_text,
        "tags": _json(device.tags),
        "region": device.region,
        "plan": device.plan,
        "created_at": device.created_at,
        "reservation_id": device.reservation_id,
        "addresses": _json(device.addresses),
        "first_seen_at": seen.first_seen_at,
        "last_seen_at": seen.last_seen_at,
        "gone_at": seen.gone_at,
    }


def device(row: Row[Any]) -> ObservedDevice:
    """Answer the observation of a row of devices."""
    return ObservedDevice(
        account=AccountKey(row.account),
        uid=None if row.uid is None else MachineUid(row.uid),
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
        gone_at=row.gone_at,
        device=Device(
            device_id=DeviceId(row.device_id),
            provider_id=row.provider_id,
            hostname=row.hostname,
            state=DeviceState(row.state) if row.state in _DEVICE_STATES else DeviceState.UNKNOWN,
            state_text=row.state_text,
            tags=_WORDS.decode(row.tags),
            region=row.region,
            plan=row.plan,
            created_at=row.created_at,
            reservation_id=row.reservation_id,
            addresses=_ADDRESSES.decode(row.addresses),
        ),
    )


def orphan_row(orphan: Orphan) -> dict[str, Any]:
    """Answer the columns of an orphan."""
    return {
        "device_id": orphan.device_id,
        "account": orphan.account,
        "uid": orphan.uid,
        "hostname": orphan.hostname,
        "plan": orphan.plan,
        "region": orphan.region,
        "price_per_hour": orphan.price_per_hour,
        "reason": _sentence(orphan.reason),
        "first_seen_at": orphan.first_seen_at,
        "last_seen_at": orphan.last_seen_at,
        "sightings": orphan.sightings,
        "state": orphan.state.value,
        "intended_at": orphan.intended_at,
        "accepted_at": orphan.accepted_at,
        "gone_at": orphan.gone_at,
    }


def orphan(row: Row[Any]) -> Orphan:
    """Answer the orphan of a row."""
    return Orphan(
        device_id=DeviceId(row.device_id),
        account=AccountKey(row.account),
        uid=MachineUid(row.uid),
        hostname=row.hostname,
        plan=row.plan,
        region=row.region,
        price_per_hour=row.price_per_hour,
        reason=row.reason,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
        sightings=row.sightings,
        state=_known(OrphanState, row.state),
        intended_at=row.intended_at,
        accepted_at=row.accepted_at,
        gone_at=row.gone_at,
    )


def reservation(row: Row[Any]) -> ReservationHold:
    """Answer the line of the ledger of a row."""
    return ReservationHold(
        reservation_id=row.reservation_id, uid=MachineUid(row.uid), held_at=row.held_at, freed_at=row.freed_at
    )


def lease(row: Row[Any]) -> Lease:
    """Answer the lease of a row that is held."""
    return Lease(name=row.name, holder=row.holder, epoch=row.epoch, expires_at=row.expires_at)


def _problem_row(problem: Problem | None) -> dict[str, Any]:
    if problem is None:
        return {"problem_code": None, "problem_message": None}
    return {"problem_code": problem.code.value, "problem_message": _sentence(problem.message)}


def _problem(row: Row[Any]) -> Problem | None:
    if row.problem_code is None:
        return None
    return Problem(code=_owned(Code, row.problem_code, row.uid), message=row.problem_message)


def _any_problem(row: Row[Any]) -> Problem | None:
    if row.problem_code is None or row.problem_code in _CODES:
        return _problem(row)
    return Problem(code=Code.UNKNOWN, message=f"{row.problem_code}: {row.problem_message}")


def _sentence(text: str) -> str:
    # A cloud's words may hold what Postgres or UTF-8 cannot: one such message must not block its machine for ever.
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _json(value: tuple[Any, ...] | Mapping[str, str]) -> str:
    return _ENCODER.encode(value).decode()


def _device_id(text: str | None) -> DeviceId | None:
    return None if text is None else DeviceId(text)


def _place(uid: str, state: str, step: str) -> Place:
    place = _PLACES.get((state, step))
    if place is None:
        raise _newer(uid, f"the place {state}/{step}")
    return place


def _any_place(state: str, step: str) -> Place | UnknownPlace:
    return _PLACES.get((state, step)) or UnknownPlace(state, step)


def _owned(kind: type[E], text: str, uid: str) -> E:
    try:
        return kind(text)
    except ValueError:
        raise _newer(uid, f"the {kind.__name__} {text!r}") from None


def _newer(uid: str, what: str) -> NewerRecordError:
    return NewerRecordError(
        f"machine {uid}: this program does not know {what}, which a newer one wrote; nothing is done for this machine "
        f"until that program is back"
    )


def _known(kind: type[E], text: str) -> E:
    try:
        return kind(text)
    except ValueError as unknown:
        raise StoreUnfitError(
            f"the database holds the {kind.__name__} {text!r}, unknown to this program; run a newer one"
        ) from unknown
