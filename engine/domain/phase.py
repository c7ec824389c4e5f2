"""(state, step, health, last result) → the Machine status that other programs read; a pure function of the record.

The words here are a protocol: MCM, the cluster autoscaler, Gardener and the Go machine controller parse them.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.domain.device import Address
from engine.domain.machine import MachineRecord, NodeCondition
from engine.domain.states import Place, State, Step


class Phase(StrEnum):
    """The phases of the contract that this engine writes, and those that it may read."""

    NONE = ""
    PENDING = "Pending"
    AVAILABLE = "Available"
    RUNNING = "Running"
    UNKNOWN = "Unknown"
    FAILED = "Failed"
    CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
    TERMINATING = "Terminating"


class OperationType(StrEnum):
    """`lastOperation.type`."""

    CREATE = "Create"
    HEALTH_CHECK = "HealthCheck"
    DELETE = "Delete"


class OperationState(StrEnum):
    """`lastOperation.state`."""

    PROCESSING = "Processing"
    FAILED = "Failed"
    SUCCESSFUL = "Successful"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastOperation:
    """`status.lastOperation`."""

    type: str
    state: str
    description: str
    at: datetime | None
    error_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineStatus:
    """`status` of a Machine, as far as the engine writes it."""

    phase: str
    phase_at: datetime | None
    timeout_active: bool = False
    operation: LastOperation | None = None
    conditions: tuple[NodeCondition, ...] = ()
    addresses: tuple[Address, ...] = ()


MARKER_RELEASE = "Initiate VM deletion"
MARKER_FORGET_NODE = "Initiate node object deletion"
MARKER_FINALIZE = "Initiate machine object finalizer removal"

_MARKERS = {
    Step.RELEASE: MARKER_RELEASE,
    Step.FORGET_NODE: MARKER_FORGET_NODE,
    Step.FINALIZE: MARKER_FINALIZE,
}

CREATING = "Creating machine on cloud provider"
CREATED = "Created machine on cloud provider"


def status_of(record: MachineRecord, *, target: bool) -> MachineStatus | None:
    """Answer the status that this record stands for; None while nothing was tried, and when the life is over.

    `target` says whether there is a target cluster, that is, whether Nodes exist to be awaited.
    """
    phase = phase_of(record, target=target)
    if phase is Phase.NONE:
        return None
    return MachineStatus(
        phase=phase,
        phase_at=_seconds(record.place_since),
        timeout_active=phase is Phase.PENDING,
        operation=_operation(record, phase),
        conditions=record.conditions,
        addresses=() if target else record.addresses,
    )


def phase_of(record: MachineRecord, *, target: bool) -> Phase:
    """Answer the phase that this record stands for."""
    match record.state:
        case State.PENDING | State.PROVISIONING:
            return _phase_before_service(record)
        case State.ACTIVE:
            healthy = Phase.RUNNING if target else Phase.AVAILABLE
            return Phase.UNKNOWN if record.place.step is Step.UNHEALTHY else healthy
        case State.FAILED:
            return Phase.FAILED
        case State.DELETING:
            return Phase.TERMINATING
        case State.DELETED:
            return Phase.NONE


def _phase_before_service(record: MachineRecord) -> Phase:
    if record.problem:
        return Phase.CRASH_LOOP_BACK_OFF
    return Phase.PENDING if record.device_id else Phase.NONE


def _operation(record: MachineRecord, phase: Phase) -> LastOperation:
    at = _seconds(record.operation_at)
    if phase is Phase.TERMINATING:
        return _deletion(record, at)
    if record.problem and phase in {Phase.CRASH_LOOP_BACK_OFF, Phase.FAILED}:
        kind = _kind_of_failure(record, phase)
        return LastOperation(
            type=kind,
            state=OperationState.FAILED,
            error_code=record.problem.code if kind is OperationType.CREATE else "",
            description=f"Cloud provider message - {record.problem.envelope()}",
            at=at,
        )
    return _progress(record, phase, at)


def _kind_of_failure(record: MachineRecord, phase: Phase) -> OperationType:
    """What others take the failure for: of the creation until the machine has served, of its health after that."""
    served = record.joined_at is not None and phase is Phase.FAILED
    return OperationType.HEALTH_CHECK if served else OperationType.CREATE


def _progress(record: MachineRecord, phase: Phase, at: datetime | None) -> LastOperation:
    kind, state, text = OperationType.CREATE, OperationState.SUCCESSFUL, CREATED
    match phase:
        case Phase.RUNNING if _rejoined(record):
            kind, text = OperationType.HEALTH_CHECK, f"Machine {record.name} successfully re-joined the cluster"
        case Phase.RUNNING:
            text = f"Machine {record.name} successfully joined the cluster"
        case Phase.UNKNOWN:
            kind, state = OperationType.HEALTH_CHECK, OperationState.PROCESSING
            text = f"Machine {record.name} is unhealthy - changing MachineState to Unknown. {_conditions(record)}"
        case Phase.PENDING:
            state, text = OperationState.PROCESSING, CREATING
        case Phase.FAILED:
            kind, state = _kind_of_failure(record, phase), OperationState.FAILED
            text = f"Machine {record.name} failed"
        case _:
            pass
    return LastOperation(type=kind, state=state, description=text, at=at)


def _deletion(record: MachineRecord, at: datetime | None) -> LastOperation:
    marker = _MARKERS.get(record.place.step, MARKER_RELEASE)
    if record.problem is None:
        return LastOperation(
            type=OperationType.DELETE,
            state=OperationState.PROCESSING,
            description=_sentence(record.place, marker),
            at=at,
        )
    text = f"{record.problem.envelope()}. {marker}"
    return LastOperation(type=OperationType.DELETE, state=OperationState.FAILED, description=text, at=at)


def _sentence(place: Place, marker: str) -> str:
    match place.step:
        case Step.FORGET_NODE:
            return f"The cloud holds no device of this machine any more. {marker}"
        case Step.FINALIZE:
            return f"The node object is gone. {marker}"
        case _:
            return f"The device is being returned to the cloud. {marker}"


def _rejoined(record: MachineRecord) -> bool:
    return record.joined_at is not None and record.joined_at < record.place_since


def _conditions(record: MachineRecord) -> str:
    if not record.conditions:
        return "Its node is gone."
    told = ", ".join(f"{c.type}={c.status} ({c.reason or 'no reason'})" for c in record.conditions)
    return f"Conditions of its node: {told}."


def _seconds(at: datetime) -> datetime:
    return at.replace(microsecond=0)
