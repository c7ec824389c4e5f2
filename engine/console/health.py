"""Whether the engine makes progress: a stuck worker, a dead metronome or a blind watch is unhealthy."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from engine.metrics import HEALTHY

STUCK_AFTER = timedelta(minutes=5)  # the longest honest run is a few cloud calls of 30 s each
BLIND_AFTER = timedelta(minutes=3)  # a watch hears a bookmark about every minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Where the answers come from; each is asked at every probe."""

    workers_stuck_for: Callable[[], timedelta]
    workers_alive: Callable[[], bool]
    late_jobs: Callable[[], list[str]]
    blind_for: Callable[[], timedelta]
    synced: Callable[[], bool]


class Health:
    """Answers /healthz and /readyz in words."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes

    def faults(self) -> list[str]:
        """Answer what is wrong, in words; nothing when the engine makes progress."""
        probes, found = self._probes, []
        stuck, blind = probes.workers_stuck_for(), probes.blind_for()
        if stuck > STUCK_AFTER:
            found.append(f"a worker has not come back for {int(stuck.total_seconds())} s")
        if not probes.workers_alive():
            found.append("a worker thread died")
        late = probes.late_jobs()
        if late:
            found.append(f"jobs do not come back: {', '.join(late)}")
        if blind > BLIND_AFTER:
            found.append(f"a watch has heard nothing from its API server for {int(blind.total_seconds())} s")
        HEALTHY.set(not found)
        return found

    def unready(self) -> list[str]:
        """Answer what is missing before the engine can do its work, in words."""
        return [] if self._probes.synced() else ["the first complete list of Machines, classes, secrets or nodes"]
