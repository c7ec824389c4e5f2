"""What reading from any cluster promises, said against the port alone."""

import dataclasses
import threading
from datetime import datetime, timedelta

import pytest

from engine.domain.ids import MachineUid
from engine.domain.wanted import MACHINE_FINALIZER, SECRET_FINALIZER, SecretReference
from engine.ports.cluster import (
    Kind,
)
from tests.contract.cluster_stage import (
    DEVICE,
    OTHER_FINALIZER,
    Stage,
    eventually,
    machine_of,
    node_of,
    seen,
)


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
