"""The status that other programs read, row by row against the machine contract of the Go controller.

The rows are named for what MCM, the cluster autoscaler and Gardener conclude from them.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain import phase as words
from engine.domain.device import Address
from engine.domain.ids import DeviceId
from engine.domain.machine import MachineRecord, NodeCondition
from engine.domain.outcome import Code, problem
from engine.domain.phase import MachineStatus, Phase, phase_of, status_of
from engine.domain.states import PLACES, Place, State
from tests.unit.domain.builders import NOON, record

DEVICE = DeviceId("0b9d2c4e-0000-4000-8000-00000000000d")
BOUGHT: dict[str, Any] = {"device_id": DEVICE, "provider_id": f"equinixmetal://am/{DEVICE}"}
JOINED = NOON + timedelta(minutes=5)
SERVED = BOUGHT | {"joined_at": JOINED, "node_name": "worker-1"}
FULL = problem(Code.RESOURCE_EXHAUSTED, "no c3.small in am")
FULL_TEXT = "machine codes error: code = [ResourceExhausted] message = [no c3.small in am]"
NOT_READY = NodeCondition(type="Ready", status="Unknown", reason="NodeStatusUnknown")

# The markers as the Go controller spells and orders them: the first that is found in a description decides.
GO_MARKERS = (
    "Initialize VM Instance",
    "Set machine status to termination. Now, getting VM Status",
    "Initiate node drain",
    "Delete Volume Attachments",
    "Initiate VM deletion",
    "Initiate node object deletion",
    "Initiate machine object finalizer removal",
)


def at(place: str, **different: Any) -> MachineRecord:
    """A record that stands at the place of this name."""
    return record(**{"place": next(each for each in PLACES if str(each) == place)} | different)


def told(status: MachineStatus | None) -> tuple[str, str, str, str]:
    """Phase, and type, state and error code of the last operation, as plain text."""
    assert status is not None
    assert status.operation is not None
    operation = status.operation
    return (str(status.phase), str(operation.type), str(operation.state), str(operation.error_code))


def description(status: MachineStatus | None) -> str:
    """The text of the last operation."""
    assert status is not None
    assert status.operation is not None
    return status.operation.description


FAILED_CREATE = ("CrashLoopBackOff", "Create", "Failed", "ResourceExhausted")
ROWS = [
    pytest.param(
        at("Pending/validate", problem=FULL),
        FAILED_CREATE,
        f"Cloud provider message - {FULL_TEXT}",
        id="2.2 error before the purchase, young: CrashLoopBackOff",
    ),
    pytest.param(
        at("Pending/wait-capacity", problem=FULL),
        FAILED_CREATE,
        f"Cloud provider message - {FULL_TEXT}",
        id="1.7 no capacity: the autoscaler reads Create, Failed, ResourceExhausted and tries another pool",
    ),
    pytest.param(
        at("Provisioning/order", problem=FULL),
        FAILED_CREATE,
        f"Cloud provider message - {FULL_TEXT}",
        id="2.2 purchase refused, young: CrashLoopBackOff",
    ),
    pytest.param(
        at("Pending/validate", problem=FULL, joined_at=JOINED),
        FAILED_CREATE,
        f"Cloud provider message - {FULL_TEXT}",
        id="2.2 refused on an operator's retry after it had served: a creation all the same",
    ),
    pytest.param(
        at("Failed/halt", problem=FULL),
        ("Failed", "Create", "Failed", "ResourceExhausted"),
        f"Cloud provider message - {FULL_TEXT}",
        id="2.2 same errors, older than the creation timeout: Failed, errorCode kept",
    ),
    pytest.param(
        at("Provisioning/install", **BOUGHT),
        ("Pending", "Create", "Processing", ""),
        "Creating machine on cloud provider",
        id="2.3 waiting for node, device still installing",
    ),
    pytest.param(
        at("Provisioning/join", **BOUGHT),
        ("Pending", "Create", "Processing", ""),
        "Creating machine on cloud provider",
        id="2.3 waiting for node, device is up",
    ),
    pytest.param(
        at("Active/healthy", place_since=JOINED, **SERVED),
        ("Running", "Create", "Successful", ""),
        "Machine worker-1 successfully joined the cluster",
        id="2.2 Pending to Running: Create, Successful",
    ),
    pytest.param(
        at("Active/healthy", place_since=JOINED + timedelta(hours=1), **SERVED),
        ("Running", "HealthCheck", "Successful", ""),
        "Machine worker-1 successfully re-joined the cluster",
        id="2.2 Unknown or Failed to Running: HealthCheck, Successful",
    ),
    pytest.param(
        at("Active/healthy", place_since=JOINED + timedelta(hours=1), problem=FULL, attempts=3, **SERVED),
        ("Running", "HealthCheck", "Successful", ""),
        "Machine worker-1 successfully re-joined the cluster",
        id="2.2 re-joined, and the cloud does not answer now: still re-joined",
    ),
    pytest.param(
        at("Active/healthy", place_since=JOINED, problem=FULL, attempts=1, **SERVED),
        ("Running", "Create", "Successful", ""),
        "Machine worker-1 successfully joined the cluster",
        id="2.2 joined, and the cloud does not answer now: Running is not disturbed",
    ),
    pytest.param(
        at("Active/unhealthy", conditions=(NOT_READY,), **SERVED),
        ("Unknown", "HealthCheck", "Processing", ""),
        "Machine worker-1 is unhealthy - changing MachineState to Unknown. "
        "Conditions of its node: Ready=Unknown (NodeStatusUnknown).",
        id="2.2 Running to Unknown: Node unhealthy",
    ),
    pytest.param(
        at("Active/unhealthy", **SERVED),
        ("Unknown", "HealthCheck", "Processing", ""),
        "Machine worker-1 is unhealthy - changing MachineState to Unknown. Its node is gone.",
        id="2.2 Running to Unknown: Node object missing",
    ),
    pytest.param(
        at("Failed/halt", problem=problem(Code.NOT_FOUND, "device vanished"), **SERVED),
        ("Failed", "HealthCheck", "Failed", ""),
        "Cloud provider message - machine codes error: code = [NotFound] message = [device vanished]",
        id="2.3 failed after it had served: type kept, errorCode on creation paths only",
    ),
    pytest.param(
        at("Failed/halt", **BOUGHT),
        ("Failed", "Create", "Failed", ""),
        "Machine worker-1 failed",
        id="2.2 failed creation without a provider's word",
    ),
    pytest.param(
        at("Failed/halt", **SERVED),
        ("Failed", "HealthCheck", "Failed", ""),
        "Machine worker-1 failed",
        id="2.2 health timeout: type kept",
    ),
    pytest.param(
        at("Deleting/release", **SERVED),
        ("Terminating", "Delete", "Processing", ""),
        "The device is being returned to the cloud. Initiate VM deletion",
        id="5.2 marker 4",
    ),
    pytest.param(
        at("Deleting/forget-node", **SERVED),
        ("Terminating", "Delete", "Processing", ""),
        "The cloud holds no device of this machine any more. Initiate node object deletion",
        id="5.2 marker 5",
    ),
    pytest.param(
        at("Deleting/finalize", **SERVED),
        ("Terminating", "Delete", "Processing", ""),
        "The node object is gone. Initiate machine object finalizer removal",
        id="5.2 marker 6",
    ),
    pytest.param(
        at("Deleting/release", problem=FULL, **SERVED),
        ("Terminating", "Delete", "Failed", ""),
        f"{FULL_TEXT}. Initiate VM deletion",
        id="2.3 delete step failed: no errorCode, marker kept",
    ),
    pytest.param(
        at("Deleting/forget-node", problem=FULL, **SERVED),
        ("Terminating", "Delete", "Failed", ""),
        f"{FULL_TEXT}. Initiate node object deletion",
        id="2.3 forgetting the node failed: no errorCode, marker kept",
    ),
]


@pytest.mark.parametrize(("given_record", "expected", "text"), ROWS)
def test_status_with_target_is_the_contracts_row(
    given_record: MachineRecord, expected: tuple[str, str, str, str], text: str
) -> None:
    """With a target cluster, phase, last operation and its text are exactly those of the row."""
    status = status_of(given_record, target=True)
    assert told(status) == expected
    assert description(status) == text


NO_TARGET_ROWS = [
    pytest.param(
        at("Active/healthy", place_since=JOINED, **SERVED),
        ("Available", "Create", "Successful", ""),
        "Created machine on cloud provider",
        id="2.2 to Available: Create, Successful",
    ),
    pytest.param(
        at("Active/healthy", place_since=JOINED + timedelta(hours=1), problem=FULL, **SERVED),
        ("Available", "Create", "Successful", ""),
        "Created machine on cloud provider",
        id="2.3 created, no target: whatever happened since",
    ),
    pytest.param(
        at("Provisioning/install", **BOUGHT),
        ("Pending", "Create", "Processing", ""),
        "Creating machine on cloud provider",
        id="2.2 device exists and is not up yet",
    ),
    pytest.param(
        at("Deleting/release", **SERVED),
        ("Terminating", "Delete", "Processing", ""),
        "The device is being returned to the cloud. Initiate VM deletion",
        id="5.2 marker 4",
    ),
]


@pytest.mark.parametrize(("given_record", "expected", "text"), NO_TARGET_ROWS)
def test_status_without_target_is_the_contracts_row(
    given_record: MachineRecord, expected: tuple[str, str, str, str], text: str
) -> None:
    """Without a target cluster there is no Node to join: a device that is up is Available."""
    status = status_of(given_record, target=False)
    assert told(status) == expected
    assert description(status) == text


@pytest.mark.parametrize("place", ["Pending/validate", "Pending/wait-capacity", "Provisioning/order"])
def test_nothing_tried_yet_says_nothing(place: str) -> None:
    """2.1: the empty phase means "being created", and an empty phase is a status that nobody wrote."""
    assert phase_of(at(place), target=True) is Phase.NONE
    assert status_of(at(place), target=True) is None


def test_finished_life_says_nothing() -> None:
    """A Machine object that is gone has no status to write."""
    assert status_of(at("Deleted/rest", **SERVED), target=True) is None


records = st.builds(
    at,
    st.sampled_from([str(place) for place in PLACES]),
    problem=st.none() | st.builds(problem, st.sampled_from(Code), st.text(max_size=30)),
    device_id=st.none() | st.just(DEVICE),
    joined_at=st.none() | st.just(JOINED),
    place_since=st.sampled_from([NOON, JOINED, JOINED + timedelta(hours=1)]),
    attempts=st.integers(min_value=0, max_value=3),
    addresses=st.sampled_from([(), (Address(kind="InternalIP", address="10.0.0.1"),)]),
    conditions=st.sampled_from([(), (NOT_READY,)]),
)


@settings(deadline=None, max_examples=200)
@given(given_record=records, target=st.booleans())
def test_every_status_keeps_the_rules_of_the_contract(given_record: MachineRecord, target: bool) -> None:  # noqa: FBT001
    """Whatever a record holds, its status obeys what other programs assume of every status."""
    status = status_of(given_record, target=target)
    if status is None:
        assert given_record.state in {State.PENDING, State.PROVISIONING, State.DELETED}
        return
    phase, kind, state, code = told(status)
    text = description(status)
    assert status.timeout_active is (phase == "Pending"), "1.3: true only in Pending"
    assert status.addresses == (() if target else given_record.addresses), "2.5: only without a target"
    assert status.conditions == given_record.conditions, "1.3: a copy of the Node's"
    assert not code or (kind, state) == ("Create", "Failed"), "2.3: errorCode on creation paths only"
    assert (phase == "Terminating") == (kind == "Delete") == (given_record.state is State.DELETING)
    assert (phase in {"Running", "Available"}) == (state == "Successful"), "1.6: only these replicas count"
    assert (phase == "Available") <= (not target), "2.1: Available is of the mode without a target"
    assert (phase == "Running") <= target
    markers = [marker for marker in GO_MARKERS if marker in text]
    assert len(markers) == (phase == "Terminating"), "5.2: exactly one marker, and in deletions only"
    assert not markers or text.endswith(markers[0])


def test_markers_are_spelled_as_the_go_controller_reads_them() -> None:
    """The literal strings are the persisted protocol: the Go controller can go on where we stopped."""
    assert GO_MARKERS[4:] == (words.MARKER_RELEASE, words.MARKER_FORGET_NODE, words.MARKER_FINALIZE)


def test_deletion_steps_keep_the_instant_of_the_phase() -> None:
    """5.2: step writes leave `currentStatus` untouched; only the last operation gets a new instant."""
    steps = [place for place in PLACES if place.state is State.DELETING]
    shown = [status_of(record(place=place, operation_at=_after(place)), target=True) for place in steps]
    assert {status.phase_at for status in shown if status} == {NOON.replace(microsecond=0)}
    assert len({status.operation.at for status in shown if status and status.operation}) == len(steps)


def _after(place: Place) -> datetime:
    return NOON + timedelta(seconds=PLACES.index(place))


def test_instants_are_cut_to_seconds() -> None:
    """Kubernetes keeps whole seconds: a status that is read back is the one that was written."""
    status = status_of(at("Provisioning/join", **BOUGHT), target=True)
    assert status is not None
    assert status.operation is not None
    assert status.phase_at == NOON.replace(microsecond=0)
    assert status.operation.at == (NOON + timedelta(seconds=1)).replace(microsecond=0)


def test_status_is_a_function_of_the_record() -> None:
    """The same record always stands for the same status."""
    one = at("Active/unhealthy", conditions=(NOT_READY,), **SERVED)
    assert status_of(one, target=True) == status_of(replace(one), target=True)
