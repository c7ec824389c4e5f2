"""What people, MCM and kubelets do to a simulated cluster: they create, change and delete, and see the truth."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.clock import Clock
from engine.domain.ids import MachineUid
from engine.domain.machine import NodeCondition
from engine.domain.wanted import ClassObject, MachineObject, NodeObject, SecretObject, SecretReference
from engine.simulators.cluster.shelf import Shelf, T


class ClusterUser:
    """Everybody but the engine. What it writes reaches the engine through the watch, that is, after its lag."""

    def __init__(self, shelf: Shelf, clock: Clock) -> None:
        self._shelf = shelf
        self._clock = clock

    def make_machine(self, name: str, *, class_name: str, **more: Any) -> MachineObject:
        """Create a Machine; any field of the object can be given."""
        fields: dict[str, Any] = {
            "uid": MachineUid(self._shelf.uid()),
            "namespace": self._shelf.namespace,
            "name": name,
            "resource_version": "",
            "created_at": self._clock.now().replace(microsecond=0),
            "class_kind": "MachineClass",
            "class_name": class_name,
        }
        return self._shelf.put(MachineObject(**fields | more))

    def make_class(self, name: str, *, secret: str, spec: Mapping[str, Any], **more: Any) -> ClassObject:
        """Create a MachineClass that names this Secret, if any, or put it in the place of the one of that name."""
        held = self._shelf.true(ClassObject, name)
        fields: dict[str, Any] = {
            "uid": held.uid if held else self._shelf.uid(),
            "namespace": self._shelf.namespace,
            "name": name,
            "resource_version": "",
            "provider": "EquinixMetal",
            "provider_spec": dict(spec),
            "secret": SecretReference(namespace=self._shelf.namespace, name=secret) if secret else None,
            "finalizers": held.finalizers if held else (),
        }
        return self._shelf.put(ClassObject(**fields | more))

    def make_secret(self, name: str, values: Mapping[str, bytes]) -> SecretObject:
        """Create a Secret, or change what is in it."""
        held = self._shelf.true(SecretObject, name)
        secret = SecretObject(
            uid=held.uid if held else self._shelf.uid(),
            namespace=self._shelf.namespace,
            name=name,
            resource_version="",
            data=dict(values),
            finalizers=held.finalizers if held else (),
        )
        return self._shelf.put(secret)

    def make_node(self, name: str, *, provider_id: str = "", ready: bool = True) -> NodeObject:
        """Have a kubelet register."""
        node = NodeObject(
            uid=self._shelf.uid(),
            name=name,
            resource_version="",
            created_at=self._clock.now(),
            provider_id=provider_id,
            conditions=(condition("Ready", ready=ready),),
        )
        return self._shelf.put(node)

    def set_ready(self, name: str, *, ready: bool) -> None:
        """Have the Node's condition `Ready` say this; a Node that is not there stays so."""
        node = self._shelf.true(NodeObject, name)
        if node and node.ready is not ready:
            self._shelf.put(replace(node, conditions=(condition("Ready", ready=ready),)))

    def change_machine(self, name: str, **changes: Any) -> MachineObject | None:
        """Change any field of a Machine, if it is there; without finalizers, one that is being deleted vanishes."""
        machine = self._shelf.true(MachineObject, name)
        return self._shelf.settle(replace(machine, **changes)) if machine else None

    def delete(self, kind: type[T], name: str) -> None:
        """Ask for the object to be deleted; it vanishes at once when no finalizer holds it. Safe to repeat."""
        thing = self._shelf.true(kind, name)
        if thing is None:
            return
        if isinstance(thing, NodeObject):
            self._shelf.remove(thing)
        elif thing.deletion_requested_at is None:
            self._shelf.settle(replace(thing, deletion_requested_at=self._clock.now()))

    def strike_out(self, kind: type[T], name: str) -> None:
        """Have the object vanish at once, whatever finalizers hold it: somebody stripped them by hand."""
        thing = self._shelf.true(kind, name)
        if thing is not None:
            self._shelf.remove(thing)

    def machine(self, name: str) -> MachineObject | None:
        """Answer the Machine as it truly is."""
        return self._shelf.true(MachineObject, name)

    def machines(self) -> list[MachineObject]:
        """Answer every Machine as it truly is."""
        return self._shelf.all_true(MachineObject)

    def node(self, name: str) -> NodeObject | None:
        """Answer the Node as it truly is."""
        return self._shelf.true(NodeObject, name)

    def nodes(self) -> list[NodeObject]:
        """Answer every Node as it truly is."""
        return self._shelf.all_true(NodeObject)


def condition(kind: str, *, ready: bool) -> NodeCondition:
    """Answer a condition as a kubelet reports it."""
    reason = "KubeletReady" if ready else "NodeStatusUnknown"
    return NodeCondition(type=kind, status="True" if ready else "Unknown", reason=reason)
