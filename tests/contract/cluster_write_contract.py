"""What writing to any cluster promises, said against the port alone."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from engine.domain.device import Address
from engine.domain.wanted import MACHINE_FINALIZER, SECRET_FINALIZER, MachineObject, SecretReference
from engine.ports.cluster import (
    ConflictError,
    EventKind,
    Kind,
    MachineEvent,
    MachinePatch,
    ObjectGoneError,
    ObjectRefusedError,
)
from tests.contract.cluster_stage import (
    AT,
    CONDITION,
    FAILED,
    GO_NODE_FINALIZER,
    OTHER_FINALIZER,
    PENDING,
    Stage,
    eventually,
    machine_of,
    node_of,
    recreate,
)


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
