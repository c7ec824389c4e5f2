"""A thread that takes a turn as soon as there is news, and from time to time without."""

import threading
from collections.abc import Callable
from datetime import timedelta

from engine.clock import Clock
from engine.logs import bound, logger
from engine.metrics import JOB_FAULTS

_PATIENCE = timedelta(minutes=2)  # a turn that takes longer counts as stuck

log = logger(__name__)


class Prompt:
    """Runs one job on an event; a turn that raises is logged and counted, and the next one comes."""

    def __init__(
        self, *, clock: Clock, name: str, turn: Callable[[], None], news: threading.Event, at_least: timedelta
    ) -> None:
        self._clock = clock
        self._name = name
        self._turn = turn
        self._news = news
        self._at_least = at_least
        self._stopping = threading.Event()
        self._beat = clock.monotonic()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; the turn under way is waited for."""
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_PATIENCE.total_seconds())

    def late(self) -> bool:
        """Whether the job has not come back in time: dead or stuck."""
        return self._clock.monotonic() - self._beat > (self._at_least + _PATIENCE).total_seconds()

    def _loop(self) -> None:
        with bound(job=self._name):
            while not self._stopping.is_set():
                self._clock.wait(self._news, self._at_least)
                self._take_turn()
                self._beat = self._clock.monotonic()

    def _take_turn(self) -> None:
        try:
            self._turn()
        except Exception:  # one bad turn must not end the job
            log.exception("a job failed; its next turn comes as usual")
            JOB_FAULTS.labels(job=self._name).inc()
