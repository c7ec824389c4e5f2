"""A scripted API server on a real socket, for what a well-behaved one never does."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.clock import Clock
from engine.cluster.api import ApiServer
from engine.cluster.connect import ClusterOptions, connect
from engine.simulators.http import HttpRequest, HttpResponse, HttpServer

Json = dict[str, Any]
Script = Callable[[HttpRequest], HttpResponse]
MACHINES = "/apis/machine.sapcloud.io/v1alpha1/namespaces/shoot/machines"


def answer(body: Json, status: int = 200) -> HttpResponse:
    """A whole answer."""
    return HttpResponse(status=status, headers={"Content-Type": "application/json"}, body=json.dumps(body).encode())


def refusal(code: int, message: str = "no", **more: Any) -> HttpResponse:
    """The API server says no."""
    return answer({"kind": "Status", "status": "Failure", "code": code, "message": message, **more}, code)


def event(kind: str, item: Json) -> bytes:
    """One line of a watch."""
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def stream(*lines: bytes, then: Callable[[], object] = lambda: None) -> HttpResponse:
    """A watch that sends the lines, does what `then` says, and ends."""

    def body() -> Iterator[bytes]:
        yield from lines
        then()

    return HttpResponse(status=200, body=body())


def machine(name: str = "m", version: int = 1, uid: str = "", **more: Any) -> Json:
    """A Machine as JSON."""
    metadata = {
        "name": name,
        "namespace": "shoot",
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "creationTimestamp": "2026-01-02T03:04:05Z",
        **more.pop("metadata", {}),
    }
    return {"metadata": metadata, "spec": {"class": {"kind": "MachineClass", "name": "small"}}, **more}


def listing(*items: Any, version: int = 1, more: str = "") -> HttpResponse:
    """A list, or a page of it."""
    return answer({"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)})


class Scripted:
    """Answers lists and watches from two scripts; the last entry of each is repeated. Remembers every request."""

    def __init__(self, lists: Sequence[Script], watches: Sequence[Script]) -> None:
        self._scripts = {"list": list(lists), "watch": list(watches)}
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self.requests: list[HttpRequest] = []

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The next answer."""
        with self._lock:
            self.requests.append(request)
            script = self._scripts["watch" if "watch" in request.query else "list"]
            entry = script[0] if len(script) == 1 else script.pop(0)
        return entry(request)

    def count(self, kind: str) -> int:
        """How many lists or watches were asked for."""
        return len(self.of(kind))

    def of(self, kind: str) -> list[HttpRequest]:
        """The lists or watches that were asked for."""
        return [request for request in self.requests if ("watch" in request.query) == (kind == "watch")]


def kubeconfig_text(url: str, **user: str) -> str:
    """A kubeconfig for this address and user."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


@contextmanager
def served(handle: Script, folder: Path, *, clock: Clock, **user: str) -> Iterator[ApiServer]:
    """An adapter that is connected to the script."""
    with HttpServer(handle) as server:
        path = folder / "kubeconfig"
        path.write_text(kubeconfig_text(server.url, **user), "utf-8")
        servers = connect(ClusterOptions(target_kubeconfig=str(path), namespace="shoot"), clock=clock)
        yield servers.control
        servers.close()
