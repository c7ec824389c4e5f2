"""How often something happened within a window that ends now, on the monotonic clock."""

from collections import deque
from datetime import timedelta

KEPT_MAX = 10_000  # more than any limit asks for; the oldest are forgotten first


class Rate:
    """Instants within a window; not safe from threads by itself."""

    def __init__(self, window: timedelta) -> None:
        self._seconds = window.total_seconds()
        self._instants: deque[float] = deque(maxlen=KEPT_MAX)

    @property
    def size(self) -> int:
        """How many instants are held, as counted last."""
        return len(self._instants)

    def add(self, at: float) -> None:
        """Take note that it happened at this monotonic instant; instants come in order."""
        self._instants.append(at)

    def count(self, now: float) -> int:
        """Answer how often it happened within the window."""
        while self._instants and self._instants[0] <= now - self._seconds:
            self._instants.popleft()
        return len(self._instants)

    def clear(self) -> None:
        """Forget everything."""
        self._instants.clear()
