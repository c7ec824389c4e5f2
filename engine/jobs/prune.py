"""Forget finished lives when their history is older than the retention."""

from datetime import timedelta

from engine.clock import Clock
from engine.logs import logger
from engine.ports.store import Store

BATCH_MAX = 200  # lives per transaction, so that nobody waits long behind it
BATCHES_MAX = 500  # per turn; the rest waits for the next

log = logger(__name__)


class Prune:
    """Keeps the database from growing for ever."""

    def __init__(self, *, clock: Clock, store: Store, retention: timedelta) -> None:
        self._clock = clock
        self._store = store
        self._retention = retention

    def turn(self) -> None:
        """Forget what is too old, in small batches."""
        before, total = self._clock.now() - self._retention, 0
        for _ in range(BATCHES_MAX):
            forgotten = self._store.prune(before=before, limit=BATCH_MAX)
            total += forgotten
            if forgotten < BATCH_MAX:
                break
        if total:
            log.info("finished lives were forgotten", lives=total)
