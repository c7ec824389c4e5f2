"""Kubernetes' protobuf, as far as `kubectl create`, `kubectl drain` and leader electors write it.

Clients with generated types write so since Kubernetes 1.32 and read JSON when they must; kinds that are not in the
tables here are refused, as the real server refuses custom resources in this format.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from engine.simulators.kube.errors import bad_request, unsupported_media_type
from engine.simulators.kube.kinds import Json

PROTOBUF_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Read = Callable[[Any], Any]


class _Count(Enum):
    ONE = "one value"
    MANY = "a list of values"
    MAP = "entries of a map"


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    read: _Read
    count: _Count = _Count.ONE


def object_of(body: bytes) -> Json:
    """Answer the object that the envelope holds."""
    if not body.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message")
    try:
        envelope = _ENVELOPE(body[len(_MAGIC) :])
        kind = envelope.get("typeMeta", {})
        read = _KINDS.get(kind.get("kind", ""))
        if read is None:
            raise unsupported_media_type("application/json, application/yaml")
        value: Json = read(envelope.get("raw", b""))
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise bad_request(f"the protobuf message cannot be read: {error}") from error
    return {**kind, **value}


def _text(value: bytes) -> str:
    return value.decode()


def _coded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _number(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _time(value: bytes) -> str:
    parts = _TIME(value)
    at = _EPOCH + timedelta(seconds=parts.get("seconds", 0), microseconds=parts.get("nanos", 0) // 1000)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if at.microsecond else "%Y-%m-%dT%H:%M:%SZ")


def _number_or_text(value: bytes) -> int | str:
    parts = _NUMBER_OR_TEXT(value)
    answer: int | str = parts.get("strVal", "") if parts.get("type") else parts.get("intVal", 0)
    return answer


def _message(fields: Mapping[int, _Field]) -> _Read:
    def read(data: bytes) -> Json:
        value: Json = {}
        for number, content in _wire_fields(data):
            field = fields.get(number)
            if field is None:
                continue
            match field.count:
                case _Count.ONE:
                    value[field.name] = field.read(content)
                case _Count.MANY:
                    value.setdefault(field.name, []).append(field.read(content))
                case _Count.MAP:
                    entry = dict(_wire_fields(content))
                    value.setdefault(field.name, {})[_text(entry.get(1, b""))] = field.read(entry.get(2, b""))
        return value

    return read


def _wire_fields(data: Any) -> Iterator[tuple[int, Any]]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                content, position = _varint(data, position)
                yield tag >> 3, content
            case 2:
                length, position = _varint(data, position)
                if position + length > len(data):
                    raise ValueError("unexpected EOF")
                yield tag >> 3, data[position : position + length]
                position += length
            case 1:
                position += 8
            case 5:
                position += 4
            case _:
                raise ValueError(f"illegal wire type {tag & 7}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _many(name: str, read: _Read = _text) -> _Field:
    return _Field(name, read, _Count.MANY)


def _map(name: str, read: _Read = _text) -> _Field:
    return _Field(name, read, _Count.MAP)


_TYPE_META = _message({1: _Field("apiVersion", _text), 2: _Field("kind", _text)})
_ENVELOPE = _message({1: _Field("typeMeta", _TYPE_META), 2: _Field("raw", bytes)})
_TIME = _message({1: _Field("seconds", _number), 2: _Field("nanos", _number)})
_NUMBER_OR_TEXT = _message({1: _Field("type", _number), 2: _Field("intVal", _number), 3: _Field("strVal", _text)})
_OWNER = _message(
    {
        1: _Field("kind", _text),
        3: _Field("name", _text),
        4: _Field("uid", _text),
        5: _Field("apiVersion", _text),
        6: _Field("controller", bool),
        7: _Field("blockOwnerDeletion", bool),
    }
)
_META = _message(
    {
        1: _Field("name", _text),
        2: _Field("generateName", _text),
        3: _Field("namespace", _text),
        5: _Field("uid", _text),
        6: _Field("resourceVersion", _text),
        7: _Field("generation", _number),
        8: _Field("creationTimestamp", lambda value: _time(value) if value else None),
        9: _Field("deletionTimestamp", _time),
        10: _Field("deletionGracePeriodSeconds", _number),
        11: _map("labels"),
        12: _map("annotations"),
        13: _many("ownerReferences", _OWNER),
        14: _many("finalizers"),
    }
)
_LOCAL_NAME = _message({1: _Field("name", _text)})
_OBJECT_NAME = _message({3: _Field("name", _text)})
_PRECONDITIONS = _message({1: _Field("uid", _text), 2: _Field("resourceVersion", _text)})
_DELETE_OPTIONS = _message(
    {
        1: _Field("gracePeriodSeconds", _number),
        2: _Field("preconditions", _PRECONDITIONS),
        3: _Field("orphanDependents", bool),
        4: _Field("propagationPolicy", _text),
        5: _many("dryRun"),
    }
)
_EXPRESSION = _message({1: _Field("key", _text), 2: _Field("operator", _text), 3: _many("values")})
_SELECTOR = _message({1: _map("matchLabels"), 2: _many("matchExpressions", _EXPRESSION)})
_BUDGET_SPEC = _message(
    {
        1: _Field("minAvailable", _number_or_text),
        2: _Field("selector", _SELECTOR),
        3: _Field("maxUnavailable", _number_or_text),
        4: _Field("unhealthyPodEvictionPolicy", _text),
    }
)
_LEASE_SPEC = _message(
    {
        1: _Field("holderIdentity", _text),
        2: _Field("leaseDurationSeconds", _number),
        3: _Field("acquireTime", _time),
        4: _Field("renewTime", _time),
        5: _Field("leaseTransitions", _number),
    }
)

_ASKED_RESOURCE = _message(
    {
        1: _Field("namespace", _text),
        2: _Field("verb", _text),
        3: _Field("group", _text),
        4: _Field("version", _text),
        5: _Field("resource", _text),
        6: _Field("subresource", _text),
        7: _Field("name", _text),
    }
)
_ASKED_PATH = _message({1: _Field("path", _text), 2: _Field("verb", _text)})
_QUESTION = _message(
    {
        1: _Field("resourceAttributes", _ASKED_RESOURCE),
        2: _Field("nonResourceAttributes", _ASKED_PATH),
    }
)

_KINDS: Mapping[str, _Read] = {
    "SelfSubjectAccessReview": _message({1: _Field("metadata", _META), 2: _Field("spec", _QUESTION)}),
    "ConfigMap": _message(
        {
            1: _Field("metadata", _META),
            2: _map("data"),
            3: _map("binaryData", _coded),
            4: _Field("immutable", bool),
        }
    ),
    "Secret": _message(
        {
            1: _Field("metadata", _META),
            2: _map("data", _coded),
            3: _Field("type", _text),
            4: _map("stringData"),
            5: _Field("immutable", bool),
        }
    ),
    "Namespace": _message({1: _Field("metadata", _META)}),
    "ServiceAccount": _message(
        {
            1: _Field("metadata", _META),
            2: _many("secrets", _OBJECT_NAME),
            3: _many("imagePullSecrets", _LOCAL_NAME),
            4: _Field("automountServiceAccountToken", bool),
        }
    ),
    "PodDisruptionBudget": _message({1: _Field("metadata", _META), 2: _Field("spec", _BUDGET_SPEC)}),
    "Lease": _message({1: _Field("metadata", _META), 2: _Field("spec", _LEASE_SPEC)}),
    "DeleteOptions": _DELETE_OPTIONS,
    "Eviction": _message({1: _Field("metadata", _META), 2: _Field("deleteOptions", _DELETE_OPTIONS)}),
}
