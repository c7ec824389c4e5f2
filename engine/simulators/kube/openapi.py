"""The schemas as OpenAPI documents: what `kubectl apply` and `kubectl explain` ask for.

Custom resources are described exactly as their definitions say; built-in kinds are open objects.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from engine.simulators.kube.kinds import Json, Kind, Registry

_FIELD_VALIDATION: Json = {
    "name": "fieldValidation",
    "in": "query",
    "description": "What happens to unknown fields: Ignore, Warn or Strict.",
    "schema": {"type": "string", "uniqueItems": True},
}
_DRY_RUN: Json = {
    "name": "dryRun",
    "in": "query",
    "description": "All: check and answer, but keep nothing.",
    "schema": {"type": "string", "uniqueItems": True},
}
# Strategic merge patches are taken for built-in kinds, but not offered here: a client that finds them here wants the
# merge keys from these schemas, which have none, while it knows the built-in kinds by heart.
_PATCH_TYPES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")


class OpenApi:
    """The documents of a registry, kept until the registry changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: dict[tuple[int, str], bytes] = {}

    def index(self) -> bytes:
        """Answer where the document of each group version is."""
        paths = {}
        for group, versions in self._registry.versions().items():
            for version in versions:
                path = _root(group, version).lstrip("/")
                mark = hashlib.sha256(self.group_version(group, version) or b"").hexdigest()
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={mark.upper()}"}
        return msgspec.json.encode({"paths": paths})

    def group_version(self, group: str, version: str) -> bytes | None:
        """Answer the document of one group version, or None."""
        kinds = self._registry.of_group(group, version)
        if not kinds:
            return None
        return self._keep(f"v3/{group}/{version}", lambda: _third(kinds))

    def swagger(self) -> bytes:
        """Answer the older document with everything in it."""
        return self._keep("v2", lambda: _second(self._registry))

    def _keep(self, name: str, build: Any) -> bytes:
        key = (self._registry.number, name)
        found = self._kept.get(key)
        if found is None:
            self._kept = {kept: text for kept, text in self._kept.items() if kept[0] == key[0]}
            found = self._kept[key] = msgspec.json.encode(build())
        return found


def _root(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


def _third(kinds: list[Kind]) -> Json:
    paths: Json = {}
    for kind in kinds:
        for path, operations in _paths(kind):
            paths[path] = operations
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "embedded"},
        "paths": paths,
        "components": {"schemas": {_schema_name(kind): _schema(kind) for kind in kinds}},
    }


def _second(registry: Registry) -> Json:
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "embedded"},
        "paths": {},
        "definitions": {_schema_name(kind): _schema(kind) for kind in registry},
    }


def _paths(kind: Kind) -> Iterator[tuple[str, Json]]:
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"{_root(kind.group, kind.version)}{scope}/{kind.plural}"
    yield collection, {"get": _operation(kind, "list"), "post": _operation(kind, "post")}
    verbs = ("get", "put", "patch", "delete")
    yield f"{collection}/{{name}}", {verb: _operation(kind, verb) for verb in verbs}


def _operation(kind: Kind, verb: str) -> Json:
    reference = {"schema": {"$ref": f"#/components/schemas/{_schema_name(kind)}"}}
    operation: Json = {
        "operationId": f"{verb}{kind.group.title().replace('.', '')}{kind.version.title()}{kind.name}",
        "x-kubernetes-action": verb,
        "x-kubernetes-group-version-kind": _identity(kind),
        "responses": {"200": {"description": "OK", "content": {"application/json": reference}}},
    }
    if verb in {"post", "put", "patch"}:
        operation["parameters"] = [_FIELD_VALIDATION, _DRY_RUN]
        types = _PATCH_TYPES if verb == "patch" else ("application/json",)
        body = {"schema": {"type": "object"}} if verb == "patch" else reference
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(types, body)}
    return operation


def _schema(kind: Kind) -> Json:
    metadata = {"type": "object", "description": "Standard object's metadata."}
    if kind.structure is None:
        schema: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        schema["properties"] = _IDENTITY_FIELDS | {"metadata": metadata}
    else:
        schema = dict(kind.structure.schema)
        schema["properties"] = {**(schema.get("properties") or {}), **_IDENTITY_FIELDS, "metadata": metadata}
    return schema | {"x-kubernetes-group-version-kind": [_identity(kind)]}


_IDENTITY_FIELDS: Json = {
    "apiVersion": {"type": "string", "description": "The versioned schema of this representation of an object."},
    "kind": {"type": "string", "description": "The REST resource that this object represents."},
}


def _identity(kind: Kind) -> Json:
    return {"group": kind.group, "version": kind.version, "kind": kind.name}


def _schema_name(kind: Kind) -> str:
    group = ".".join(reversed((kind.group or "core.api.k8s.io").split(".")))
    return f"{group}.{kind.version}.{kind.name}"
