"""What every cluster must keep, said against the port alone; `test_cluster.py` runs it on each API server."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from engine.domain.device import Address
from engine.domain.ids import MachineUid
from engine.domain.machine import NodeCondition
from engine.domain.phase import LastOperation, MachineStatus
from engine.domain.wanted import MACHINE_FINALIZER, SECRET_FINALIZER, MachineObject, NodeObject, SecretReference
from engine.ports.cluster import (
    ConflictError,
    EventKind,
    Kind,
    MachineEvent,
    MachinePatch,
    ObjectGoneError,
    ObjectRefusedError,
)
from tests.contract.cluster_user import Json, Stage, eventually

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
OTHER_FINALIZER = "example.org/other"
GO_NODE_FINALIZER = "node.machine.sapcloud.io/machine-controller"
DEVICE = "0a1b2c3d-0000-4000-8000-00000000000d"
PENDING = MachineStatus(
    phase="Pending",
    phase_at=AT,
    timeout_active=True,
    operation=LastOperation(type="Create", state="Processing", description="Creating machine", at=AT),
)
FAILED = MachineStatus(
    phase="Failed",
    phase_at=AT,
    operation=LastOperation(type="Create", state="Failed", description="no", at=AT, error_code="ResourceExhausted"),
)
CONDITION = NodeCondition(
    type="Ready", status="True", reason="KubeletReady", message="ok", last_transition_at=AT, last_heartbeat_at=AT
)


def machine_of(stage: Stage, name: str = "m", *, finalizers: tuple[str, ...] = (), **more: Json) -> MachineObject:
    """A Machine that a user made and the cluster has seen."""
    made = stage.user.make_machine(name, finalizers=finalizers, **more)
    return seen(stage, made)


def seen(stage: Stage, made: Json) -> MachineObject:
    """The Machine as the cluster shows it once the watch has caught up."""
    meta = made["metadata"]

    def current() -> MachineObject | None:
        found = stage.cluster.machine(MachineUid(meta["uid"]))
        return found if found and int(found.resource_version) >= int(meta["resourceVersion"]) else None

    eventually(current)
    found = current()
    assert found
    return found


def node_of(stage: Stage, name: str = "n", *, provider_id: str = "", finalizers: tuple[str, ...] = ()) -> NodeObject:
    """A Node that a user made and the cluster has seen."""
    stage.user.make_node(name, provider_id=provider_id, finalizers=finalizers)
    full = stage.user.node_name(name)
    stage.changes.wait_for(Kind.NODE, full)
    found = stage.cluster.node(name=full, device_suffix="")
    assert found
    return found


def recreate(stage: Stage, name: str = "m") -> Json:
    """The Machine is gone, and another one has its name."""
    stage.user.patch("machines", name, {"metadata": {"finalizers": None}})
    stage.user.delete("machines", name)
    eventually(lambda: not stage.user.exists("machines", name))
    return stage.user.make_machine(name)


class ReadContract:
    """What reads promise."""

    def test_everything_is_listed_before_it_is_synced(self, stage: Stage) -> None:
        """After `synced` says yes, what was there at the start is readable, and the watches are not blind."""
        assert stage.cluster.synced()
        assert stage.cluster.blind_for() < timedelta(minutes=1)
        early = stage.cluster.machine_named("early")
        assert early
        assert early in stage.cluster.machines()
        assert stage.cluster.machine(early.uid) == early

    def test_unknown_names_answer_none(self, stage: Stage) -> None:
        """What is not there is None and not an error."""
        assert stage.cluster.machine(MachineUid("nobody")) is None
        assert stage.cluster.machine_named("nobody") is None
        assert stage.cluster.machine_class("nothing") is None
        assert stage.cluster.secret(SecretReference(namespace="", name="nothing")) is None

    def test_a_machine_is_read_completely(self, stage: Stage) -> None:
        """Each field of the Machine object says what the API server holds."""
        made = stage.user.make_machine(
            "whole",
            finalizers=(OTHER_FINALIZER,),
            metadata={"labels": {"node": "n-1"}, "annotations": {"a": "b"}},
            spec={"providerID": f"equinixmetal://da/{DEVICE}", "creationTimeout": "1h30m"},
        )
        machine = seen(stage, made)
        assert machine.name == "whole"
        assert machine.namespace == stage.user.namespace
        assert machine.resource_version == made["metadata"]["resourceVersion"]
        assert machine.created_at == datetime.fromisoformat(made["metadata"]["creationTimestamp"])
        assert machine.deletion_requested_at is None
        assert (machine.labels, machine.annotations) == ({"node": "n-1"}, {"a": "b"})
        assert machine.finalizers == (OTHER_FINALIZER,)
        assert (machine.class_kind, machine.class_name) == ("MachineClass", "small")
        assert machine.provider_id == f"equinixmetal://da/{DEVICE}"
        assert machine.creation_timeout == timedelta(minutes=90)
        assert machine.status is None

    def test_objects_are_immutable(self, stage: Stage) -> None:
        """A reader cannot change what another reader sees."""
        machine = machine_of(stage)
        with pytest.raises(dataclasses.FrozenInstanceError):
            machine.name = "other"  # type: ignore[misc]  # that is the point

    def test_the_listener_hears_of_a_machine_from_birth_to_end(self, stage: Stage) -> None:
        """Creation, change and deletion each reach the listener with namespace and name."""
        stage.user.make_machine("m")
        change = stage.changes.wait_for(Kind.MACHINE, "m")
        assert change.namespace == stage.user.namespace
        stage.changes.forget()
        stage.user.patch("machines", "m", {"metadata": {"labels": {"a": "b"}}})
        stage.changes.wait_for(Kind.MACHINE, "m")
        found = stage.cluster.machine_named("m")
        assert found
        assert found.labels == {"a": "b"}
        stage.user.delete("machines", "m")
        stage.changes.wait_for(Kind.MACHINE, "m", deleted=True)
        assert stage.cluster.machine_named("m") is None

    def test_a_wanted_deletion_is_seen(self, stage: Stage) -> None:
        """A Machine that finalizers hold back shows when its deletion was asked for."""
        machine_of(stage, finalizers=(MACHINE_FINALIZER,))
        stage.user.delete("machines", "m")
        eventually(lambda: (found := stage.cluster.machine_named("m")) and found.deletion_requested_at)

    def test_another_namespace_is_not_ours(self, stage: Stage) -> None:
        """Machines, classes and Secrets of other namespaces are not there."""
        machine_of(stage)
        assert {machine.namespace for machine in stage.cluster.machines()} == {stage.user.namespace}
        assert stage.cluster.machine_named("stranger") is None
        assert stage.cluster.secret(SecretReference(namespace="elsewhere", name="key")) is None

    def test_a_class_is_read_completely(self, stage: Stage) -> None:
        """A MachineClass shows its provider, its raw specification and its references."""
        stage.user.make_class(
            "small",
            secretRef={"name": "key", "namespace": stage.user.namespace},
            credentialsSecretRef={"name": "cloud"},
        )
        stage.changes.wait_for(Kind.CLASS, "small")
        found = stage.cluster.machine_class("small")
        assert found
        assert found in stage.cluster.machine_classes()
        assert found.provider == "EquinixMetal"
        assert found.provider_spec == {"metro": "da", "tags": ["a", "b"]}
        assert found.secret == SecretReference(namespace=stage.user.namespace, name="key")
        assert found.credentials_secret == SecretReference(namespace="", name="cloud")

    def test_only_secrets_that_concern_us_are_listed(self, stage: Stage) -> None:
        """A Secret counts when a class names it, also if it was there before, or when it carries our finalizer."""
        stage.user.make_secret("key", token="t")
        stage.user.make_secret("ours", finalizers=(SECRET_FINALIZER,), token="o")
        stage.user.make_secret("foreign", token="f")
        for name in ("key", "ours", "foreign"):
            stage.changes.wait_for(Kind.SECRET, name)
        assert [secret.name for secret in stage.cluster.secrets()] == ["ours"]
        stage.user.make_class("small", secretRef={"name": "key", "namespace": stage.user.namespace})
        stage.changes.wait_for(Kind.CLASS, "small")
        assert {secret.name: dict(secret.data) for secret in stage.cluster.secrets()} == {
            "key": {"token": b"t"},
            "ours": {"token": b"o"},
        }

    def test_a_secret_is_read_by_reference(self, stage: Stage) -> None:
        """The data is decoded; no namespace means ours; nothing of it is printed."""
        stage.user.make_class("small", secretRef={"name": "key"})
        stage.changes.wait_for(Kind.CLASS, "small")
        stage.user.make_secret("key", token="canary-9d")
        stage.changes.wait_for(Kind.SECRET, "key")
        for namespace in ("", stage.user.namespace):
            secret = stage.cluster.secret(SecretReference(namespace=namespace, name="key"))
            assert secret
            assert secret.data == {"token": b"canary-9d"}
            assert "canary-9d" not in repr(secret)

    def test_a_changed_secret_is_told_and_read_anew(self, stage: Stage) -> None:
        """New credentials reach the reader and the listener."""
        stage.user.make_class("small", secretRef={"name": "key"})
        stage.user.make_secret("key", token="old")
        stage.changes.wait_for(Kind.SECRET, "key")
        stage.changes.forget()
        stage.user.patch("secrets", "key", {"stringData": {"token": "new"}})
        stage.changes.wait_for(Kind.SECRET, "key")
        secret = stage.cluster.secret(SecretReference(namespace="", name="key"))
        assert secret
        assert secret.data == {"token": b"new"}

    def test_a_node_is_found_by_name(self, stage: Stage) -> None:
        """The Node of the name is answered, and its change has no namespace."""
        node = node_of(stage, provider_id=f"equinixmetal://{DEVICE}")
        assert stage.changes.wait_for(Kind.NODE, node.name).namespace == ""
        assert stage.cluster.node(name=node.name, device_suffix=DEVICE) == node
        assert node.labels["made-by"] == "test"
        assert not node.ready

    def test_a_node_is_found_by_device(self, stage: Stage) -> None:
        """A Node of another name is answered when its providerID ends in the device id, whatever stands before it."""
        node = node_of(stage, provider_id=f"equinixmetal://da/{stage.user.namespace}-{DEVICE}")
        found = stage.cluster.node(name="no-such-node", device_suffix=f"{stage.user.namespace}-{DEVICE}")
        assert found == node

    def test_somebody_elses_node_of_the_same_name_is_not_answered(self, stage: Stage) -> None:
        """A Node of the name whose providerID ends in another device id is not ours."""
        node = node_of(stage, provider_id="equinixmetal://another-device")
        assert stage.cluster.node(name=node.name, device_suffix=DEVICE) is None

    def test_a_ready_node_is_seen(self, stage: Stage) -> None:
        """The conditions of the Node are read, and a change of them is told."""
        node = node_of(stage)
        stage.changes.forget()
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok"}
        stage.user.patch("nodes", node.name, {"status": {"conditions": [condition]}}, "/status")
        stage.changes.wait_for(Kind.NODE, node.name)
        found = stage.cluster.node(name=node.name, device_suffix="")
        assert found
        assert found.ready

    def test_stop_ends_all_threads(self, stage: Stage) -> None:
        """After `stop` no thread of the cluster runs, and the listener hears nothing more."""
        before = {thread.name for thread in threading.enumerate() if thread.name.startswith(("watch-", "events"))}
        stage.cluster.stop()
        after = {thread.name for thread in threading.enumerate() if thread.name.startswith(("watch-", "events"))}
        assert before
        assert not after


class WriteContract:
    """What writes promise."""

    def test_a_patch_changes_what_it_names_and_nothing_else(self, stage: Stage) -> None:
        """Labels, annotations and the providerID are set; other labels, the class and the timeout stay."""
        machine = machine_of(stage, metadata={"labels": {"keep": "me"}}, spec={"creationTimeout": "5m"})
        before = stage.user.get("machines", "m")
        patch = MachinePatch(labels={"node": "n-1"}, annotations={"priority": "3"}, provider_id="equinixmetal://da/1")
        after = stage.cluster.patch_machine(machine, patch)
        assert after.labels == {"keep": "me", "node": "n-1"}
        assert after.annotations == {"priority": "3"}
        assert after.provider_id == "equinixmetal://da/1"
        assert after.finalizers == ()
        now = stage.user.get("machines", "m")
        assert now["spec"] == {**before["spec"], "providerID": "equinixmetal://da/1"}

    def test_the_answer_of_a_write_is_readable_at_once(self, stage: Stage) -> None:
        """The cache holds the answer when the method returns."""
        machine = machine_of(stage)
        for number in range(20):
            after = stage.cluster.patch_machine(machine, MachinePatch(labels={"number": str(number)}))
            assert stage.cluster.machine(machine.uid) == after
            assert after.labels == {"number": str(number)}
            status = dataclasses.replace(PENDING, phase_at=AT + timedelta(seconds=number))
            after = stage.cluster.write_status(machine, status)
            assert stage.cluster.machine(machine.uid) == after
            assert after.status == status

    def test_an_empty_patch_changes_nothing(self, stage: Stage) -> None:
        """None and empty mean "leave as it is"."""
        machine = machine_of(stage)
        assert stage.cluster.patch_machine(machine, MachinePatch()) == machine
        assert stage.user.get("machines", "m")["metadata"]["resourceVersion"] == machine.resource_version

    def test_the_finalizer_is_added_beside_others(self, stage: Stage) -> None:
        """Our finalizer is there once, the others stay, and adding it again changes nothing."""
        machine = machine_of(stage, finalizers=(OTHER_FINALIZER,))
        after = stage.cluster.patch_machine(machine, MachinePatch(add_finalizer=True, labels={"a": "b"}))
        assert after.finalizers == (OTHER_FINALIZER, MACHINE_FINALIZER)
        assert after.labels == {"a": "b"}
        again = stage.cluster.patch_machine(after, MachinePatch(add_finalizer=True))
        assert again.resource_version == after.resource_version

    def test_changed_finalizers_are_a_conflict(self, stage: Stage) -> None:
        """Whoever read before another finalizer came has to read again, and nothing is lost."""
        machine = machine_of(stage)
        stage.user.patch("machines", "m", {"metadata": {"finalizers": [OTHER_FINALIZER]}})
        with pytest.raises(ConflictError):
            stage.cluster.patch_machine(machine, MachinePatch(add_finalizer=True))
        assert stage.user.get("machines", "m")["metadata"]["finalizers"] == [OTHER_FINALIZER]
        eventually(lambda: (found := stage.cluster.machine_named("m")) and found.finalizers)
        current = stage.cluster.machine_named("m")
        assert current
        after = stage.cluster.patch_machine(current, MachinePatch(add_finalizer=True))
        assert set(after.finalizers) == {OTHER_FINALIZER, MACHINE_FINALIZER}

    def test_other_changes_are_no_conflict(self, stage: Stage) -> None:
        """A label that somebody set in between does not disturb the finalizer, and stays."""
        machine = machine_of(stage)
        stage.user.patch("machines", "m", {"metadata": {"labels": {"by": "user"}}})
        after = stage.cluster.patch_machine(machine, MachinePatch(add_finalizer=True))
        assert after.finalizers == (MACHINE_FINALIZER,)
        assert after.labels == {"by": "user"}

    def test_patching_what_is_gone_says_so(self, stage: Stage) -> None:
        """ObjectGoneError, with and without the finalizer in the patch."""
        machine = machine_of(stage)
        stage.user.delete("machines", "m")
        for patch in (MachinePatch(labels={"a": "b"}), MachinePatch(add_finalizer=True)):
            with pytest.raises(ObjectGoneError):
                stage.cluster.patch_machine(machine, patch)

    def test_another_machine_of_the_same_name_is_left_alone(self, stage: Stage) -> None:
        """A write for the former owner of a name is ObjectGoneError and changes nothing."""
        machine = machine_of(stage)
        successor = recreate(stage)
        for patch in (MachinePatch(labels={"a": "b"}), MachinePatch(add_finalizer=True)):
            with pytest.raises(ObjectGoneError):
                stage.cluster.patch_machine(machine, patch)
        with pytest.raises(ObjectGoneError):
            stage.cluster.write_status(machine, FAILED)
        stage.cluster.drop_finalizer(dataclasses.replace(machine, finalizers=(MACHINE_FINALIZER,)))
        now = stage.user.get("machines", "m")
        assert now["metadata"]["uid"] == successor["metadata"]["uid"]
        assert now["metadata"]["resourceVersion"] == successor["metadata"]["resourceVersion"]

    def test_an_invalid_patch_is_refused(self, stage: Stage) -> None:
        """What the API server calls invalid is a fault of ours and says so."""
        machine = machine_of(stage)
        with pytest.raises(ObjectRefusedError):
            stage.cluster.patch_machine(machine, MachinePatch(labels={"a": "no blanks, please"}))

    def test_status_is_written_and_read_back(self, stage: Stage) -> None:
        """What was written is what is read, and an error code goes when it is empty."""
        machine = machine_of(stage)
        assert stage.cluster.write_status(machine, FAILED).status == FAILED
        after = stage.cluster.write_status(machine, PENDING)
        assert after.status == PENDING
        written = stage.user.get("machines", "m")["status"]
        assert written == {
            "currentStatus": {"phase": "Pending", "timeoutActive": True, "lastUpdateTime": "2026-03-04T05:06:07Z"},
            "lastOperation": {
                "type": "Create",
                "state": "Processing",
                "description": "Creating machine",
                "lastUpdateTime": "2026-03-04T05:06:07Z",
            },
        } | {key: written[key] for key in written.keys() & {"conditions", "addresses"}}

    def test_status_fields_of_others_stay(self, stage: Stage) -> None:
        """The driver's state and the end of preservation survive our writes."""
        machine = machine_of(stage)
        theirs = {"lastKnownState": "blob", "currentStatus": {"preserveExpiryTime": "2027-01-01T00:00:00Z"}}
        stage.user.patch("machines", "m", {"status": theirs}, "/status")
        stage.cluster.write_status(machine, PENDING)
        written = stage.user.get("machines", "m")["status"]
        assert written["lastKnownState"] == "blob"
        assert written["currentStatus"]["preserveExpiryTime"] == "2027-01-01T00:00:00Z"

    def test_status_needs_no_fresh_reading(self, stage: Stage) -> None:
        """A Machine that somebody labelled in between is no conflict."""
        machine = machine_of(stage)
        stage.user.patch("machines", "m", {"metadata": {"labels": {"by": "user"}}})
        after = stage.cluster.write_status(machine, PENDING)
        assert after.status == PENDING
        assert after.labels == {"by": "user"}

    def test_conditions_go_with_a_target(self, stage: Stage) -> None:
        """With a target cluster, conditions are mirrored, and taken back; addresses are left alone."""
        assert stage.cluster.has_target
        machine = machine_of(stage)
        status = dataclasses.replace(
            PENDING, conditions=(CONDITION,), addresses=(Address(kind="InternalIP", address="10.0.0.1"),)
        )
        after = stage.cluster.write_status(machine, status)
        assert after.status == dataclasses.replace(status, addresses=())
        assert stage.cluster.write_status(machine, PENDING).status == PENDING

    def test_status_of_what_is_gone_says_so(self, stage: Stage) -> None:
        """ObjectGoneError when the Machine is gone."""
        machine = machine_of(stage)
        stage.user.delete("machines", "m")
        with pytest.raises(ObjectGoneError):
            stage.cluster.write_status(machine, PENDING)

    def test_dropping_the_finalizer_lets_the_machine_go(self, stage: Stage) -> None:
        """The Machine is gone at once, for us too; the listener hears it, and to repeat it is no error."""
        machine = machine_of(stage, finalizers=(MACHINE_FINALIZER,))
        stage.user.delete("machines", "m")
        eventually(lambda: (found := stage.cluster.machine(machine.uid)) and found.deletion_requested_at)
        dying = stage.cluster.machine(machine.uid)
        assert dying
        stage.cluster.drop_finalizer(dying)
        assert not stage.user.exists("machines", "m")
        assert stage.cluster.machine(machine.uid) is None
        stage.changes.wait_for(Kind.MACHINE, "m", deleted=True)
        assert stage.cluster.machine(machine.uid) is None
        stage.cluster.drop_finalizer(dying)

    def test_finalizers_of_others_survive_the_drop(self, stage: Stage) -> None:
        """Only ours goes, also from a Machine that nobody deletes; to repeat it is no error."""
        machine = machine_of(stage, finalizers=(OTHER_FINALIZER, MACHINE_FINALIZER))
        stage.cluster.drop_finalizer(machine)
        stage.cluster.drop_finalizer(machine)
        assert stage.user.get("machines", "m")["metadata"]["finalizers"] == [OTHER_FINALIZER]

    def test_a_drop_after_a_change_is_a_conflict(self, stage: Stage) -> None:
        """Who decided on an older Machine has to decide again."""
        machine = machine_of(stage, finalizers=(MACHINE_FINALIZER,))
        stage.user.patch("machines", "m", {"metadata": {"labels": {"wait": "please"}}})
        with pytest.raises(ConflictError):
            stage.cluster.drop_finalizer(machine)
        assert stage.user.get("machines", "m")["metadata"]["finalizers"] == [MACHINE_FINALIZER]

    def test_a_class_is_protected_and_released(self, stage: Stage) -> None:
        """Our finalizer comes and goes, twice changes nothing, and others' stay."""
        stage.user.make_class("small", metadata={"name": "small", "finalizers": [OTHER_FINALIZER]})
        stage.changes.wait_for(Kind.CLASS, "small")
        found = stage.cluster.machine_class("small")
        assert found
        for _ in range(2):
            stage.cluster.protect_class(found, protected=True)
            expected = [OTHER_FINALIZER, MACHINE_FINALIZER]
            assert stage.user.get("machineclasses", "small")["metadata"]["finalizers"] == expected
        for _ in range(2):
            stage.cluster.protect_class(found, protected=False)
            assert stage.user.get("machineclasses", "small")["metadata"]["finalizers"] == [OTHER_FINALIZER]

    def test_a_class_changed_in_between_is_protected_all_the_same(self, stage: Stage) -> None:
        """No conflict reaches the caller."""
        stage.user.make_class("small")
        stage.changes.wait_for(Kind.CLASS, "small")
        found = stage.cluster.machine_class("small")
        assert found
        stage.user.patch("machineclasses", "small", {"metadata": {"labels": {"a": "b"}}})
        stage.cluster.protect_class(found, protected=True)
        now = stage.user.get("machineclasses", "small")["metadata"]
        assert now["finalizers"] == [MACHINE_FINALIZER]
        assert now["labels"] == {"a": "b"}

    def test_a_secret_is_protected_and_released(self, stage: Stage) -> None:
        """A protected Secret stays until released; its data is never touched; a gone one needs no release."""
        stage.user.make_class("small", secretRef={"name": "key"})
        stage.changes.wait_for(Kind.CLASS, "small")
        stage.user.make_secret("key", token="t")
        stage.changes.wait_for(Kind.SECRET, "key")
        secret = stage.cluster.secret(SecretReference(namespace="", name="key"))
        assert secret
        data = stage.user.get("secrets", "key")["data"]
        stage.cluster.protect_secret(secret, protected=True)
        stage.cluster.protect_secret(secret, protected=True)
        assert stage.user.get("secrets", "key")["metadata"]["finalizers"] == [SECRET_FINALIZER]
        assert stage.user.get("secrets", "key")["data"] == data
        stage.user.delete("secrets", "key")
        assert stage.user.exists("secrets", "key")
        stage.cluster.protect_secret(secret, protected=False)
        assert not stage.user.exists("secrets", "key")
        stage.cluster.protect_secret(secret, protected=False)
        with pytest.raises(ObjectGoneError):
            stage.cluster.protect_secret(secret, protected=True)

    def test_a_node_is_deleted(self, stage: Stage) -> None:
        """The Node goes, and to repeat it is no error."""
        node = node_of(stage)
        stage.cluster.delete_node(node)
        assert not stage.user.exists("nodes", node.name)
        stage.changes.wait_for(Kind.NODE, node.name, deleted=True)
        assert stage.cluster.node(name=node.name, device_suffix="") is None
        stage.cluster.delete_node(node)

    def test_another_node_of_the_same_name_is_left_alone(self, stage: Stage) -> None:
        """Only exactly this Node is deleted."""
        node = node_of(stage)
        stage.cluster.delete_node(dataclasses.replace(node, uid="00000000-0000-4000-8000-000000000000"))
        assert stage.user.get("nodes", node.name)["metadata"]["uid"] == node.uid

    def test_the_go_controllers_finalizer_does_not_hold_a_node(self, stage: Stage) -> None:
        """A Node that the Go controller marked goes all the same."""
        node = node_of(stage, finalizers=(GO_NODE_FINALIZER,))
        stage.cluster.delete_node(node)
        eventually(lambda: not stage.user.exists("nodes", node.name))

    def test_finalizers_of_others_hold_a_node(self, stage: Stage) -> None:
        """A Node that somebody else still needs stays until he lets it go."""
        node = node_of(stage, finalizers=(OTHER_FINALIZER, GO_NODE_FINALIZER))
        for _ in range(2):
            stage.cluster.delete_node(node)
            meta = stage.user.get("nodes", node.name)["metadata"]
            assert meta["finalizers"] == [OTHER_FINALIZER]
            assert meta["deletionTimestamp"]

    def test_an_event_is_written_once(self, stage: Stage) -> None:
        """`kubectl describe` shows the event; the same key again changes nothing, another key does."""
        machine = machine_of(stage)
        first = MachineEvent(
            machine=machine, kind=EventKind.WARNING, reason="OutOfCapacity", message="no server free", key="order-1"
        )
        stage.cluster.announce(first)
        stage.cluster.announce(first)
        stage.cluster.announce(dataclasses.replace(first, key="order-2", message="still none"))
        eventually(lambda: len(stage.user.events_of("m")) == 2)
        event = next(found for found in stage.user.events_of("m") if found["message"] == "no server free")
        assert (event["type"], event["reason"]) == ("Warning", "OutOfCapacity")
        assert event["involvedObject"] == {
            "apiVersion": "machine.sapcloud.io/v1alpha1",
            "kind": "Machine",
            "namespace": stage.user.namespace,
            "name": "m",
            "uid": machine.uid,
        }
        assert event["source"]["component"] == "machine-controller"

    def test_events_that_are_queued_are_written_before_the_end(self, stage: Stage) -> None:
        """`stop` lets the last news go out."""
        machine = machine_of(stage)
        for number in range(5):
            key = f"step-{number}"
            event = MachineEvent(machine=machine, kind=EventKind.NORMAL, reason="Step", message=key, key=key)
            stage.cluster.announce(event)
        stage.cluster.stop()
        assert len(stage.user.events_of("m")) == 5

    def test_many_threads_write_at_once(self, stage: Stage) -> None:
        """Eight threads write to their Machines and read back what they wrote."""
        machines = [machine_of(stage, f"m-{number}") for number in range(8)]

        def work(machine: MachineObject) -> None:
            for turn in range(5):
                label = {"turn": str(turn)}
                stage.cluster.patch_machine(machine, MachinePatch(labels=label, add_finalizer=turn == 0))
                after = stage.cluster.write_status(machine, PENDING)
                assert after.labels == label
                assert after.finalizers == (MACHINE_FINALIZER,)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, machines))


class ClusterContract(ReadContract, WriteContract):
    """Everything that the port promises with a target cluster."""


class LonelyClusterContract:
    """What is different without a target cluster."""

    def test_there_are_no_nodes(self, lonely: Stage) -> None:
        """Without a target there is no Node, whatever the control cluster holds."""
        lonely.user.make_node("n", provider_id=DEVICE)
        machine_of(lonely)
        assert not lonely.cluster.has_target
        assert lonely.cluster.node(name=lonely.user.node_name("n"), device_suffix=DEVICE) is None

    def test_addresses_go_without_a_target(self, lonely: Stage) -> None:
        """Without a target cluster, addresses are published and conditions are left alone."""
        machine = machine_of(lonely)
        addresses = (Address(kind="Hostname", address="m"), Address(kind="InternalIP", address="10.0.0.1"))
        status = dataclasses.replace(PENDING, conditions=(CONDITION,), addresses=addresses)
        after = lonely.cluster.write_status(machine, status)
        assert after.status == dataclasses.replace(status, conditions=())
