"""An API server seen from afar: a relay that can lag, fall silent, show the past, or deny what there is.

The controller speaks to it in clear text, and it to the API server with the rights of a kubeconfig; so it can tell a
watch from a list and remember what was written. A watch has a thread that reads ahead, so that lag does not add up.
"""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

from engine.simulators.http import HttpRequest, HttpResponse, HttpServer

CONNECTIONS_MAX = 100  # more than workers and watches of one controller
LOOK_SECONDS = 0.05
JSON_HEADERS = {"Content-Type": "application/json"}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusWrite:
    """A status that the controller wrote and the API server took."""

    name: str
    phase: str


class Relay:
    """Carries requests to the API server of a kubeconfig; a context manager."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        configuration = Configuration()
        config.load_kube_config(  # type: ignore[no-untyped-call]  # the package is half typed
            config_file=str(kubeconfig), client_configuration=configuration
        )
        configuration.connection_pool_maxsize = CONNECTIONS_MAX
        self._host = configuration.host
        self._client = ApiClient(configuration)
        self._server = HttpServer(self._answer)
        self._lock = threading.Lock()
        self._past: dict[str, bytes] = {}
        self._denied: set[str] = set()
        self._expiring: set[str] = set()
        self._era = 0
        self.lag_seconds = 0.0
        """How long an event of a watch is on its way."""
        self.silent = False
        """Whether watches are accepted and never heard of again; what they would have said is lost."""
        self.expired = 0
        """How many watches the API server refused because it had forgotten their version."""
        self.lists = 0
        """How many lists were asked for."""
        self.statuses: list[StatusWrite] = []
        self.kubeconfig = folder / "relayed.kubeconfig"
        """Where the controller finds it."""
        self.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(self._server.url)), "utf-8")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut_watches()
        self._server.stop()
        self._client.close()  # type: ignore[no-untyped-call]  # the package is half typed

    def cut_watches(self) -> None:
        """Every watch has ended; the next ones are new."""
        self._era += 1

    def listed(self, path: str) -> Json:
        """The list at this path as it is now."""
        listed: Json = json.loads(self._send(HttpRequest(method="GET", path=path)).data)
        return listed

    def show(self, path: str, listed: Json) -> None:
        """From now on this is the list at this path, and its watches tell nothing, until `live_now`."""
        self._past[path] = json.dumps(listed).encode()
        self.expire(path)

    def expire(self, path: str) -> None:
        """The next watch of this path is refused: it has to be listed anew."""
        self._expiring.add(path)
        self.cut_watches()

    def live_now(self) -> None:
        """The past is past: lists are true, and watches end so that new ones tell what was missed."""
        self._past.clear()
        self.cut_watches()

    def deny(self, path: str) -> None:
        """The API server seems not to know this path."""
        self._denied.add(path)

    def allow(self) -> None:
        """Nothing is denied."""
        self._denied.clear()

    def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.path in self._denied:
            return _refusal(404)
        if "watch" in request.query:
            return self._watch(request)
        if request.path in self._past and request.method == "GET":
            self.lists += 1
            return HttpResponse(status=200, headers=JSON_HEADERS, body=self._past[request.path])
        self.lists += "limit" in request.query
        answer = self._send(request)
        if request.method == "PATCH" and request.path.endswith("/status") and answer.status == 200:
            self._note(request)
        return HttpResponse(status=answer.status, headers=JSON_HEADERS, body=answer.data)

    def _watch(self, request: HttpRequest) -> HttpResponse:
        if request.path in self._expiring:
            self._expiring.discard(request.path)
            return _refusal(410)
        answer = self._send(request, preload=False)
        if answer.status != 200:
            self.expired += answer.status == 410
            return HttpResponse(status=answer.status, headers=JSON_HEADERS, body=answer.data)
        return HttpResponse(status=200, headers=JSON_HEADERS, body=self._pass_on(request.path, answer))

    def _pass_on(self, path: str, answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        era, waiting = self._era, queue.Queue[tuple[float, bytes]]()
        threading.Thread(target=_read_ahead, args=(answer, waiting), name="relay", daemon=True).start()
        try:
            while self._era == era:
                try:
                    came_at, chunk = waiting.get(timeout=LOOK_SECONDS)
                except queue.Empty:
                    continue
                if self.silent or path in self._past:
                    continue
                while time.monotonic() < came_at + self.lag_seconds and self._era == era:
                    time.sleep(LOOK_SECONDS)  # Not a wait for a fact: the lag is the point.
                self.expired += b'"code":410' in chunk
                if not chunk:
                    return
                yield chunk
        finally:
            with contextlib.suppress(ValueError, RuntimeError, OSError):  # It may have ended by itself.
                answer.shutdown()
            answer.close()

    def _note(self, request: HttpRequest) -> None:
        status = json.loads(request.body).get("status", {})
        phase = status.get("currentStatus", {}).get("phase")
        if phase:
            self.statuses.append(StatusWrite(name=request.path.split("/")[-2], phase=phase))

    def _send(self, request: HttpRequest, *, preload: bool = True) -> urllib3.BaseHTTPResponse:
        query = urlencode(request.query, doseq=True)
        content = request.headers.get("content-type")
        answer: urllib3.BaseHTTPResponse = self._client.rest_client.pool_manager.request(
            request.method,
            f"{self._host}{request.path}{'?' + query if query else ''}",
            body=request.body or None,
            headers={"Content-Type": content} if content else {},
            preload_content=preload,
            retries=False,
        )
        return answer


def _read_ahead(answer: urllib3.BaseHTTPResponse, waiting: "queue.Queue[tuple[float, bytes]]") -> None:
    try:
        for chunk in answer.stream(None):
            if chunk:
                waiting.put((time.monotonic(), chunk))
    except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError):
        """The watch was cut, from either side."""
    waiting.put((time.monotonic(), b""))


def _refusal(code: int) -> HttpResponse:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "said the relay"}
    return HttpResponse(status=code, headers=JSON_HEADERS, body=json.dumps(status).encode())


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "relay", "cluster": {"server": url}}],
        "users": [{"name": "anybody", "user": {}}],
        "contexts": [{"name": "relay", "context": {"cluster": "relay", "user": "anybody"}}],
        "current-context": "relay",
    }
