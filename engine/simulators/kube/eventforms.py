"""Events have two faces, `v1` and `events.k8s.io/v1`; they are kept in the older one and shown in both."""

from collections.abc import Mapping

from engine.simulators.kube.kinds import Json

_NEWER_NAMES: Mapping[str, str] = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_OLDER_NAMES = {newer: older for older, newer in _NEWER_NAMES.items()}
_OBJECT_PARTS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

EVENT_FIELDS = (
    *(f"involvedObject.{part}" for part in _OBJECT_PARTS),
    "reason",
    "reportingComponent",
    "source",
    "type",
)
REGARDING_FIELDS = (*(f"regarding.{part}" for part in _OBJECT_PARTS), "reason", "reportingController", "type")


def to_regarding(event: Json) -> Json:
    """Answer the `v1` event as `events.k8s.io/v1` shows it."""
    shown = {_NEWER_NAMES.get(name, name): value for name, value in event.items()}
    return shown | {"apiVersion": "events.k8s.io/v1"}


def from_regarding(event: Json) -> Json:
    """Answer the `events.k8s.io/v1` event as `v1` shows it."""
    kept = {_OLDER_NAMES.get(name, name): value for name, value in event.items()}
    return kept | {"apiVersion": "v1"}
