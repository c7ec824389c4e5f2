"""A clock that a test or a simulated world turns by hand."""

import threading
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # any fixed instant will do; a round one reads well in a trace


class VirtualClock:
    """Time that passes only when somebody says so; it never goes back.

    Sleeping and waiting advance it at once, which is right while one thread drives the world.
    """

    def __init__(self, start: datetime = EPOCH) -> None:
        self._start = start
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Answer the simulated wall-clock time, aware and in UTC."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Answer the simulated seconds since the start of the clock."""
        return (self.now() - self._start).total_seconds()

    def advance(self, span: timedelta) -> datetime:
        """Let the span pass and answer the new time; a negative span lets nothing pass."""
        with self._lock:
            self._now += max(span, timedelta(0))
            return self._now

    def wait(self, event: threading.Event, span: timedelta) -> bool:
        """Answer whether the event is set; when it is not, the whole span has passed."""
        if not event.is_set():
            self.advance(span)
        return event.is_set()

    def sleep(self, span: timedelta) -> None:
        """Return at once; the span has passed."""
        self.advance(span)
