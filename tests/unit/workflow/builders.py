"""Valid contexts, devices and objects; a test states only what differs."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.domain.device import Device, DeviceState
from engine.domain.ids import AccountKey, DeviceId, IntentId, MachineUid
from engine.domain.intents import Intent, IntentKind
from engine.domain.machine import MachineRecord, NodeCondition
from engine.domain.outcome import Code, Problem
from engine.domain.states import PROVISIONING_ORDER, Place
from engine.domain.wanted import (
    MACHINE_FINALIZER,
    NODE_LABEL,
    PRIORITY_ANNOTATION,
    PRIORITY_DEFAULT,
    ClassObject,
    MachineObject,
    NodeObject,
)
from engine.providers.equinix.provider import EquinixMetal
from engine.providers.equinix.spec import UID_TAG_PREFIX
from engine.simulators.clock import VirtualClock
from engine.simulators.metal import PROJECT_ID
from engine.workflow.binding import Binding
from engine.workflow.inventory import Snapshot, snapshot_of
from engine.workflow.policy import Policy
from engine.workflow.step import Context

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
UID = MachineUid("5c1d7a2e-0000-4000-8000-000000000001")
OTHER_UID = MachineUid("5c1d7a2e-0000-4000-8000-000000000002")
NAME = "worker-1"
ONE = DeviceId("6f0a3c1e-4b52-4d0a-9a57-000000000001")
TWO = DeviceId("6f0a3c1e-4b52-4d0a-9a57-000000000002")
THREE = DeviceId("6f0a3c1e-4b52-4d0a-9a57-000000000003")
RESERVATION = "7a0a3c1e-4b52-4d0a-9a57-000000000009"
OTHER_RESERVATION = "7a0a3c1e-4b52-4d0a-9a57-000000000008"
POLICY = Policy()
TAGS = ("kubernetes.io/cluster/shoot", "kubernetes.io/role/node")
SPEC: dict[str, Any] = {
    "projectID": PROJECT_ID,
    "metro": "da",
    "machineType": "c3.small.x86",
    "billingCycle": "hourly",
    "OS": "ubuntu_22_04",
    "tags": list(TAGS),
}
PROVIDER = EquinixMetal(clock=VirtualClock())
FAULT = Problem(code=Code.UNAVAILABLE, message="the cloud is away")
NO_ACCOUNT = Binding(inputs="none", fault=Problem(code=Code.NOT_FOUND, message="Secret key does not exist"))
STARTED = 1000.0
MONOTONIC = 5000.0


def record(place: Place = PROVISIONING_ORDER, **different: Any) -> MachineRecord:
    """A machine at this place."""
    plain: dict[str, Any] = {
        "uid": UID,
        "namespace": "shoot",
        "name": NAME,
        "place": place,
        "version": 1,
        "created_at": NOON,
        "admitted_at": NOON,
        "place_since": NOON,
        "operation_at": NOON,
        "class_name": "workers",
    }
    return MachineRecord(**plain | different)


def machine(**different: Any) -> MachineObject:
    """A Machine that the engine protects and labels already."""
    plain: dict[str, Any] = {
        "uid": UID,
        "namespace": "shoot",
        "name": NAME,
        "resource_version": "1",
        "created_at": NOON,
        "labels": {NODE_LABEL: NAME},
        "annotations": {PRIORITY_ANNOTATION: PRIORITY_DEFAULT},
        "finalizers": (MACHINE_FINALIZER,),
        "class_kind": "MachineClass",
        "class_name": "workers",
    }
    return MachineObject(**plain | different)


def device(device_id: DeviceId = ONE, *, owner: MachineUid | None = UID, **different: Any) -> Device:
    """A device that is up and carries this Machine's tag."""
    tag = (f"{UID_TAG_PREFIX}{owner}",) if owner else ()
    plain: dict[str, Any] = {
        "device_id": device_id,
        "provider_id": f"equinixmetal://da/{device_id}",
        "hostname": NAME,
        "state": DeviceState.ACTIVE,
        "state_text": "active",
        "tags": (*TAGS, *tag),
        "region": "da",
        "created_at": NOON,
    }
    return Device(**plain | different)


def node(*, ready: bool = True, **different: Any) -> NodeObject:
    """A Node, Ready unless told otherwise."""
    status = "True" if ready else "False"
    plain: dict[str, Any] = {
        "uid": "n-1",
        "name": NAME,
        "resource_version": "1",
        "created_at": NOON,
        "conditions": (NodeCondition(type="Ready", status=status, reason="Kubelet"),),
    }
    return NodeObject(**plain | different)


def machine_class(**different: Any) -> ClassObject:
    """A class that is protected."""
    plain: dict[str, Any] = {
        "uid": "c-1",
        "namespace": "shoot",
        "name": "workers",
        "resource_version": "1",
        "provider": "EquinixMetal",
        "provider_spec": SPEC,
        "finalizers": (MACHINE_FINALIZER,),
    }
    return ClassObject(**plain | different)


def binding(*, found: ClassObject | None = None, **spec: Any) -> Binding:
    """An account at the real adapter, which does no I/O until it is called."""
    cloud = PROVIDER.bind(spec=SPEC | spec, secret={"apiToken": b"token-token", "userData": b"#cloud-config"})
    return Binding(
        inputs="v1",
        provider=PROVIDER,
        cloud=cloud,
        returning=cloud,
        class_object=found or machine_class(),
        userdata="#cloud-config",
    )


def snapshot(*devices: Device, started: float = MONOTONIC - 1) -> Snapshot:
    """A complete list that began a second ago."""
    cloud = binding().cloud
    assert cloud
    return snapshot_of(cloud, devices, started=started, finished_at=NOON)


def order(number: int = 1, **different: Any) -> Intent:
    """An order without a result."""
    plain: dict[str, Any] = {
        "intent_id": IntentId(f"{UID}/order/{number}"),
        "uid": UID,
        "kind": IntentKind.ORDER,
        "written_at": NOON,
    }
    return Intent(**plain | different)


def release(device_id: DeviceId = ONE) -> Intent:
    """A return without a result."""
    intent_id = IntentId(f"{UID}/release/{device_id}/1")
    return Intent(intent_id=intent_id, uid=UID, kind=IntentKind.RELEASE, written_at=NOON, device_id=device_id)


def context(of: MachineRecord | None = None, *, shown: Sequence[Device] | None = (), **different: Any) -> Context:
    """What a step sees a minute after the machine's birth; `shown` is the list, None when there was none yet."""
    plain: dict[str, Any] = {
        "record": of or record(),
        "machine": machine(),
        "absent_for": timedelta(0),
        "none_shown": False,
        "back_for": timedelta(0),
        "binding": binding(),
        "snapshot": None if shown is None else snapshot(*shown),
        "list_problem": None,
        "node": None,
        "has_target": True,
        "open_order": None,
        "doubt_since": 0.0,
        "released_since": {},
        "denied_since": {},
        "shown_before": frozenset(),
        "order_barred": None,
        "admitted_here": True,
        "may_delete": True,
        "started": STARTED,
        "now": NOON + timedelta(minutes=1),
        "monotonic": MONOTONIC,
        "policy": POLICY,
    }
    return Context(**plain | different)


def later(before: Context, span: timedelta) -> Context:
    """The same context after a while."""
    return replace(before, now=before.now + span, monotonic=before.monotonic + span.total_seconds())


ACCOUNT: AccountKey = snapshot().account
