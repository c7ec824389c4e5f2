"""The scale subresource: the number of replicas of an object as an object of its own."""

from engine.simulators.kube.errors import bad_request
from engine.simulators.kube.jsonpath import JsonPath
from engine.simulators.kube.kinds import Json, Kind, ScalePaths
from engine.simulators.kube.objects import Stored

_PASSED_ON = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(kind: Kind, stored: Stored) -> Json:
    """Answer the Scale of the object."""
    paths = _paths(kind)
    metadata = {name: value for name, value in stored.value["metadata"].items() if name in _PASSED_ON}
    status: Json = {"replicas": JsonPath(paths.observed).first(stored.value) or 0}
    if paths.selector:
        status["selector"] = JsonPath(paths.selector).first(stored.value) or ""
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": JsonPath(paths.wanted).first(stored.value) or 0},
        "status": status,
    }


def rescaled(kind: Kind, value: Json, scale: Json) -> Json:
    """Answer the object with the number of replicas that the Scale asks for."""
    wanted = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        raise bad_request('Scale in version "v1" cannot be handled as a Scale: spec.replicas must be a number')
    *parents, last = _paths(kind).wanted.lstrip(".").split(".")
    place = value
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = wanted
    value["metadata"]["resourceVersion"] = (scale.get("metadata") or {}).get("resourceVersion", "")
    return value


def _paths(kind: Kind) -> ScalePaths:
    assert kind.scale, "only kinds with a scale are routed here"
    return kind.scale
