"""Keeps the calls of one account under its rate limit: a bucket of our own, and the pauses that the provider asks for.

All threads and operations of an account share one `Pace`. A short wait is waited here; a long one is an answer
(`ThrottledError` with `retry_at`), so that no worker sleeps while other machines could be served.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from engine.clock import Clock
from engine.ports.provider import ThrottledError

TOO_MANY_REQUESTS = 429
PAUSE_MIN = timedelta(seconds=1)
"""The first pause when the provider names none; it doubles with each pause that did not help."""
PAUSE_MAX = timedelta(minutes=5)
"""No pause is longer, whatever a header says: a wrong one must not stop an account."""
DOUBLINGS_MAX = 6  # 64 s: a minute is the window of most rate limits


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceSettings:
    """How fast an account may be called."""

    calls_per_second: float = 10.0
    """Calls in a second in the long run. No limit was ever published; 10 shows 1,000 devices a second."""
    burst: int = 20
    """Calls that may be made at once after a silence: two seconds' worth."""
    wait_seconds_max: float = 0.5
    """A call waits up to this for its turn; it is told to come back when its turn is later."""


class Pace:
    """The turns of one account. Safe from threads."""

    def __init__(self, *, clock: Clock, settings: PaceSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._lock = threading.Lock()
        self._spacing = 1 / settings.calls_per_second
        # The burst is earned: a process before this one may just have used it, and restarts must not add up.
        self._next = clock.monotonic()
        self._paused_until = clock.monotonic()
        self._pauses = 0

    def take_turn(self) -> None:
        """Return when it is the caller's turn.

        Raises ThrottledError at once when that would take longer than `wait_seconds_max`; no turn is used then.
        """
        with self._lock:
            now = self._clock.monotonic()
            turn = max(self._next, now - self._spacing * (self._settings.burst - 1))
            wait = max(turn, self._paused_until) - now
            if wait <= self._settings.wait_seconds_max:
                self._next = turn + self._spacing
        if wait > self._settings.wait_seconds_max:
            retry_at = self._clock.now() + timedelta(seconds=wait)
            raise ThrottledError(f"this account's calls are paced; the next is free in {wait:.1f} s", retry_at)
        if wait > 0:
            self._clock.sleep(timedelta(seconds=wait))

    def learn(self, status: int, headers: Mapping[str, str]) -> datetime | None:
        """Heed what an answer says about the limit; header names are in lower case.

        Answers until when the provider refuses calls, when this answer was such a refusal.
        """
        pause = self._wish(headers)
        if status != TOO_MANY_REQUESTS:
            with self._lock:
                self._pauses = 0
                if pause and headers.get("x-ratelimit-remaining", "").strip() == "0":
                    self._pause(pause)
            return None
        with self._lock:
            if self._clock.monotonic() >= self._paused_until:
                # Many calls may be under way when the first refusal comes; together they count once.
                self._pauses += 1
            pause = pause or PAUSE_MIN * 2 ** min(self._pauses - 1, DOUBLINGS_MAX)
            self._pause(pause)
        return self._clock.now() + pause

    def _pause(self, span: timedelta) -> None:
        self._paused_until = max(self._paused_until, self._clock.monotonic() + span.total_seconds())

    def _wish(self, headers: Mapping[str, str]) -> timedelta | None:
        now = self._clock.now()
        wish = _span(headers.get("retry-after", ""), now) or _until_epoch(headers.get("x-ratelimit-reset", ""), now)
        return min(wish, PAUSE_MAX) if wish and wish > timedelta(0) else None


def _span(text: str, now: datetime) -> timedelta | None:
    """Answer the span of a `Retry-After`: seconds, or a date."""
    seconds = _number(text)
    if seconds is not None:
        return timedelta(seconds=seconds)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)) - now


def _until_epoch(text: str, now: datetime) -> timedelta | None:
    seconds = _number(text)
    return timedelta(seconds=seconds - now.timestamp()) if seconds is not None else None


def _number(text: str) -> float | None:
    """Answer a plain decimal number of at most 12 digits: more is no span and no epoch."""
    text = text.strip()
    return float(text) if len(text) <= 12 and text.replace(".", "", 1).isdecimal() else None
