"""JSON as others write it, and the patches that we write."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from engine.cluster import objects
from engine.domain.device import Address
from engine.domain.machine import NodeCondition
from engine.domain.phase import LastOperation, MachineStatus
from engine.domain.wanted import MachineObject, SecretReference
from tests.unit.cluster.stub import Json, machine

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def read(found: Json) -> MachineObject:
    return objects.read_machine(json.dumps(found).encode())


def test_everything_null_is_read_as_nothing_said() -> None:
    """Null in every place where Go writes it reads as absent."""
    found = machine(metadata={"labels": None, "annotations": None, "finalizers": None, "deletionTimestamp": None})
    found["spec"] = {"class": None, "providerID": None, "creationTimeout": None}
    found["status"] = {
        "currentStatus": {"lastUpdateTime": None},
        "lastOperation": {"lastUpdateTime": None},
        "conditions": None,
    }
    read_back = read(found)
    assert read_back.labels == {}
    assert read_back.finalizers == ()
    assert read_back.class_name == ""
    assert read_back.creation_timeout is None
    assert read_back.status is None
    assert read({**found, "spec": None, "status": None}).status is None


def test_status_is_read_with_odd_times_left_out() -> None:
    """Go's zero time and what is no time are None; the rest of the status stays."""
    status = {
        "currentStatus": {"phase": "Running", "lastUpdateTime": "0001-01-01T00:00:00Z"},
        "lastOperation": {"description": "d", "lastUpdateTime": "yesterday"},
        "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-02T04:04:05+01:00"}],
        "addresses": [{"type": "Hostname", "address": "h"}],
    }
    assert read(machine(status=status)).status == MachineStatus(
        phase="Running",
        phase_at=None,
        operation=LastOperation(type="", state="", description="d", at=None),
        conditions=(NodeCondition(type="Ready", status="True", last_heartbeat_at=AT),),
        addresses=(Address(kind="Hostname", address="h"),),
    )


def test_an_odd_timeout_is_ignored_and_the_annotation_outranks(caplog: pytest.LogCaptureFixture) -> None:
    """The annotation goes before the spec; one that cannot be read is said once and ignored."""
    annotation = {"annotations": {objects.TIMEOUT_ANNOTATION: "30m"}}
    found = machine(spec={"creationTimeout": "20m0s"})
    assert read(found).creation_timeout == timedelta(minutes=20)
    assert read(machine(spec={"creationTimeout": "20m"}, metadata=annotation)).creation_timeout == timedelta(minutes=30)
    for _ in range(3):
        assert read(machine(spec={"creationTimeout": "half an hour"})).creation_timeout is None
    assert [record.message for record in caplog.records] == ["creation timeout of a Machine is ignored"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"uid": ""},
        {"name": ""},
        {"creationTimestamp": None},
        {"creationTimestamp": "soon"},
        {"deletionTimestamp": "soon"},
        {"labels": 5},
    ],
)
def test_what_cannot_be_left_out_makes_the_object_unreadable(metadata: Json) -> None:
    """Without identity or age there is no Machine, and an odd deletion is not read as none."""
    with pytest.raises((ValueError, msgspec.DecodeError)):
        read(machine(metadata=metadata))


@pytest.mark.parametrize(
    ("spec", "expected"), [(None, None), ("text", None), ([], None), ({}, {}), ({"a": [1]}, {"a": [1]})]
)
def test_a_provider_spec_is_an_object_or_nothing(spec: Any, expected: Any) -> None:
    """Anything but an object counts as missing."""
    found = {
        **machine("c"),
        "provider": None,
        "providerSpec": spec,
        "secretRef": {"name": None},
        "credentialsSecretRef": None,
    }
    read_back = objects.read_class(json.dumps(found).encode())
    assert read_back.provider_spec == expected
    assert (read_back.provider, read_back.secret, read_back.credentials_secret) == ("", None, None)


def test_references_and_secrets_are_read() -> None:
    """Names, namespaces and decoded data come through; data of null is left out."""
    found = {**machine("c"), "secretRef": {"name": "s", "namespace": "n"}}
    assert objects.read_class(json.dumps(found).encode()).secret == SecretReference(namespace="n", name="s")
    secret = {**machine("s"), "data": {"token": "dA==", "empty": "", "none": None}, "type": "Opaque"}
    assert objects.read_secret(json.dumps(secret).encode()).data == {"token": b"t", "empty": b""}
    assert objects.read_secret(json.dumps({**machine("s"), "data": None}).encode()).data == {}


def test_a_node_without_spec_and_status_is_read() -> None:
    """A Node that nobody has filled in yet is no error."""
    node = objects.read_node(json.dumps({"metadata": machine("n")["metadata"]}).encode())
    assert (node.provider_id, node.conditions) == ("", ())


def test_a_status_patch_names_our_fields_only() -> None:
    """Times are in whole seconds; an empty error code is null; equal lists and foreign lists are not named."""
    operation = LastOperation(type="Create", state="Failed", description="d", at=AT.replace(microsecond=9))
    status = MachineStatus(
        phase="Failed", phase_at=None, operation=operation, conditions=(NodeCondition(type="A", status="B"),)
    )
    assert objects.status_patch(status, status, target=True) == {
        "currentStatus": {"phase": "Failed", "timeoutActive": False, "lastUpdateTime": None},
        "lastOperation": {
            "type": "Create",
            "state": "Failed",
            "description": "d",
            "errorCode": None,
            "lastUpdateTime": "2026-01-02T03:04:05Z",
        },
    }
    assert "conditions" in objects.status_patch(status, None, target=True)
    assert "addresses" not in objects.status_patch(status, None, target=True)
    assert "addresses" in objects.status_patch(status, None, target=False)
    assert "conditions" not in objects.status_patch(status, None, target=False)
