"""A clock that a test or a simulated world turns by hand."""

import threading
from datetime import UTC, datetime, timedelta

from engine.clock import Clock

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # any fixed instant will do; a round one reads well in a trace


class VirtualClock:
    """Time that passes only when somebody says so; it never goes back.

    Sleeping and waiting advance it at once, which is right while one thread drives the world.
    """

    def __init__(self, start: datetime = EPOCH) -> None:
        self._start = start
        self._now = start
        self._elapsed = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Answer the simulated wall-clock time, aware and in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Answer the simulated seconds since the start of the clock."""
        return self._elapsed

    def advance(self, span: timedelta) -> datetime:
        """Let the span pass and answer the new time; a negative span lets nothing pass."""
        with self._lock:
            self._now += max(span, timedelta(0))
            self._elapsed = (self._now - self._start).total_seconds()
            return self._now

    def wait(self, event: threading.Event, span: timedelta) -> bool:
        """Answer whether the event is set; when it is not, the whole span has passed."""
        if not event.is_set():
            self.advance(span)
        return event.is_set()

    def sleep(self, span: timedelta) -> None:
        """Return at once; the span has passed."""
        self.advance(span)


class SkewedClock:
    """A machine's own view of true time: its wall clock may be wrong by any span, its monotonic clock is right."""

    def __init__(self, truth: Clock) -> None:
        self._truth = truth
        self.skew = timedelta(0)
        """How far the wall clock is ahead of true time."""

    def now(self) -> datetime:
        """Answer what the wall clock says."""
        return self._truth.now() + self.skew

    def monotonic(self) -> float:
        """Answer the seconds since the start, which no step of the wall clock changes."""
        return self._truth.monotonic()

    def wait(self, event: threading.Event, span: timedelta) -> bool:
        """Answer whether the event is set; when it is not, the whole span has passed."""
        return self._truth.wait(event, span)

    def sleep(self, span: timedelta) -> None:
        """Return at once; the span has passed."""
        self._truth.sleep(span)
