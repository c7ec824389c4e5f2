"""A wire that can be cut: a TCP proxy between the controller and a server, TLS passing through unread.

It cuts connections, holds them silently as a dead router does (half-open), delays every byte, or refuses to be
connected to. Only the standard library is used; a connection has two threads.
"""

import contextlib
import socket
import struct
import threading
from typing import Self

CHUNK_BYTES = 64 * 1024
WAITING_MAX = 256  # A wave of workers connects at once.
CONNECT_SECONDS_MAX = 5.0


class FaultProxy:
    """Listens on a port of the loopback address and carries bytes to another one; a context manager."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._holding = False
        self._seconds = 0.0
        self._listener: socket.socket | None = None
        self.port = 0
        """Where it listens; the same before and after a refusal."""

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def accept(self) -> None:
        """Connections are taken again. Safe to repeat."""
        if self._listener is not None:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(WAITING_MAX)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._take, args=(listener,), name="proxy", daemon=True).start()

    def refuse(self) -> None:
        """Nobody listens, and every connection is cut. Safe to repeat."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> int:
        """Every connection is reset; answers how many there were. New ones are carried."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.reset()
        return len(links)

    def hold(self, *, later_ones: bool) -> None:
        """Nothing passes on the connections that there are, and nobody is told; later ones too, if asked for."""
        with self._lock:
            self._holding = later_ones
            for link in self._links:
                link.hold()

    def release(self) -> None:
        """Everything passes again, and what was held arrives late."""
        with self._lock:
            self._holding = False
            for link in self._links:
                link.release()

    def delay(self, seconds: float) -> None:
        """Every piece of an answer is on its way for so long."""
        self._seconds = seconds

    @property
    def delay_seconds(self) -> float:
        """How long a piece of an answer is on its way."""
        return self._seconds

    def forget(self, link: "_Link") -> None:
        """The connection has ended."""
        with self._lock:
            self._links.discard(link)

    def _take(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port), CONNECT_SECONDS_MAX)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            link = _Link(self, client, server)
            with self._lock:
                self._links.add(link)
                if self._holding:
                    link.hold()
            link.start()


class _Link:
    """One connection, with a thread for each direction."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._open = threading.Event()
        self._open.set()
        self._ended = threading.Event()
        self._counting = threading.Lock()
        self._carriers = 2

    def start(self) -> None:
        for source, sink in ((self._client, self._server), (self._server, self._client)):
            threading.Thread(target=self._carry, args=(source, sink), name="proxy-link", daemon=True).start()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def reset(self) -> None:
        self._ended.set()
        self._open.set()
        _reset(self._client)
        _reset(self._server)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                if source is self._server and self._proxy.delay_seconds:
                    self._ended.wait(self._proxy.delay_seconds)
                self._open.wait()
                sink.sendall(chunk)
        self._open.wait()  # An end that is held is not noticed either.
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._proxy.forget(self)
        with self._counting:
            self._carriers -= 1
            last = not self._carriers
        if last:
            self._client.close()
            self._server.close()


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Lingering for no time makes the kernel say "reset" in the place of "goodbye".
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
