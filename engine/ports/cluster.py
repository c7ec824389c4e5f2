"""The cluster: what is wanted, and where the state is mirrored. Reads are answered from caches that watches feed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from engine.domain.ids import MachineUid
from engine.domain.phase import MachineStatus
from engine.domain.wanted import ClassObject, MachineObject, NodeObject, SecretObject, SecretReference
from engine.errors import ClusterError


class ObjectGoneError(ClusterError):
    """The object is not there (any more), or another one of the same name is."""


class ConflictError(ClusterError):
    """Somebody changed the object since we read it: read again, decide again."""


class ClusterDeniedError(ClusterError):
    """The API server refuses us: RBAC or the credential is wrong."""


class ClusterUnavailableError(ClusterError):
    """The API server does not answer now; the write may or may not have happened. Every write is safe to repeat."""


class ObjectRefusedError(ClusterError):
    """The API server calls the object invalid: a fault of ours, or of the CRD's."""


class Kind(StrEnum):
    """What is watched."""

    MACHINE = "Machine"
    CLASS = "MachineClass"
    SECRET = "Secret"  # noqa: S105 - a kind's name
    NODE = "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """Something about an object changed; the key is its namespace and name (Nodes have no namespace)."""

    kind: Kind
    namespace: str
    name: str
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePatch:
    """What to change about a Machine outside its status; None and empty mean "leave as it is"."""

    add_finalizer: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    provider_id: str | None = None


class EventKind(StrEnum):
    """The two types of Kubernetes Events."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineEvent:
    """A Kubernetes Event about a Machine, or about the class of many; `key` makes repeated writing of it harmless."""

    machine: MachineObject | ClassObject
    kind: EventKind
    reason: str
    message: str
    key: str


class Cluster(Protocol):
    """The control cluster and, if there is one, the target cluster.

    A read answers what the watches have shown so far; objects are immutable values. A write goes to the API server
    at once, and its answer is in the cache when the method returns. All methods are safe from threads.
    """

    @property
    def has_target(self) -> bool:
        """Whether there is a target cluster, that is, whether Nodes exist to be awaited."""
        ...

    def start(self, listener: Callable[[ObjectChange], None]) -> None:
        """Begin to list and watch; call the listener for each change, from threads of the cluster's own."""
        ...

    def stop(self) -> None:
        """End the watches and the threads."""
        ...

    def synced(self) -> bool:
        """Answer whether every kind was listed completely at least once."""
        ...

    @property
    def unreadable(self) -> Sequence[tuple[Kind, str]]:
        """Kind and name of objects that are there but cannot be read; their machines must not be taken for gone."""
        ...

    def blind_for(self) -> timedelta:
        """Answer for how long the blindest watch has heard nothing at all from its API server."""
        ...

    def machine(self, uid: MachineUid) -> MachineObject | None:
        """Answer the Machine with this uid."""
        ...

    def machine_named(self, name: str) -> MachineObject | None:
        """Answer the Machine of this name in the controller's namespace."""
        ...

    def machines(self) -> Sequence[MachineObject]:
        """Answer every Machine of the controller's namespace."""
        ...

    def machine_class(self, name: str) -> ClassObject | None:
        """Answer the MachineClass of this name."""
        ...

    def machine_classes(self) -> Sequence[ClassObject]:
        """Answer every MachineClass."""
        ...

    def secret(self, reference: SecretReference) -> SecretObject | None:
        """Answer the Secret; one outside the controller's namespace is never there."""
        ...

    def secrets(self) -> Sequence[SecretObject]:
        """Answer every Secret that carries our finalizer or that a MachineClass names."""
        ...

    def node(self, *, name: str, device_suffix: str) -> NodeObject | None:
        """Answer the Node of this name, else the one whose providerID ends in this device id; None without a target.

        A Node of this name whose providerID ends in another device id is somebody else's and is not answered.
        """
        ...

    def patch_machine(self, machine: MachineObject, patch: MachinePatch) -> MachineObject:
        """Change metadata or `spec.providerID` of exactly this Machine (same uid), and nothing else of it.

        Raises ConflictError when finalizers changed since it was read, ObjectGoneError when it is gone.
        """
        ...

    def write_status(self, machine: MachineObject, status: MachineStatus) -> MachineObject:
        """Make the status of exactly this Machine (same uid) say this; fields that we do not own stay.

        Raises ObjectGoneError when it is gone.
        """
        ...

    def drop_finalizer(self, machine: MachineObject) -> None:
        """Take our finalizer off exactly this Machine. Safe to repeat; a Machine that is gone is no error.

        Raises ConflictError when it changed since it was read.
        """
        ...

    def protect_class(self, class_object: ClassObject, *, protected: bool) -> None:
        """Put our finalizer on the MachineClass, or take it off. Safe to repeat."""
        ...

    def protect_secret(self, secret: SecretObject, *, protected: bool) -> None:
        """Put our finalizer on the Secret, or take it off. Safe to repeat."""
        ...

    def delete_node(self, node: NodeObject) -> None:
        """Ask for exactly this Node (same uid) to be deleted. Safe to repeat; one that is gone is no error."""
        ...

    def announce(self, event: MachineEvent) -> None:
        """Write a Kubernetes Event soon, from a thread of the cluster's own.

        Never blocks, never raises; events that cannot be written are counted and dropped.
        """
        ...
