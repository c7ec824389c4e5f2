"""One deadline for a whole answer: a socket's own time-out begins anew with each byte, so a dripping server defeats it.

The connections made here look at the deadline of the call before each read from the socket.
"""

import http.client
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from engine.clock import Clock


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant on a clock that never goes back."""

    clock: Clock
    at: float

    def left(self) -> float:
        """Answer the seconds that are left; raises TimeoutError when none are."""
        seconds = self.at - self.clock.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline of the call has passed")
        return seconds


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(clock: Clock, seconds: float) -> Iterator[None]:
    """Let every read inside the block end when the span is over."""
    token = _current.set(Deadline(clock, clock.monotonic() + seconds))
    try:
        yield
    finally:
        _current.reset(token)


class _BoundedReads(io.RawIOBase):
    """The bytes of a socket, each read bounded by what is left of the call's time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        bound = _current.get()
        if bound:
            self._socket.settimeout(bound.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp.close()
        self.fp = io.BufferedReader(_BoundedReads(sock))


class _PlainConnection(HTTPConnection):
    response_class = _BoundedResponse


class _SecureConnection(HTTPSConnection):
    response_class = _BoundedResponse


class PlainPool(HTTPConnectionPool):
    """Connections without TLS whose answers obey the deadline."""

    ConnectionCls = _PlainConnection


class SecurePool(HTTPSConnectionPool):
    """Connections with TLS whose answers obey the deadline."""

    ConnectionCls = _SecureConnection
