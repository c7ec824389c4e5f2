"""One API server, spoken to in raw requests: bytes out, bytes in, the port's errors when it says no.

The client package contributes credentials, TLS and proxies; its typed models cost fifty times the CPU of `wire`.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes.client import ApiClient, Configuration

from engine.clock import Clock
from engine.cluster import wire
from engine.cluster.errors import translate, translated
from engine.cluster.pace import TokenBucket, WriteCount
from engine.errors import ConfigurationError

USER_AGENT = "machine-controller"
CONNECT_SECONDS = 5.0  # a handshake across the world takes one
READ_SECONDS = 30.0  # a kube-apiserver gives up a write after 30 to 60 s of its own
RELOAD_SECONDS = 10.0  # a credential that was just read and is refused is refused for a reason; 401s come in crowds
HTTP_OK_MAX = 299
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

log = logging.getLogger(__name__)


class ApiServer:
    """A connection pool to one API server; safe from threads. `load` reads the credentials, and again after a 401."""

    def __init__(self, load: Callable[[], Configuration], *, clock: Clock, title: str) -> None:
        self.title = title
        """How messages call this API server."""
        self._load = load
        self._clock = clock
        self._lock = threading.RLock()
        self._client = ApiClient(load())
        self._loaded_at = clock.monotonic()

    @property
    def url(self) -> str:
        """The address of the API server."""
        return str(self._client.configuration.host)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = JSON,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    ) -> bytes:
        """Answer the body of a successful answer; raise the port's error for any other."""
        what = f"{method} {path} at {self.title}"
        payload = wire.write_json(body) if body is not None else None
        with translated(what):
            response = self._send(method, path, query=query, body=payload, content=content, timeout=timeout)
            data = response.data  # Reading to the end gives the connection back to the pool.
        if response.status > HTTP_OK_MAX:
            raise translate(response.status, data, what)
        return data

    @contextlib.contextmanager
    def stream(self, path: str, query: Mapping[str, str], *, read_seconds: float) -> Iterator[urllib3.BaseHTTPResponse]:
        """Open an answer that is read bit by bit; each bit must come within `read_seconds` of the one before."""
        what = f"watch of {path} at {self.title}"
        with translated(what):
            timeout = (CONNECT_SECONDS, read_seconds)
            response = self._send("GET", path, query=query, timeout=timeout)
            try:
                if response.status > HTTP_OK_MAX:
                    raise translate(response.status, response.data, what)
                yield response
            finally:
                # Half a watch is still in the pipe: this connection is of no use to anybody else.
                response.close()

    def close(self) -> None:
        """Close the idle connections."""
        self._client.close()  # type: ignore[no-untyped-call]  # the package is half typed

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: bytes | None = None,
        content: str = JSON,
        timeout: tuple[float, float],
    ) -> urllib3.BaseHTTPResponse:
        reloaded = False
        while True:
            client = self._client
            response: urllib3.BaseHTTPResponse = client.rest_client.pool_manager.request(
                method,
                f"{client.configuration.host}{path}{'?' + urlencode(query) if query else ''}",
                body=body,
                headers=self._headers(client, content if body is not None else ""),
                timeout=urllib3.Timeout(connect=timeout[0], read=timeout[1]),
                preload_content=False,
                retries=False,  # Who called knows better whether and when to try again.
                redirect=False,
            )
            if reloaded or response.status != 401 or not self._reload(client):
                return response
            reloaded = True
            response.drain_conn()

    def _headers(self, client: ApiClient, content: str) -> dict[str, str]:
        headers = {"Accept": JSON, "User-Agent": USER_AGENT}
        if content:
            headers["Content-Type"] = content
        # The package refreshes tokens here, without a lock: an expired exec token would start one plugin a thread.
        with self._lock:
            token = client.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        return headers

    def _reload(self, refused: ApiClient) -> bool:
        """Read the credentials again; answer whether another try is worthwhile.

        The package never reads a `tokenFile` or the certificates of an exec plugin a second time.
        """
        with self._lock:
            if self._client is not refused:
                return True
            now = self._clock.monotonic()
            if now - self._loaded_at < RELOAD_SECONDS:
                return False
            self._loaded_at = now
            try:
                self._client = ApiClient(self._load())
            except ConfigurationError as error:
                log.warning("credentials were refused and cannot be read again", extra={"error": str(error)})
                return False
            return True


class Writer:
    """Writes to one API server: paced, counted, and decoded by whoever asked."""

    def __init__(self, api: ApiServer, *, pace: TokenBucket, count: WriteCount) -> None:
        self._api = api
        self._pace = pace
        self._count = count

    def patch(self, resource: str, path: str, body: Mapping[str, Any]) -> bytes:
        """Send a merge patch and answer the object that came of it."""
        return self._write("PATCH", resource, path, body, MERGE_PATCH)

    def create(self, resource: str, path: str, body: Mapping[str, Any]) -> bytes:
        """Create an object and answer it."""
        return self._write("POST", resource, path, body, JSON)

    def delete(self, resource: str, path: str, body: Mapping[str, Any]) -> bytes:
        """Delete an object and answer what is left of it."""
        return self._write("DELETE", resource, path, body, JSON)

    def _write(self, method: str, resource: str, path: str, body: Mapping[str, Any], content: str) -> bytes:
        self._pace.take()
        self._count.add(VERBS[method], resource)
        return self._api.call(method, path, body=body, content=content)


VERBS = {"PATCH": "patch", "POST": "create", "DELETE": "delete", "PUT": "update"}
"""The API's words for the methods, as RBAC spells them."""
