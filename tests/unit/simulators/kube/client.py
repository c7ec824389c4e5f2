"""What the tests of the embedded API server share: a caller, a clock that never waits, and a small definition."""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from engine.clock import Clock
from engine.simulators.http import HttpRequest
from engine.simulators.kube import KubeSimulator
from engine.simulators.seed import Seed

Json = dict[str, Any]

WIDGETS = "/apis/example.org/v1/namespaces/default/widgets"
GADGETS = "/apis/example.org/v1/namespaces/default/gadgets"
PODS = "/api/v1/namespaces/default/pods"
SECRETS = "/api/v1/namespaces/default/secrets"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class IdleClock:
    """A clock that jumps over every wait."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Answer where the clock stands."""
        return self.at

    def monotonic(self) -> float:
        """Answer where the clock stands, in seconds."""
        return self.at.timestamp()

    def wait(self, event: threading.Event, span: timedelta) -> bool:
        """Let the span pass at once, unless the event is set."""
        if not event.is_set():
            self.at += span
        return event.is_set()

    def sleep(self, span: timedelta) -> None:
        """Let the span pass at once."""
        self.at += span


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer, with its body read as JSON."""

    status: int
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The resource version of the object or list."""
        return str(self.body["metadata"]["resourceVersion"])


class Client:
    """A caller of the server in the same process."""

    def __init__(self, server: KubeSimulator) -> None:
        self.server = server

    def call(self, method: str, path: str, body: object = None, *, as_type: str = "", **query: str) -> Answer:
        """Send a body of the given media type."""
        headers = {"content-type": as_type or "application/json"}
        return self.send(method, path, body, headers, query)

    def send(
        self, method: str, path: str, body: object, headers: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request with headers of its own."""
        response = self.server.handle(_request(method, path, body, headers, query or {}))
        assert isinstance(response.body, bytes)
        return Answer(status=response.status, body=json.loads(response.body), headers=response.headers)

    def get(self, path: str, **query: str) -> Answer:
        """Read an object or a list."""
        return self.call("GET", path, **query)

    def table(self, path: str) -> Answer:
        """Read as `kubectl get` reads."""
        return self.send("GET", path, None, {"accept": TABLE})

    def create(self, path: str, body: Json, **query: str) -> Answer:
        """Send a new object."""
        return self.call("POST", path, body, **query)

    def merge(self, path: str, patch: object, **query: str) -> Answer:
        """Send a merge patch."""
        return self.call("PATCH", path, patch, as_type=MERGE, **query)

    def watch(self, path: str, **query: str) -> Iterator[Json]:
        """Answer the events of a watch, which lasts a minute of the clock unless the query says otherwise."""
        asked = {"watch": "1", "timeoutSeconds": "60"} | query
        response = self.server.handle(_request("GET", path, None, {}, asked))
        assert not isinstance(response.body, bytes)
        for chunk in response.body:
            for line in chunk.splitlines():
                yield json.loads(line)


def _request(method: str, path: str, body: object, headers: Mapping[str, str], query: Mapping[str, str]) -> HttpRequest:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return HttpRequest(method=method, path=path, query=parse_qs(urlencode(query)), headers=headers, body=content)


def make_client(*, clock: Clock | None = None, file: Path | None = None, token: str | None = None) -> Client:
    """Answer a caller of a new server that knows widgets (with status and scale) and gadgets (without)."""
    server = KubeSimulator(clock=clock or IdleClock(), seed=Seed(7), file=file, token=token)
    server.apply(definition("widgets", "Widget", subresources=True))
    server.apply(definition("gadgets", "Gadget", subresources=False))
    return Client(server)


def widget(name: str, *, kind: str = "Widget", metadata: Json | None = None, **spec: object) -> Json:
    """Answer a widget."""
    own = {"name": name} | (metadata or {})
    return {"apiVersion": "example.org/v1", "kind": kind, "metadata": own, "spec": spec}


def pod(name: str, *, labels: Mapping[str, str] | None = None, node: str = "n-1") -> Json:
    """Answer a pod on a node."""
    metadata = {"name": name, "labels": dict(labels or {"app": "web"})}
    return {"metadata": metadata, "spec": {"nodeName": node, "containers": [{"name": "main", "image": "web:1"}]}}


READY: Json = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}


_SPEC: Json = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1},
        "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "code": {"type": "string", "pattern": "^[a-z]+$"},
        "replicas": {"type": "integer"},
        "seenAt": {"type": "string", "format": "date-time"},
        "limit": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "weight": {"type": "integer", "default": 1}},
            },
        },
    },
}


def definition(plural: str, kind: str, *, subresources: bool) -> Json:
    """Answer a small definition with one of each: default, enum, pattern, list map, open part, printer column."""
    status = {"type": "object", "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"}}}
    version: Json = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _SPEC, "status": status}}},
        "additionalPrinterColumns": [
            {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
            {"name": "Team", "type": "string", "jsonPath": ".metadata.labels['example\\.org/team']"},
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    }
    if subresources:
        scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
        version["subresources"] = {"status": {}, "scale": scale}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.org"},
        "spec": {
            "group": "example.org",
            "names": {"plural": plural, "kind": kind, "shortNames": [plural[:3]]},
            "scope": "Namespaced",
            "versions": [version],
        },
    }
