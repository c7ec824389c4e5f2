"""The structural schema of a custom resource: it drops what is unknown, fills in defaults and says what is wrong."""

import copy
from collections.abc import Mapping
from typing import Any

from engine.simulators.kube.causes import Cause
from engine.simulators.kube.validation import SchemaCheck

Schema = Mapping[str, Any]

_OBJECT_META = frozenset({
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
})  # fmt: skip
_OF_EVERY_OBJECT = frozenset({"apiVersion", "kind", "metadata"})


class Structure:
    """One schema, made ready once for all objects of its kind."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._check = SchemaCheck(schema)

    def prune(self, value: dict[str, Any]) -> list[str]:
        """Take out what the schema does not know; answer the paths of it."""
        unknown: list[str] = []
        metadata = value.get("metadata") or {}
        for name in [name for name in metadata if name not in _OBJECT_META]:
            del metadata[name]
            unknown.append(f"metadata.{name}")
        _prune(value, {**self.schema, "x-kubernetes-embedded-resource": True}, "", unknown)
        return sorted(unknown)

    def fill(self, value: dict[str, Any]) -> None:
        """Put the schema's defaults where nothing stands, and drop nothings that the schema does not allow."""
        _fill(value, self.schema)

    def causes(self, value: dict[str, Any]) -> list[Cause]:
        """Answer everything that the schema finds wrong."""
        return self._check.causes(value)

    def merge_key(self, path: str) -> str | None:
        """Answer the key by which the list at the dotted path is merged, or None."""
        schema: Any = self.schema
        for part in path.split("."):
            schema = schema.get("items", schema)
            schema = schema.get("properties", {}).get(part) or schema.get("additionalProperties")
            if not isinstance(schema, dict):
                return "uid" if path == "metadata.ownerReferences" else None
        keys = schema.get("x-kubernetes-list-map-keys") or []
        return str(keys[0]) if len(keys) == 1 else None


def _prune(value: Any, schema: Any, path: str, unknown: list[str]) -> None:
    if not isinstance(schema, Mapping):
        return
    if isinstance(value, list):
        for place, item in enumerate(value):
            _prune(item, schema.get("items"), f"{path}[{place}]", unknown)
    elif isinstance(value, dict):
        for name in list(value):
            _prune_field(value, name, schema, path, unknown)


def _prune_field(value: dict[str, Any], name: str, schema: Schema, path: str, unknown: list[str]) -> None:
    here = f"{path}.{name}" if path else name
    embedded = schema.get("x-kubernetes-embedded-resource") and name in _OF_EVERY_OBJECT
    known = (schema.get("properties") or {}).get(name)
    if embedded and (known is None or name == "metadata"):
        return
    if known is None:
        known = schema.get("additionalProperties")
    if known is None or known is False:
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            del value[name]
            unknown.append(here)
        return
    _prune(value[name], known, here, unknown)


def _fill(value: Any, schema: Any) -> None:
    if not isinstance(schema, Mapping):
        return
    if isinstance(value, list):
        for item in value:
            _fill(item, schema.get("items"))
        return
    if not isinstance(value, dict):
        return
    known = schema.get("properties") or {}
    for name, field in known.items():
        if name in value and value[name] is None and not field.get("nullable"):
            del value[name]
        if "default" in field and name not in value:
            value[name] = copy.deepcopy(field["default"])
        if name in value:
            _fill(value[name], field)
    rest = schema.get("additionalProperties")
    for name in value.keys() - known.keys():
        _fill(value[name], rest)
