"""The only module that reads real time or sleeps: time is an argument everywhere else."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where time comes from; simulations hand in a virtual one."""

    def now(self) -> datetime:
        """Answer the wall-clock time, aware and in UTC; it may jump."""
        ...

    def monotonic(self) -> float:
        """Answer seconds since an arbitrary origin; they never go back. Time-outs are measured with them."""
        ...

    def wait(self, event: threading.Event, span: timedelta) -> bool:
        """Wait until the event is set or the span is over; answer whether it is set."""
        ...

    def sleep(self, span: timedelta) -> None:
        """Return when the span is over."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Answer the wall-clock time, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Answer seconds since an arbitrary origin."""
        return time.monotonic()

    def wait(self, event: threading.Event, span: timedelta) -> bool:
        """Wait until the event is set or the span is over; answer whether it is set."""
        return event.wait(max(0.0, span.total_seconds()))

    def sleep(self, span: timedelta) -> None:
        """Return when the span is over."""
        time.sleep(max(0.0, span.total_seconds()))
