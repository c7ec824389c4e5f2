"""The wire of the simulators: requests and responses as values, and a real HTTP server that carries them.

A simulator is a function from `HttpRequest` to `HttpResponse`. In process it is called directly; `HttpServer` serves
the same function on a loopback socket, one thread a connection, so that real clients meet the same code.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

from engine.clock import Clock, SystemClock

_POLL_SECONDS = 0.02  # how soon a server notices that it was stopped
BODY_BYTES_MAX = 8 * 1024 * 1024  # four times the largest object that a kube-apiserver takes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request: the path without its query, header names in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """One response; an iterator as body is sent chunk by chunk as it yields (a watch).

    `delay` passes before anything is sent; `hang_up` cuts the connection instead of answering (a lost answer).
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterator[bytes] = b""
    delay: timedelta = timedelta(0)
    hang_up: bool = False


Handler = Callable[[HttpRequest], HttpResponse]


class HttpServer:
    """A simulator on a real socket; use it as a context manager, or `start` and `stop`."""

    def __init__(
        self,
        handle: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = _Server((host, port), _connection_class(handle, clock or SystemClock()))
        self._scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        serve = partial(self._server.serve_forever, _POLL_SECONDS)
        self._thread = threading.Thread(target=serve, name="simulator", daemon=True)

    @property
    def url(self) -> str:
        """The address of the server, without a trailing slash."""
        host, port = self._server.server_address[:2]
        return f"{self._scheme}://{host!s}:{port}"

    def start(self) -> Self:
        """Serve in a thread of its own."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and cut the connections that are open."""
        self._server.shutdown()
        self._server.cut_connections()
        self._server.server_close()
        self._thread.join(timeout=5)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 512  # a wave of workers connects at once

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if isinstance(request, socket.socket):
            with self._lock:
                self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        if isinstance(request, socket.socket):
            with self._lock:
                self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is its own affair."""

    def cut_connections(self) -> None:
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _connection_class(handle: Handler, clock: Clock) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one class, many small methods
    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def _serve(self) -> None:
            response = handle(self._read())
            if response.delay:
                clock.sleep(response.delay)
            if response.hang_up:
                self._cut()
            elif isinstance(response.body, bytes):
                self._send_whole(response, response.body)
            else:
                self._send_chunks(response, response.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base class asks for it

        def _read(self) -> HttpRequest:
            url = urlsplit(self.path)
            length = min(int(self.headers.get("Content-Length") or 0), BODY_BYTES_MAX)
            return HttpRequest(
                method=self.command,
                path=url.path,
                query=parse_qs(url.query, keep_blank_values=True),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(length) if length else b"",
            )

        def _cut(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def _send_whole(self, response: HttpResponse, body: bytes) -> None:
            self._send_head(response, {"Content-Length": str(len(body))})
            if self.command != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()

        def _send_chunks(self, response: HttpResponse, chunks: Iterator[bytes]) -> None:
            self._send_head(response, {"Transfer-Encoding": "chunked"})
            self.wfile.flush()
            try:
                for chunk in chunks:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")
                self.wfile.flush()
            finally:
                close = getattr(chunks, "close", None)
                if close:
                    close()

        def _send_head(self, response: HttpResponse, more: Mapping[str, str]) -> None:
            self.send_response(response.status)
            for name, value in {**response.headers, **more}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """A simulator's journal is its own; the terminal belongs to the user."""

    return Connection
