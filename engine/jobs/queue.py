"""Which machines want to run now: each at most once, one at a time, and no lane starves another."""

import threading
from collections import deque

from engine.domain.ids import MachineUid


class ReadyQueue:
    """A queue of machines in lanes; a lane is what shares a fate, such as a MachineClass.

    A machine that is woken while it runs is queued again when its run ends, so that no wake-up is lost.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lanes: dict[str, deque[MachineUid]] = {}
        self._turn: deque[str] = deque()
        self._queued: set[MachineUid] = set()
        self._running: set[MachineUid] = set()
        self._again: dict[MachineUid, str] = {}
        self._closed = False

    def wake(self, uid: MachineUid, lane: str = "") -> None:
        """Have the machine run soon. Safe to repeat."""
        with self._changed:
            if uid in self._running:
                self._again[uid] = lane
            elif uid not in self._queued:
                self._put(uid, lane)

    def take(self, seconds: float) -> MachineUid | None:
        """Wait for a machine and take it; None when the time is over or the queue is closed."""
        with self._changed:
            if not self._turn and not self._closed:
                self._changed.wait(seconds)
            if not self._turn or self._closed:
                return None
            lane = self._turn.popleft()
            uid = self._lanes[lane].popleft()
            if self._lanes[lane]:
                self._turn.append(lane)
            else:
                del self._lanes[lane]
            self._queued.discard(uid)
            self._running.add(uid)
            return uid

    def done(self, uid: MachineUid) -> None:
        """Say that the run of a taken machine is over."""
        with self._changed:
            self._running.discard(uid)
            lane = self._again.pop(uid, None)
            if lane is not None:
                self._put(uid, lane)

    def close(self) -> None:
        """Wake everybody who waits and hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether nothing more is handed out."""
        with self._changed:
            return self._closed

    def depth(self) -> int:
        """Answer how many machines wait to run."""
        with self._changed:
            return len(self._queued)

    def _put(self, uid: MachineUid, lane: str) -> None:
        held = self._lanes.get(lane)
        if held is None:
            held = self._lanes[lane] = deque()
            self._turn.append(lane)
        held.append(uid)
        self._queued.add(uid)
        self._changed.notify()
