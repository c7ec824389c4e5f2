"""Hand machines to workers: those that are woken at once, those that are due every turn."""

import threading
from datetime import datetime, timedelta

from engine.clock import Clock
from engine.domain.ids import MachineUid
from engine.jobs.queue import ReadyQueue
from engine.metrics import QUEUE_DEPTH, RUNS
from engine.ports.cluster import Cluster
from engine.ports.store import Store
from engine.workflow.runner import Ran, Report, Runner

DUE_MAX = 1000  # rows that one turn hands out; the next turn comes within a second
_TAKE_SECONDS = 0.5  # how long a worker waits before it shows that it lives
_ELSEWHERE_RETRY = timedelta(seconds=1)  # another replica works on it; look again when it may be done
_AWAY_RETRY = timedelta(seconds=2)
_RUNS = {ran: RUNS.labels(result=ran.value) for ran in Ran}


class Dispatch:
    """The workers and what feeds them."""

    def __init__(self, *, clock: Clock, store: Store, cluster: Cluster, runner: Runner, queue: ReadyQueue) -> None:
        self._clock = clock
        self._store = store
        self._cluster = cluster
        self._runner = runner
        self._queue = queue
        self._retry_at: dict[MachineUid, datetime] = {}
        """One retry of each machine, that of its last run: however often it is woken, it is tried no more often."""
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._beats: dict[str, float] = {}

    def start(self, workers: int) -> None:
        """Start this many worker threads."""
        for number in range(workers):
            thread = threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, span: timedelta) -> None:
        """Hand out nothing more and wait for the runs under way, at most for this span."""
        self._queue.close()
        end = self._clock.monotonic() + span.total_seconds()
        for thread in self._threads:
            thread.join(timeout=max(0.0, end - self._clock.monotonic()))

    def turn(self) -> None:
        """Hand out what is due: timers in the database, and retries that only this process knows."""
        if not self._cluster.synced():
            return
        for uid in self._retries():
            self._queue.wake(uid, self._lane(uid))
        for uid in self._store.due(now=self._clock.now(), limit=DUE_MAX):
            self._queue.wake(uid, self._lane(uid))
        QUEUE_DEPTH.set(self._queue.depth())

    def wake(self, uid: MachineUid) -> None:
        """Have the machine run soon."""
        self._queue.wake(uid, self._lane(uid))

    def serve_next(self, seconds: float) -> bool:
        """Run the next machine that is ready; answer whether there was one within this time."""
        uid = self._queue.take(seconds)
        if uid is not None:
            self._run(uid)
        return uid is not None

    def stuck_for(self) -> timedelta:
        """Answer for how long the slowest worker has not come back."""
        now = self._clock.monotonic()
        return timedelta(seconds=max([now - beat for beat in list(self._beats.values())], default=0.0))

    def alive(self) -> bool:
        """Whether every worker thread lives."""
        return all(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        name = threading.current_thread().name
        while True:
            self._beats[name] = self._clock.monotonic()
            if not self.serve_next(_TAKE_SECONDS) and self._queue.closed:
                self._beats.pop(name, None)
                return

    def _run(self, uid: MachineUid) -> None:
        try:
            report = self._runner.run(uid)
            _RUNS[report.ran].inc()
            self._retry(uid, report)
        finally:
            self._queue.done(uid)

    def _retry(self, uid: MachineUid, report: Report) -> None:
        later = {Ran.HELD_ELSEWHERE: _ELSEWHERE_RETRY, Ran.STORE_AWAY: _AWAY_RETRY}.get(report.ran)
        due_at = self._clock.now() + later if later else report.due_at
        with self._lock:
            self._retry_at.pop(uid, None)
            if due_at is not None and (later is not None or due_at <= self._clock.now() + _AWAY_RETRY):
                self._retry_at[uid] = due_at

    def _retries(self) -> list[MachineUid]:
        now = self._clock.now()
        with self._lock:
            due = sorted((due_at, uid) for uid, due_at in self._retry_at.items() if due_at <= now)
            for _, uid in due:
                del self._retry_at[uid]
        return [uid for _, uid in due]

    def _lane(self, uid: MachineUid) -> str:
        """A wave of new Machines must not keep those waiting that are nearly done, nor those that leave."""
        machine = self._cluster.machine(uid)
        if machine is None:
            return ""
        if machine.deletion_requested_at:
            return f"{machine.class_name}/leaving"
        return f"{machine.class_name}/{'begun' if machine.provider_id else 'new'}"
