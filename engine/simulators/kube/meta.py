"""The metadata of every object: its shape, its names, and what may not change."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from engine.simulators.kube.causes import Cause
from engine.simulators.kube.errors import bad_request, invalid
from engine.simulators.kube.kinds import Json, Kind

ANNOTATIONS_BYTES_MAX = 256 * 1024  # the limit of the real server
NAME_LENGTH_MAX = 253  # the limit of the real server

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
# Once written by the server these stay as they are.
_IMMUTABLE = ("uid", "deletionTimestamp", "deletionGracePeriodSeconds")


def timestamp(at: datetime) -> str:
    """Answer the instant as metadata carries it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str) -> datetime:
    """Answer the instant that metadata carries."""
    return datetime.fromisoformat(text)


def check_shape(kind: Kind, body: Any) -> Json:
    """Answer the body if it is an object of the kind with well-formed metadata."""
    if not isinstance(body, dict):
        raise _unreadable(kind, "json: cannot unmarshal into Go value")
    _check_type(kind, body)
    metadata = body.setdefault("metadata", {})
    if metadata is None:
        metadata = body["metadata"] = {}
    if not isinstance(metadata, dict):
        raise _unreadable(kind, "json: cannot unmarshal into Go struct field .metadata of type v1.ObjectMeta")
    for field in ("labels", "annotations"):
        _check_strings(kind, metadata, field)
    finalizers = metadata.get("finalizers") or []
    if not isinstance(finalizers, list) or not all(isinstance(item, str) for item in finalizers):
        raise _unreadable(kind, "json: cannot unmarshal into Go struct field ObjectMeta.metadata.finalizers")
    return _without_nothing(body)


def check_new_name(kind: Kind, metadata: Json) -> None:
    """Refuse an object that can have no name."""
    if not metadata.get("name"):
        cause = Cause(field="metadata.name", text="Required value: name or generateName is required")
        raise invalid(kind, "", [cause])


def metadata_causes(kind: Kind, metadata: Mapping[str, Any]) -> list[Cause]:
    """Answer what is wrong with names, labels, annotations and finalizers."""
    return [
        *_name_causes(kind, str(metadata.get("name", ""))),
        *_label_causes(metadata.get("labels") or {}),
        *_annotation_causes(metadata.get("annotations") or {}),
        *_finalizer_causes(metadata.get("finalizers") or []),
        *_owner_causes(metadata.get("ownerReferences") or []),
    ]


def change_causes(before: Mapping[str, Any], now: Json) -> list[Cause]:
    """Restore what the server owns and answer what the client must not change."""
    causes: list[Cause] = []
    now["creationTimestamp"] = before["creationTimestamp"]
    for field in _IMMUTABLE:
        if now.get(field) in {None, ""}:
            now.pop(field, None)
        if field in before and field not in now:
            now[field] = before[field]
        if now.get(field) != before.get(field):
            text = f'Invalid value: "{now.get(field)}": field is immutable'
            causes.append(Cause(field=f"metadata.{field}", text=text))
    new_finalizers = [name for name in now.get("finalizers") or [] if name not in (before.get("finalizers") or [])]
    if "deletionTimestamp" in before and new_finalizers:
        listed = ", ".join(f'"{name}"' for name in new_finalizers)
        text = (
            "Forbidden: no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{{{listed}}}"
        )
        causes.append(Cause(field="metadata.finalizers", text=text))
    return causes


def _check_type(kind: Kind, body: Json) -> None:
    if kind.custom and not (body.get("kind") and body.get("apiVersion")):
        missing = "apiVersion" if body.get("kind") else "Kind"
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind.name}): Object '{missing}' is missing"
        )
    version, name = body.setdefault("apiVersion", kind.api_version), body.setdefault("kind", kind.name)
    if version != kind.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        )
    if name != kind.name:
        cause = Cause(field="kind", text=f'Invalid value: "{name}": must be {kind.name}')
        raise invalid(kind, str((body.get("metadata") or {}).get("name", "")), [cause])


def _unreadable(kind: Kind, why: str) -> Exception:
    return bad_request(f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: {why}')


def _check_strings(kind: Kind, metadata: Json, field: str) -> None:
    entries = metadata.get(field)
    if entries is None:
        return
    if not isinstance(entries, dict):
        raise _unreadable(kind, f"json: cannot unmarshal into Go struct field ObjectMeta.metadata.{field}")
    for key, value in entries.items():
        if value is None:
            entries[key] = ""
        elif not isinstance(value, str):
            seen = "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "object"
            raise _unreadable(
                kind, f"json: cannot unmarshal {seen} into Go struct field ObjectMeta.metadata.{field} of type string"
            )


def _without_nothing(body: Json) -> Json:
    """Drop the empty parts of metadata that Go programs send as null and the server never shows."""
    metadata = body["metadata"]
    for field in [field for field, value in metadata.items() if value is None or value in ({}, [], "")]:
        del metadata[field]
    return body


def _name_causes(kind: Kind, name: str) -> list[Cause]:
    short = kind.shelf == ("", "namespaces")
    rule, pattern = (_LABEL_RULE, _LABEL) if short else (_SUBDOMAIN_RULE, _SUBDOMAIN)
    length_max = 63 if short else NAME_LENGTH_MAX  # a namespace is part of DNS names
    causes = []
    if not re.fullmatch(pattern, name) and kind.group != "rbac.authorization.k8s.io":
        causes.append(Cause(field="metadata.name", text=f'Invalid value: "{name}": {rule}'))
    if len(name) > length_max:
        text = f'Invalid value: "{name}": must be no more than {length_max} characters'
        causes.append(Cause(field="metadata.name", text=text))
    return causes


def _label_causes(labels: Mapping[str, str]) -> list[Cause]:
    causes = []
    for key, value in labels.items():
        causes += _key_causes("metadata.labels", key)
        if len(value) > 63:  # the limit of the real server
            text = f'Invalid value: "{value}": must be no more than 63 bytes'
            causes.append(Cause(field="metadata.labels", text=text))
        elif value and not re.fullmatch(_QUALIFIED, value):
            causes.append(Cause(field="metadata.labels", text=f'Invalid value: "{value}": {_VALUE_RULE}'))
    return causes


def _key_causes(field: str, key: str) -> list[Cause]:
    prefix, slash, name = key.rpartition("/")
    if slash and not re.fullmatch(_SUBDOMAIN, prefix):
        return [Cause(field=field, text=f'Invalid value: "{key}": prefix part {_SUBDOMAIN_RULE}')]
    if len(name) > 63 or not re.fullmatch(_QUALIFIED, name):  # the limit of the real server
        return [Cause(field=field, text=f'Invalid value: "{key}": {_KEY_RULE}')]
    return []


def _annotation_causes(annotations: Mapping[str, str]) -> list[Cause]:
    causes = [cause for key in annotations for cause in _key_causes("metadata.annotations", key.lower())]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > ANNOTATIONS_BYTES_MAX:
        text = f"Too long: may not be more than {ANNOTATIONS_BYTES_MAX} bytes"
        causes.append(Cause(field="metadata.annotations", text=text))
    return causes


def _finalizer_causes(finalizers: list[str]) -> list[Cause]:
    return [cause for name in finalizers for cause in _key_causes("metadata.finalizers", name)]


def _owner_causes(owners: list[Any]) -> list[Cause]:
    causes = []
    for place, owner in enumerate(owners):
        missing = [field for field in ("apiVersion", "kind", "name", "uid") if not owner.get(field)]
        causes += [
            Cause(
                field=f"metadata.ownerReferences[{place}].{field}", text=f'Invalid value: "": {field} must not be empty'
            )
            for field in missing
        ]
    return causes
