"""What is wished and what goes wrong in one simulated world, as a value: drawn from a seed, kept as JSON, shrunk.

A plan names its deeds only; what each of them does stands in ``deeds``.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec

from engine.errors import ConfigurationError
from engine.reconcile.orphans import OrphanPolicy
from engine.simulators.deeds import DEEDS, MOVES_DATABASE, TEMPERS, Arg
from engine.simulators.seed import Seed
from engine.simulators.world import WorldSettings

IDLE_WEIGHT = 30  # steps without a deed let machines get somewhere; about half of all steps are such
ORPHAN_AGE = timedelta(minutes=5)  # so that orphans of a plan go within its peace
THREADS = (0.0, 0.0, 0.02, 0.1, 0.3)
"""How busy the threads of the engine are beside each other, from world to world."""
TICK_MAX = timedelta(seconds=8)  # less than the quiet cadence of the polls, so that no poll is skipped


_LOTS = ("everyday", "everyday", "everyday", "everyday", "lying", "forgetful")  # the everyday is the most varied


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One wish or one fault."""

    step: int
    """Before which step it begins."""
    name: str
    args: tuple[Arg, ...] = ()
    lasts: int = 0
    """After how many steps it ends, for those that last."""

    def __str__(self) -> str:
        words = [f"step {self.step}:", self.name, *map(str, self.args)]
        return " ".join([*words, f"for {self.lasts} steps"] if self.lasts else words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides a run."""

    seed: str
    steps: int
    deeds: tuple[Deed, ...]
    target: bool = True
    page_size: int = 100
    lag_seconds: int = 0
    interleaved: float = 0.0
    """At what share of the instants around a call another thread acts."""
    power_cuts: bool = False
    """Whether the database is a real SQLite file, on a disk whose power fails with every kill and in between."""

    @property
    def settings(self) -> WorldSettings:
        """What the world is made of."""
        lag = timedelta(seconds=self.lag_seconds)
        return WorldSettings(
            target=self.target,
            page_size=self.page_size,
            lag=lag,
            tick_max=TICK_MAX,
            orphans=OrphanPolicy(age=ORPHAN_AGE),
            interleaved=self.interleaved,
        )


def draw_plan(seed: str, *, steps: int, faults: Collection[str] | None = None, power_cuts: bool = False) -> Plan:
    """Answer the plan of this seed; `faults` says which faults may strike, else the seed chooses one of `TEMPERS`.

    With `power_cuts` nothing replaces the database. Raises ConfigurationError when a fault has no such name, or would.
    """
    unknown = sorted(set(faults or ()) - set(DEEDS))
    if unknown:
        raise ConfigurationError(f"there is no fault {', '.join(unknown)}; there are {', '.join(sorted(DEEDS))}")
    moving = sorted(MOVES_DATABASE.intersection(faults or ()))
    if power_cuts and moving:
        raise ConfigurationError(f"{', '.join(moving)} replaces the database whose power fails; name one of them")
    number = Seed(seed)
    chance = number.child("plan")
    chosen = _LOTS[number.child("temper").integer(0, len(_LOTS) - 1)]
    striking = (TEMPERS[chosen] if faults is None else set(faults)) - (MOVES_DATABASE if power_cuts else set())
    allowed = [name for name, deed in DEEDS.items() if deed.wish or name in striking]
    lots = [name for name in allowed for _ in range(DEEDS[name].weight)]
    share = len(lots) / (len(lots) + IDLE_WEIGHT)
    drawn = [_draw(step, lots, chance) for step in range(1, steps + 1) if chance.chance(share)]
    return Plan(
        seed=seed,
        steps=steps,
        deeds=tuple(drawn),
        target=number.child("target").chance(0.7),
        page_size=number.child("pages").integer(1, 3),
        lag_seconds=number.child("lag").integer(0, 3),
        interleaved=THREADS[number.child("threads").integer(0, len(THREADS) - 1)],
        power_cuts=power_cuts,
    )


def _draw(step: int, lots: list[str], chance: Seed) -> Deed:
    name = lots[chance.integer(0, len(lots) - 1)]
    kind = DEEDS[name]
    return Deed(
        step=step,
        name=name,
        args=kind.draw(chance),
        lasts=chance.integer(1, kind.lasts_max) if kind.lasts_max else 0,
    )


def write_plan(path: Path, plan: Plan) -> None:
    """Keep the plan as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")


def read_plan(path: Path) -> Plan:
    """Answer a plan that was kept. Raises ConfigurationError when the file holds none."""
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    except (OSError, msgspec.MsgspecError) as unreadable:
        raise ConfigurationError(f"{path}: no plan can be read: {unreadable}") from unreadable
    unknown = sorted({deed.name for deed in plan.deeds} - set(DEEDS))
    if unknown:
        raise ConfigurationError(f"{path}: nothing is called {', '.join(unknown)}")
    return plan
