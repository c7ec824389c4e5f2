"""The JSON of the Kubernetes API, reduced to the fields that are read: everything else is skipped while parsing.

Every field may be missing or null, because Go programs write it so. Nothing here knows the domain.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct, field


class Meta(Struct, rename="camel"):
    """`metadata` of an object; instants stay text, so that an odd one spoils nothing but itself."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str | None] | None = None
    annotations: dict[str, str | None] | None = None
    finalizers: list[str] | None = None


class Peek(Struct):
    """Any object, of which only the metadata matters."""

    metadata: Meta = field(default_factory=Meta)


class ListMeta(Struct, rename="camel"):
    """`metadata` of a list."""

    resource_version: str = ""
    continue_: str | None = field(default=None, name="continue")


class Page(Struct):
    """One page of a list; items stay raw, so that a bad one does not spoil its neighbours."""

    metadata: ListMeta = field(default_factory=ListMeta)
    items: list[Raw] | None = None


class WatchEvent(Struct):
    """One line of a watch."""

    type: str
    object: Raw


class Cause(Struct):
    """One reason inside a refusal."""

    field: str | None = None


class StatusDetails(Struct):
    """`details` of a refusal."""

    causes: list[Cause] | None = None


class Status(Struct):
    """How the API server says no."""

    code: int = 0
    reason: str | None = None
    message: str | None = None
    details: StatusDetails | None = None


class ClassReference(Struct):
    """`spec.class` of a Machine."""

    kind: str | None = None
    name: str | None = None


class MachineSpec(Struct, rename="camel"):
    """`spec` of a Machine."""

    class_: ClassReference | None = field(default=None, name="class")
    provider_id: str | None = field(default=None, name="providerID")
    creation_timeout: str | None = None


class Condition(Struct, rename="camel"):
    """One condition of a Node, also as copied to a Machine."""

    type: str | None = None
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None
    last_heartbeat_time: str | None = None


class NodeAddress(Struct):
    """One of `status.addresses`."""

    type: str | None = None
    address: str | None = None


class Operation(Struct, rename="camel"):
    """`status.lastOperation` of a Machine."""

    type: str | None = None
    state: str | None = None
    description: str | None = None
    error_code: str | None = None
    last_update_time: str | None = None


class CurrentStatus(Struct, rename="camel"):
    """`status.currentStatus` of a Machine."""

    phase: str | None = None
    timeout_active: bool | None = None
    last_update_time: str | None = None


class MachineStatus(Struct, rename="camel"):
    """`status` of a Machine."""

    current_status: CurrentStatus | None = None
    last_operation: Operation | None = None
    conditions: list[Condition] | None = None
    addresses: list[NodeAddress] | None = None


class Machine(Struct):
    """A Machine."""

    metadata: Meta
    spec: MachineSpec | None = None
    status: MachineStatus | None = None


class SecretRef(Struct):
    """`secretRef` and `credentialsSecretRef` of a MachineClass."""

    name: str | None = None
    namespace: str | None = None


class MachineClass(Struct, rename="camel"):
    """A MachineClass; its fields are at the top level."""

    metadata: Meta
    provider: str | None = None
    provider_spec: Any = None
    secret_ref: SecretRef | None = None
    credentials_secret_ref: SecretRef | None = None


class Secret(Struct):
    """A Secret; msgspec decodes its base64."""

    metadata: Meta
    data: dict[str, bytes | None] | None = None


class NodeSpec(Struct):
    """`spec` of a Node."""

    provider_id: str | None = field(default=None, name="providerID")


class NodeStatus(Struct):
    """`status` of a Node."""

    conditions: list[Condition] | None = None


class Node(Struct):
    """A Node."""

    metadata: Meta
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class LeaseSpec(Struct, rename="camel"):
    """`spec` of a Lease."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Struct):
    """A Lease."""

    metadata: Meta
    spec: LeaseSpec | None = None


class ApiResource(Struct):
    """One line of discovery."""

    name: str = ""


class ApiResources(Struct):
    """Discovery of one group and version."""

    resources: list[ApiResource] | None = None


class AccessStatus(Struct):
    """`status` of a SelfSubjectAccessReview."""

    allowed: bool = False


class AccessReview(Struct):
    """A SelfSubjectAccessReview."""

    status: AccessStatus = field(default_factory=AccessStatus)


read_page = msgspec.json.Decoder(Page).decode
read_event = msgspec.json.Decoder(WatchEvent).decode
read_peek = msgspec.json.Decoder(Peek).decode
read_status = msgspec.json.Decoder(Status).decode
read_machine = msgspec.json.Decoder(Machine).decode
read_class = msgspec.json.Decoder(MachineClass).decode
read_secret = msgspec.json.Decoder(Secret).decode
read_node = msgspec.json.Decoder(Node).decode
read_lease = msgspec.json.Decoder(Lease).decode
read_resources = msgspec.json.Decoder(ApiResources).decode
read_review = msgspec.json.Decoder(AccessReview).decode
write_json = msgspec.json.Encoder().encode
