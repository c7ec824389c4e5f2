"""From the wire to the domain and back: pure functions, lenient with what others wrote.

What cannot be left out (a uid, a name, the creation timestamp) raises ValueError, and the object counts as unreadable.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from engine.cluster import wire
from engine.domain.device import Address
from engine.domain.ids import MachineUid
from engine.domain.machine import NodeCondition
from engine.domain.phase import LastOperation, MachineStatus
from engine.domain.wanted import ClassObject, MachineObject, NodeObject, SecretObject, SecretReference
from engine.durations import parse_duration

TIMEOUT_ANNOTATION = "node.machine.sapcloud.io/effective-creation-timeout"
"""MCM hands the timeout of a MachineSet down in it; it outranks `spec.creationTimeout`."""
YEAR_MIN = 1970  # Go writes its zero time as the year 1; nothing in a cluster is older than the Unix epoch.

log = logging.getLogger(__name__)


def read_machine(raw: bytes) -> MachineObject:
    """Answer the Machine that this JSON shows."""
    machine = wire.read_machine(raw)
    meta, spec = machine.metadata, machine.spec or wire.MachineSpec()
    reference = spec.class_ or wire.ClassReference()
    annotations = _texts(meta.annotations)
    return MachineObject(
        uid=MachineUid(_present(meta.uid, "uid")),
        namespace=meta.namespace or "",
        name=_present(meta.name, "name"),
        resource_version=meta.resource_version,
        created_at=_created_at(meta),
        deletion_requested_at=_deletion_at(meta),
        labels=_texts(meta.labels),
        annotations=annotations,
        finalizers=tuple(meta.finalizers or ()),
        class_kind=reference.kind or "",
        class_name=reference.name or "",
        provider_id=spec.provider_id or "",
        creation_timeout=_span(annotations.get(TIMEOUT_ANNOTATION)) or _span(spec.creation_timeout),
        status=_status(machine.status),
    )


def read_class(raw: bytes) -> ClassObject:
    """Answer the MachineClass that this JSON shows."""
    found = wire.read_class(raw)
    return ClassObject(
        uid=_present(found.metadata.uid, "uid"),
        namespace=found.metadata.namespace or "",
        name=_present(found.metadata.name, "name"),
        resource_version=found.metadata.resource_version,
        provider=found.provider or "",
        provider_spec=found.provider_spec if isinstance(found.provider_spec, dict) else None,
        secret=_reference(found.secret_ref),
        credentials_secret=_reference(found.credentials_secret_ref),
        finalizers=tuple(found.metadata.finalizers or ()),
        deletion_requested_at=_deletion_at(found.metadata),
        annotations=_texts(found.metadata.annotations),
    )


def read_secret(raw: bytes) -> SecretObject:
    """Answer the Secret that this JSON shows, with its data."""
    found = wire.read_secret(raw)
    data = {key: value for key, value in (found.data or {}).items() if value is not None}
    return _secret(found.metadata, data)


def read_secret_without(raw: bytes, data: Mapping[str, bytes]) -> SecretObject:
    """Answer the Secret that this JSON shows, with other data in place of its own, which is not even decoded."""
    return _secret(wire.read_peek(raw).metadata, data)


def read_node(raw: bytes) -> NodeObject:
    """Answer the Node that this JSON shows."""
    node = wire.read_node(raw)
    return NodeObject(
        uid=_present(node.metadata.uid, "uid"),
        name=_present(node.metadata.name, "name"),
        resource_version=node.metadata.resource_version,
        created_at=_created_at(node.metadata),
        provider_id=(node.spec.provider_id or "") if node.spec else "",
        labels=_texts(node.metadata.labels),
        conditions=_conditions(node.status.conditions if node.status else None),
    )


def status_patch(status: MachineStatus, current: MachineStatus | None, *, target: bool) -> dict[str, Any]:
    """Answer the merge patch of `status` that makes a Machine say this.

    Nodes' conditions exist with a target cluster only, and addresses are published without one only; the field that is
    not ours is not named, so it stays. A list that already says the same is left out as well.
    """
    patch: dict[str, Any] = {
        "currentStatus": {
            "phase": status.phase,
            "timeoutActive": status.timeout_active,
            "lastUpdateTime": _stamp(status.phase_at),
        },
        "lastOperation": _operation_patch(status.operation),
    }
    if target and (current is None or current.conditions != status.conditions):
        patch["conditions"] = [_condition_patch(condition) for condition in status.conditions]
    if not target and (current is None or current.addresses != status.addresses):
        patch["addresses"] = [{"type": found.kind, "address": found.address} for found in status.addresses]
    return patch


def instant(text: str | None) -> datetime | None:
    """Answer the instant, aware and in UTC; None for one that is missing, odd or Go's zero time."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.year >= YEAR_MIN and at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _secret(meta: wire.Meta, data: Mapping[str, bytes]) -> SecretObject:
    return SecretObject(
        uid=_present(meta.uid, "uid"),
        namespace=meta.namespace or "",
        name=_present(meta.name, "name"),
        resource_version=meta.resource_version,
        data=data,
        finalizers=tuple(meta.finalizers or ()),
        deletion_requested_at=_deletion_at(meta),
    )


def _present(text: str, what: str) -> str:
    if not text:
        raise ValueError(f"metadata.{what} is missing")
    return text


def _created_at(meta: wire.Meta) -> datetime:
    at = instant(meta.creation_timestamp)
    if at is None:
        raise ValueError("metadata.creationTimestamp is missing or no instant")
    return at


def _deletion_at(meta: wire.Meta) -> datetime | None:
    if not meta.deletion_timestamp:
        return None
    at = instant(meta.deletion_timestamp)
    if at is None:
        # Deletion was asked for, whenever: to read this as "not asked for" would be the graver mistake.
        raise ValueError("metadata.deletionTimestamp is no instant")
    return at


def _texts(found: Mapping[str, str | None] | None) -> dict[str, str]:
    return {key: value or "" for key, value in found.items()} if found else {}


def _reference(found: wire.SecretRef | None) -> SecretReference | None:
    if found is None or not found.name:
        return None
    return SecretReference(namespace=found.namespace or "", name=found.name)


@lru_cache(maxsize=1024)  # Machines share a few spellings; and each odd one is logged once.
def _span(text: str | None) -> timedelta | None:
    if not text:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        log.warning("creation timeout of a Machine is ignored", extra={"error": str(error)})
        return None


def _status(found: wire.MachineStatus | None) -> MachineStatus | None:
    if found is None:
        return None
    current = found.current_status or wire.CurrentStatus()
    status = MachineStatus(
        phase=current.phase or "",
        phase_at=instant(current.last_update_time),
        timeout_active=bool(current.timeout_active),
        operation=_operation(found.last_operation),
        conditions=_conditions(found.conditions),
        addresses=tuple(
            Address(kind=address.type or "", address=address.address or "") for address in found.addresses or ()
        ),
    )
    silent = not (status.phase or status.operation or status.conditions or status.addresses)
    return None if silent else status


def _operation(found: wire.Operation | None) -> LastOperation | None:
    if found is None or not (found.type or found.state or found.description):
        return None
    return LastOperation(
        type=found.type or "",
        state=found.state or "",
        description=found.description or "",
        at=instant(found.last_update_time),
        error_code=found.error_code or "",
    )


def _conditions(found: Sequence[wire.Condition] | None) -> tuple[NodeCondition, ...]:
    return tuple(
        NodeCondition(
            type=condition.type or "",
            status=condition.status or "",
            reason=condition.reason or "",
            message=condition.message or "",
            last_transition_at=instant(condition.last_transition_time),
            last_heartbeat_at=instant(condition.last_heartbeat_time),
        )
        for condition in found or ()
    )


def _operation_patch(operation: LastOperation | None) -> dict[str, Any] | None:
    if operation is None:
        return None
    return {
        "type": operation.type,
        "state": operation.state,
        "description": operation.description,
        "errorCode": operation.error_code or None,
        "lastUpdateTime": _stamp(operation.at),
    }


def _condition_patch(condition: NodeCondition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": _stamp(condition.last_transition_at),
        "lastHeartbeatTime": _stamp(condition.last_heartbeat_at),
    }


def _stamp(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None
