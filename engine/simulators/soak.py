"""Worlds from one seed after another, on several processes, for as long as was asked; what broke is shrunk and kept."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from engine.clock import Clock
from engine.simulators.coverage import FAULTS, UNREACHABLE, Pair, never_met
from engine.simulators.disk import available
from engine.simulators.plan import Plan, draw_plan, write_plan
from engine.simulators.trial import Report, shrink, try_out

STEPS: Final = 150
"""Steps of a world before the peace: three to twenty minutes of virtual time."""
TRIALS_MAX: Final = 60
"""How many plans are tried to shrink one that broke a promise: time that is then missing for other worlds."""
POWER_CUTS_EVERY: Final = 25
"""How many worlds there are for one on SQLite, whose power fails: that one takes as long as five others."""
_AHEAD: Final = 2  # worlds that wait for each process, so that none is idle


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakSettings:
    """How long, and which worlds."""

    span: timedelta
    workers: int = 1
    first_seed: int = 0
    steps: int = STEPS
    folder: Path = Path(".failing-plans")
    """Where the plans that broke a promise are kept, shrunk."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of all worlds so far."""

    worlds: int = 0
    machines: int = 0
    processes: int = 0
    steps: int = 0
    virtual_seconds: float = 0.0
    real_seconds: float = 0.0
    """Of all processes together."""
    done: Counter[str] = field(default_factory=Counter)
    met: Counter[Pair] = field(default_factory=Counter)
    broken: list[tuple[Path, str]] = field(default_factory=list)
    """Where each plan that broke a promise is kept, and the promise."""

    def add(self, report: Report) -> None:
        """Count one more world."""
        self.worlds += 1
        self.machines += report.machines
        self.processes += report.processes
        self.steps += report.at_step
        self.virtual_seconds += report.virtual_seconds
        self.real_seconds += report.real_seconds
        self.done += report.done
        self.met += report.met

    @property
    def unmet(self) -> list[Pair]:
        """The pairs of a fault and a place that could meet and never did."""
        return never_met(self.met, unreachable=UNREACHABLE, faults=FAULTS)


def soak(settings: SoakSettings, *, clock: Clock, told: Callable[[Tally], None]) -> Tally:
    """Answer the tally after the span; `told` hears of it after each world."""
    tally, end, seed = Tally(), clock.monotonic() + settings.span.total_seconds(), settings.first_seed
    with ProcessPoolExecutor(max_workers=settings.workers) as pool:
        under_way: set[Future[Report]] = set()
        while clock.monotonic() < end or under_way:
            while clock.monotonic() < end and len(under_way) < settings.workers * _AHEAD:
                under_way.add(pool.submit(played, str(seed), settings.steps))
                seed += 1
            over, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in over:
                _count(tally, future.result(), settings.folder)
                told(tally)
    return tally


def played(seed: str, steps: int) -> Report:
    """Answer what becomes of the world of this seed; one that breaks a promise answers its shortest plan that does."""
    power_cuts = int(seed) % POWER_CUTS_EVERY == 0 and available()
    report = try_out(draw_plan(seed, steps=steps, power_cuts=power_cuts))
    if not report.broken:
        return report.without_trace()
    return try_out(shrink(report.plan, report.broken, trials_max=TRIALS_MAX)).without_trace()


def _count(tally: Tally, report: Report, folder: Path) -> None:
    tally.add(report)
    if report.broken:
        tally.broken.append((keep(report.plan, folder), report.broken))


def keep(plan: Plan, folder: Path) -> Path:
    """Write the plan into the folder, and answer where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"seed-{plan.seed}.json"
    write_plan(path, plan)
    return path
