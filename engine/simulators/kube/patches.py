"""The four ways to change part of an object: JSON patch, merge patch, strategic merge patch, and apply.

A function here takes the object as a value of its own and answers the changed one.
"""

from collections.abc import Callable, Mapping
from typing import Any

from engine.simulators.kube.errors import bad_request, unprocessable
from engine.simulators.kube.kinds import Json

OPERATIONS_MAX = 10_000  # the limit of the real server

# Lists of built-in kinds whose elements are merged by a key; every other list is replaced as a whole.
MERGE_KEYS: Mapping[str, str] = {
    "metadata.ownerReferences": "uid",
    "status.conditions": "type",
    "status.addresses": "type",
    "spec.containers": "name",
    "spec.initContainers": "name",
    "spec.ephemeralContainers": "name",
    "spec.volumes": "name",
    "spec.imagePullSecrets": "name",
    "spec.hostAliases": "ip",
    "spec.topologySpreadConstraints": "topologyKey",
    "spec.containers.env": "name",
    "spec.containers.ports": "containerPort",
    "spec.containers.volumeMounts": "mountPath",
    "spec.containers.volumeDevices": "devicePath",
    "spec.initContainers.env": "name",
    "spec.initContainers.ports": "containerPort",
    "spec.initContainers.volumeMounts": "mountPath",
    "secrets": "name",
    "imagePullSecrets": "name",
}
# Lists of plain values that are merged as sets.
MERGED_SETS = frozenset({"metadata.finalizers", "spec.finalizers"})


def merge(target: Any, patch: Any) -> Any:
    """Answer the target after a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def apply_operations(target: Any, operations: Any) -> Any:
    """Answer the target after a JSON patch (RFC 6902); nothing is changed when one operation fails."""
    if not isinstance(operations, list) or not all(isinstance(step, dict) for step in operations):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(operations) > OPERATIONS_MAX:
        raise bad_request(f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(operations)}")
    for step in operations:
        try:
            target = _operated(target, step)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise unprocessable("the server rejected our request due to an error in our request") from error
    return target


def _operated(target: Any, step: Json) -> Any:
    operation, path = step["op"], _pointer(step["path"])
    match operation:
        case "add":
            return _added(target, path, step["value"])
        case "remove":
            return _removed(target, path)
        case "replace":
            _value_at(target, path)
            return _added(_removed(target, path), path, step["value"]) if path else step["value"]
        case "test":
            if _value_at(target, path) != step.get("value"):
                raise ValueError("test failed")
            return target
        case "move":
            source = _pointer(step["from"])
            value = _value_at(target, source)
            return _added(_removed(target, source), path, value)
        case "copy":
            return _added(target, path, _value_at(target, _pointer(step["from"])))
        case _:
            raise ValueError(f"unknown operation {operation}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"a pointer begins with a slash: {text}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _step_into(value: Any, part: str) -> Any:
    return value[_index(part, len(value) - 1)] if isinstance(value, list) else value[part]


def _index(part: str, last: int) -> int:
    position = int(part)
    if not 0 <= position <= last:
        raise IndexError(part)
    return position


def _value_at(target: Any, path: list[str]) -> Any:
    for part in path:
        target = _step_into(target, part)
    return target


def _added(target: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _value_at(target, path[:-1])
    if isinstance(parent, list):
        position = len(parent) if path[-1] == "-" else _index(path[-1], len(parent))
        parent.insert(position, value)
    else:
        parent[path[-1]] = value
    return target


def _removed(target: Any, path: list[str]) -> Any:
    parent = _value_at(target, path[:-1])
    if isinstance(parent, list):
        del parent[_index(path[-1], len(parent) - 1)]
    else:
        del parent[path[-1]]
    return target


def strategic(target: Any, patch: Any, key_of: Callable[[str], str | None] = MERGE_KEYS.get, path: str = "") -> Any:
    """Answer the target after a strategic merge patch; `key_of` tells by which key a list is merged."""
    if not isinstance(patch, dict):
        return patch
    order = patch.pop("$patch", "merge")
    if order == "delete":
        return None
    if order == "replace":
        return patch
    merged = target if isinstance(target, dict) else {}
    retained = patch.pop("$retainKeys", None)
    for key in [key for key in patch if key.startswith("$deleteFromPrimitiveList/")]:
        name, gone = key.partition("/")[2], patch.pop(key)
        merged[name] = [value for value in merged.get(name) or [] if value not in gone]
    for key, value in patch.items():
        if not key.startswith("$setElementOrder/"):
            _merge_field(merged, key, value, key_of, f"{path}.{key}" if path else key)
    for key in [key for key in patch if key.startswith("$setElementOrder/")]:
        name = key.partition("/")[2]
        _reorder(merged, name, patch[key], key_of(f"{path}.{name}" if path else name))
    if retained is not None:
        return {key: value for key, value in merged.items() if key in retained}
    return merged


def _merge_field(merged: Json, key: str, value: Any, key_of: Callable[[str], str | None], path: str) -> None:
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, list) and path in MERGED_SETS:
        kept = list(merged.get(key) or [])
        merged[key] = value + [item for item in kept if item not in value]
    elif isinstance(value, list) and (merge_key := key_of(path)):
        merged[key] = _merged_elements(merged.get(key) or [], value, merge_key, key_of, path)
    elif isinstance(value, dict):
        result = strategic(merged.get(key), value, key_of, path)
        if result is None:
            merged.pop(key, None)
        else:
            merged[key] = result
    else:
        merged[key] = value


def _merged_elements(
    elements: list[Any], patches: list[Any], merge_key: str, key_of: Callable[[str], str | None], path: str
) -> list[Any]:
    if any(patch.get("$patch") == "replace" for patch in patches):
        return [patch for patch in patches if "$patch" not in patch]
    by_key = {element.get(merge_key): element for element in elements}
    for patch in patches:
        if merge_key not in patch:
            raise bad_request(f"map: {patch} does not contain declared merge key: {merge_key}")
        identity = patch[merge_key]
        result = strategic(by_key.get(identity), dict(patch), key_of, path)
        if result is None:
            by_key.pop(identity, None)
        else:
            by_key[identity] = result
    return list(by_key.values())


def _reorder(merged: Json, name: str, order: list[Any], merge_key: str | None) -> None:
    elements = merged.get(name)
    if not isinstance(elements, list):
        return
    wanted = [item.get(merge_key) if merge_key and isinstance(item, dict) else item for item in order]
    places = {identity: place for place, identity in enumerate(wanted)}

    def place(element: Any) -> int:
        identity = element.get(merge_key) if merge_key and isinstance(element, dict) else element
        return places.get(identity, len(places))

    elements.sort(key=place)
