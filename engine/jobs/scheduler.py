"""The metronome: APScheduler in memory, a few interval jobs, and a watch over whether it still beats.

The library's thread can die silently while it claims to run, hence a heartbeat of our own for each job.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from engine.clock import Clock
from engine.logs import bound, logger
from engine.metrics import JOB_FAULTS

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something that happens by itself: one turn, how often, and how long a turn may take before it counts as stuck."""

    name: str
    turn: Callable[[], None]
    every: timedelta
    patience: timedelta = timedelta(minutes=2)


class Scheduler:
    """Runs the jobs, each at most once at a time; a turn that raises is logged and counted, and the next one comes."""

    def __init__(self, *, clock: Clock, jobs: list[Job]) -> None:
        self._clock = clock
        self._jobs = jobs
        self._lock = threading.Lock()
        self._beats: dict[str, float] = {}
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(len(jobs) + 1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Begin to beat."""
        now = self._clock.monotonic()
        for job in self._jobs:
            self._beats[job.name] = now
            seconds = job.every.total_seconds()
            self._scheduler.add_job(self._turn, "interval", seconds=seconds, args=[job], id=job.name, name=job.name)
        self._scheduler.start()

    def stop(self) -> None:
        """Stop to beat; turns under way are waited for."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def late(self) -> list[str]:
        """Answer the jobs that have not come back within their period and patience: dead, stuck or starved."""
        now = self._clock.monotonic()
        with self._lock:
            beats = dict(self._beats)
        return [job.name for job in self._jobs if now - beats.get(job.name, now) > self._allowed(job)]

    def _allowed(self, job: Job) -> float:
        return (job.every + job.patience).total_seconds()

    def _turn(self, job: Job) -> None:
        with bound(job=job.name):
            try:
                job.turn()
            except Exception:  # one bad turn must not end the job
                log.exception("a job failed; its next turn comes as usual")
                JOB_FAULTS.labels(job=job.name).inc()
        with self._lock:
            self._beats[job.name] = self._clock.monotonic()
