"""What `kubectl get` shows of each kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from engine.simulators.kube.builtins import BUDGETS, DEFINITIONS, EVENTS, NAMESPACES, NODES, PODS, SECRETS
from engine.simulators.kube.jsonpath import JsonPath
from engine.simulators.kube.kinds import Json, Kind, Shelf
from engine.simulators.kube.meta import instant

Cell = Callable[[Json, datetime], Any]
_MINUTE, _HOUR, _DAY = 60, 3600, 86400  # in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; a priority above 0 is shown with `-o wide` only."""

    name: str
    cell: Cell
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def definition(self) -> Json:
        """Answer the column as a table's head has it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": self.priority,
        }


@lru_cache(maxsize=256)  # a definition's columns are compiled once, not for every line of a watch
def columns_of(kind: Kind) -> Sequence[Column]:
    """Answer the columns of the kind; the first one is the name, except for events."""
    if kind.custom:
        return _NAME, *(_custom_column(column) for column in kind.columns)
    return _BUILT_IN.get(kind.shelf, (_NAME, _AGE))


def human_duration(seconds: float) -> str:
    """Answer a span as Kubernetes shows ages: two units at most, fewer the longer it is."""
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole >= -1 else "<invalid>"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    for span, unit, inner, inner_name, precise, rough in _SCALES:
        if whole < precise:
            rest = whole % span // inner
            return f"{whole // span}{unit}" + (f"{rest}{inner_name}" if rest else "")
        if whole < rough:
            return f"{whole // span}{unit}"
    return f"{whole // (365 * _DAY)}y"


# Unit, the unit within it, up to where both are shown, and up to where the first alone is shown.
_SCALES = (
    (_MINUTE, "m", 1, "s", 10 * _MINUTE, 3 * _HOUR),
    (_HOUR, "h", _MINUTE, "m", 8 * _HOUR, 48 * _HOUR),
    (_DAY, "d", _HOUR, "h", 8 * _DAY, 2 * 365 * _DAY),
    (365 * _DAY, "y", _DAY, "d", 8 * 365 * _DAY, 8 * 365 * _DAY),
)


def _since(text: Any, now: datetime) -> str:
    if not isinstance(text, str):
        return "<unknown>"
    try:
        return human_duration((now - instant(text)).total_seconds())
    except (ValueError, TypeError):
        return "<invalid>"


def _custom_column(column: Mapping[str, Any]) -> Column:
    path = JsonPath(column["jsonPath"])
    return Column(
        name=column["name"],
        cell=_CUSTOM_CELLS.get(column["type"], _plain_cell)(path),
        type=column["type"],
        format=column.get("format", ""),
        priority=column.get("priority", 0),
        description=column.get("description", ""),
    )


def _plain_cell(path: JsonPath) -> Cell:
    return lambda value, _: path.first(value)


def _date_cell(path: JsonPath) -> Cell:
    def cell(value: Json, now: datetime) -> Any:
        found = path.first(value)
        return None if found is None else _since(found, now)

    return cell


def _text_cell(path: JsonPath) -> Cell:
    def cell(value: Json, _: datetime) -> Any:
        found = path.all(value)
        return " ".join(str(item) for item in found) if found else None

    return cell


_CUSTOM_CELLS: Mapping[str, Callable[[JsonPath], Cell]] = {"date": _date_cell, "string": _text_cell}


def _at(path: str, missing: Any = "") -> Cell:
    compiled = JsonPath(path)

    def cell(value: Json, _: datetime) -> Any:
        found = compiled.first(value)
        return missing if found is None or found == "" else found

    return cell


def _age_at(path: str) -> Cell:
    compiled = JsonPath(path)
    return lambda value, now: _since(compiled.first(value), now)


def _count_at(name: str) -> Cell:
    return lambda value, _: len(value.get(name) or {})


def _node_status(node: Json, _: datetime) -> str:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = next((c for c in conditions if c.get("type") == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    if (node.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: Json, _: datetime) -> str:
    labels = node["metadata"].get("labels") or {}
    prefix = "node-role.kubernetes.io/"
    roles = sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))
    return ",".join(roles) or "<none>"


def _address(kind: str) -> Cell:
    return _at(f'.status.addresses[?(@.type=="{kind}")].address', "<none>")


def _pod_ready(pod: Json, _: datetime) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    containers = (pod.get("spec") or {}).get("containers") or []
    return f"{sum(bool(s.get('ready')) for s in statuses)}/{len(containers)}"


def _pod_status(pod: Json, _: datetime) -> str:
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    status = pod.get("status") or {}
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _pod_restarts(pod: Json, _: datetime) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return sum(s.get("restartCount", 0) for s in statuses)


def _event_seen(field: str) -> Cell:
    def cell(event: Json, now: datetime) -> str:
        series = (event.get("series") or {}).get("lastObservedTime") if field == "lastTimestamp" else None
        return _since(series or event.get(field) or event.get("eventTime"), now)

    return cell


def _event_object(event: Json, _: datetime) -> str:
    involved = event.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _event_source(event: Json, _: datetime) -> str:
    source = event.get("source") or {}
    parts = [
        source.get("component") or event.get("reportingComponent"),
        source.get("host") or event.get("reportingInstance"),
    ]
    return ", ".join(part for part in parts if part)


def _event_count(event: Json, _: datetime) -> int:
    return int((event.get("series") or {}).get("count") or event.get("count") or 1)


def _deployment_ready(deployment: Json, _: datetime) -> str:
    ready = (deployment.get("status") or {}).get("readyReplicas", 0)
    return f"{ready}/{(deployment.get('spec') or {}).get('replicas', 1)}"


def _modes(value: Json, _: datetime) -> str:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    return ",".join(short.get(mode, mode) for mode in (value.get("spec") or {}).get("accessModes") or ())


def _claim(volume: Json, _: datetime) -> str:
    claim = (volume.get("spec") or {}).get("claimRef")
    return f"{claim.get('namespace')}/{claim.get('name')}" if claim else ""


_NAME = Column(name="Name", cell=lambda value, _: value["metadata"]["name"], format="name")
_AGE = Column(name="Age", cell=_age_at(".metadata.creationTimestamp"))
_STATUS = Column(name="Status", cell=_at(".status.phase"))

_BUILT_IN: Mapping[Shelf, Sequence[Column]] = {
    NAMESPACES: (_NAME, _STATUS, _AGE),
    ("", "configmaps"): (_NAME, Column(name="Data", cell=_count_at("data"), type="integer"), _AGE),
    SECRETS: (
        _NAME,
        Column(name="Type", cell=_at(".type")),
        Column(name="Data", cell=_count_at("data"), type="integer"),
        _AGE,
    ),
    ("", "serviceaccounts"): (_NAME, Column(name="Secrets", cell=_count_at("secrets"), type="integer"), _AGE),
    NODES: (
        _NAME,
        Column(name="Status", cell=_node_status),
        Column(name="Roles", cell=_node_roles),
        _AGE,
        Column(name="Version", cell=_at(".status.nodeInfo.kubeletVersion")),
        Column(name="Internal-IP", cell=_address("InternalIP"), priority=1),
        Column(name="External-IP", cell=_address("ExternalIP"), priority=1),
        Column(name="OS-Image", cell=_at(".status.nodeInfo.osImage", "<unknown>"), priority=1),
        Column(name="Kernel-Version", cell=_at(".status.nodeInfo.kernelVersion", "<unknown>"), priority=1),
        Column(name="Container-Runtime", cell=_at(".status.nodeInfo.containerRuntimeVersion", "<unknown>"), priority=1),
    ),
    PODS: (
        _NAME,
        Column(name="Ready", cell=_pod_ready),
        Column(name="Status", cell=_pod_status),
        Column(name="Restarts", cell=_pod_restarts),
        _AGE,
        Column(name="IP", cell=_at(".status.podIP", "<none>"), priority=1),
        Column(name="Node", cell=_at(".spec.nodeName", "<none>"), priority=1),
        Column(name="Nominated Node", cell=_at(".status.nominatedNodeName", "<none>"), priority=1),
    ),
    EVENTS: (
        Column(name="Last Seen", cell=_event_seen("lastTimestamp")),
        Column(name="Type", cell=_at(".type")),
        Column(name="Reason", cell=_at(".reason")),
        Column(name="Object", cell=_event_object),
        Column(name="Subobject", cell=_at(".involvedObject.fieldPath"), priority=1),
        Column(name="Source", cell=_event_source, priority=1),
        Column(name="Message", cell=_at(".message")),
        Column(name="First Seen", cell=_event_seen("firstTimestamp"), priority=1),
        Column(name="Count", cell=_event_count, type="integer", priority=1),
        Column(name="Name", cell=lambda value, _: value["metadata"]["name"], format="name", priority=1),
    ),
    ("coordination.k8s.io", "leases"): (_NAME, Column(name="Holder", cell=_at(".spec.holderIdentity")), _AGE),
    ("", "persistentvolumes"): (
        _NAME,
        Column(name="Capacity", cell=_at(".spec.capacity.storage")),
        Column(name="Access Modes", cell=_modes),
        Column(name="Reclaim Policy", cell=_at(".spec.persistentVolumeReclaimPolicy")),
        _STATUS,
        Column(name="Claim", cell=_claim),
        Column(name="StorageClass", cell=_at(".spec.storageClassName")),
        _AGE,
    ),
    ("", "persistentvolumeclaims"): (
        _NAME,
        _STATUS,
        Column(name="Volume", cell=_at(".spec.volumeName")),
        Column(name="Capacity", cell=_at(".status.capacity.storage")),
        Column(name="Access Modes", cell=_modes),
        Column(name="StorageClass", cell=_at(".spec.storageClassName")),
        _AGE,
    ),
    BUDGETS: (
        _NAME,
        Column(name="Min Available", cell=_at(".spec.minAvailable", "N/A")),
        Column(name="Max Unavailable", cell=_at(".spec.maxUnavailable", "N/A")),
        Column(name="Allowed Disruptions", cell=_at(".status.disruptionsAllowed", 0), type="integer"),
        _AGE,
    ),
    ("storage.k8s.io", "volumeattachments"): (
        _NAME,
        Column(name="Attacher", cell=_at(".spec.attacher")),
        Column(name="PV", cell=_at(".spec.source.persistentVolumeName")),
        Column(name="Node", cell=_at(".spec.nodeName")),
        Column(name="Attached", cell=_at(".status.attached", missing=False), type="boolean"),
        _AGE,
    ),
    ("apps", "deployments"): (
        _NAME,
        Column(name="Ready", cell=_deployment_ready),
        Column(name="Up-to-date", cell=_at(".status.updatedReplicas", 0), type="integer"),
        Column(name="Available", cell=_at(".status.availableReplicas", 0), type="integer"),
        _AGE,
    ),
    DEFINITIONS: (_NAME, Column(name="Created At", cell=_at(".metadata.creationTimestamp"))),
}
