"""What the server adds to an object of a built-in kind before it is kept, and what it refuses about one."""

import base64
import binascii
from collections.abc import Callable, Mapping

from engine.simulators.kube.builtins import BUDGETS, DEFINITIONS, NAMESPACES, NODES, PODS, SECRETS
from engine.simulators.kube.causes import Cause
from engine.simulators.kube.customs import complete_definition, definition_causes
from engine.simulators.kube.errors import bad_request
from engine.simulators.kube.kinds import Json, Kind, Shelf

POD_GRACE_SECONDS = 30  # what a pod gets that does not ask for more


def complete_new(kind: Kind, value: Json, now: str) -> None:
    """Bring an object that is about to be created into the state in which objects of its kind begin."""
    if kind.has_status and kind.shelf != NODES:  # a kubelet brings its node's status along
        value.pop("status", None)
    beginning = _BEGINNINGS.get(kind.shelf)
    if beginning:
        beginning(value)
    complete(kind, value, now)


def complete(kind: Kind, value: Json, now: str) -> None:
    """Put in what every write of the kind puts in."""
    if kind.shelf == SECRETS:
        _complete_secret(value)
    if kind.shelf == DEFINITIONS:
        complete_definition(value, now)


def kind_causes(kind: Kind, value: Json) -> list[Cause]:
    """Answer what is wrong with the object beyond its metadata."""
    if kind.shelf == DEFINITIONS:
        return definition_causes(value)
    return kind.structure.causes(value) if kind.structure else []


def _begin_namespace(value: Json) -> None:
    value.setdefault("spec", {})["finalizers"] = ["kubernetes"]
    value["status"] = {"phase": "Active"}
    labels = value["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = value["metadata"]["name"]


def _begin_pod(value: Json) -> None:
    value["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
    spec = value.setdefault("spec", {})
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", POD_GRACE_SECONDS)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")


def _begin_pending(value: Json) -> None:
    value["status"] = {"phase": "Pending"}


def _begin_attachment(value: Json) -> None:
    value["status"] = {"attached": False}


def _begin_node(value: Json) -> None:
    value.setdefault("spec", {})


def _begin_budget(value: Json) -> None:
    value["status"] = {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}


_BEGINNINGS: Mapping[Shelf, Callable[[Json], None]] = {
    NAMESPACES: _begin_namespace,
    PODS: _begin_pod,
    NODES: _begin_node,
    BUDGETS: _begin_budget,
    ("storage.k8s.io", "volumeattachments"): _begin_attachment,
    ("", "persistentvolumes"): _begin_pending,
    ("", "persistentvolumeclaims"): _begin_pending,
}


def _complete_secret(value: Json) -> None:
    value.setdefault("type", "Opaque")
    plain = value.pop("stringData", None) or {}
    content = dict(value.get("data") or {})
    for key, text in content.items():
        try:
            base64.b64decode(text or "", validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise bad_request(
                'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0 '
                f"in field data[{key}]"
            ) from error
    content |= {key: base64.b64encode(str(text).encode()).decode() for key, text in plain.items()}
    value.pop("data", None)
    if content:
        value["data"] = content
