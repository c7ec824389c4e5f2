"""How fast and how often the API server is written to."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta

from engine.clock import Clock

WriteListener = Callable[[str, str], None]
"""Called with verb and resource of each write, before it is sent."""


class TokenBucket:
    """Lets `burst` callers through at once and `qps` a second after that; the others sleep, in the order they came."""

    def __init__(self, *, qps: float, burst: int, clock: Clock) -> None:
        self._clock = clock
        self._span = 1 / qps
        self._reserve = self._span * (burst - 1)
        self._lock = threading.Lock()
        self._next_at = clock.monotonic() - self._reserve
        """When the next token would be made if the bucket had never been full."""

    def take(self) -> None:
        """Return when it is the caller's turn."""
        with self._lock:
            now = self._clock.monotonic()
            turn = max(self._next_at, now - self._reserve)
            self._next_at = turn + self._span
        if turn > now:
            self._clock.sleep(timedelta(seconds=turn - now))


class WriteCount:
    """How many writes were sent, by verb and resource."""

    def __init__(self, listener: WriteListener | None = None) -> None:
        self._listener = listener
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, verb: str, resource: str) -> None:
        """Count one, and tell the listener."""
        with self._lock:
            self._counts[verb, resource] += 1
        if self._listener:
            self._listener(verb, resource)

    def snapshot(self) -> Mapping[tuple[str, str], int]:
        """Answer the counts so far."""
        with self._lock:
            return dict(self._counts)
