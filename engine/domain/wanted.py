"""What Kubernetes holds, reduced to what the engine reads: the truth about what is wanted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from engine.domain.ids import MachineUid
from engine.domain.machine import NodeCondition
from engine.domain.phase import MachineStatus

MACHINE_FINALIZER = "machine.sapcloud.io/machine-controller-manager"
"""On Machine and MachineClass; the spelling is the contract's."""
SECRET_FINALIZER = "machine.sapcloud.io/machine-controller"  # noqa: S105 - a finalizer's name
"""On the Secrets that a MachineClass names; deliberately another one than on Machines."""
NODE_LABEL = "node"
"""Label on the Machine that names its Node."""
PRIORITY_ANNOTATION = "machinepriority.machine.sapcloud.io"
"""Annotation on the Machine that MCM reads when it scales down."""
PRIORITY_DEFAULT = "3"
RETRY_ANNOTATION = "machine-engine.io/retry"
"""An operator sets it to a new value to have a failed Machine tried again."""
CLOSE_BREAKER_ANNOTATION = "machine-engine.io/close-breaker"
"""An operator sets it on any MachineClass to have breakers closed, by name; each new value is obeyed once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineObject:
    """A Machine as the API server shows it."""

    uid: MachineUid
    namespace: str
    name: str
    resource_version: str
    created_at: datetime
    deletion_requested_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    class_kind: str = ""
    class_name: str = ""
    provider_id: str = ""
    creation_timeout: timedelta | None = None
    status: MachineStatus | None = None
    """What status says now; None when it says nothing at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """Which Secret: an empty namespace means the controller's own."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassObject:
    """A MachineClass as the API server shows it."""

    uid: str
    namespace: str
    name: str
    resource_version: str
    provider: str
    provider_spec: Mapping[str, Any] | None
    """None when `providerSpec` is missing or null."""
    secret: SecretReference | None = None
    credentials_secret: SecretReference | None = None
    finalizers: tuple[str, ...] = ()
    deletion_requested_at: datetime | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretObject:
    """A Secret as the API server shows it; its data is decoded and never printed."""

    uid: str
    namespace: str
    name: str
    resource_version: str
    data: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    finalizers: tuple[str, ...] = ()
    deletion_requested_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeObject:
    """A Node as the API server shows it."""

    uid: str
    name: str
    resource_version: str
    created_at: datetime
    provider_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    conditions: tuple[NodeCondition, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether the condition `Ready` is True."""
        return any(condition.type == "Ready" and condition.status == "True" for condition in self.conditions)
