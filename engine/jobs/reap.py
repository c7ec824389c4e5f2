"""Take back claims that expired: their holder was killed, or hangs."""

from collections.abc import Callable

from engine.clock import Clock
from engine.domain.ids import MachineUid
from engine.logs import logger
from engine.metrics import CLAIMS_REAPED
from engine.ports.store import Store

log = logger(__name__)


class Reap:
    """Makes machines due whose claim is over."""

    def __init__(self, *, clock: Clock, store: Store, wake: Callable[[MachineUid], None]) -> None:
        self._clock = clock
        self._store = store
        self._wake = wake

    def turn(self) -> None:
        """Take back every expired claim and wake its machine."""
        for uid in self._store.reap(now=self._clock.now()):
            log.warning("an expired claim was taken back", machine=uid)
            CLAIMS_REAPED.inc()
            self._wake(uid)
