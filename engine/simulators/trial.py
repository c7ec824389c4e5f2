"""One plan is tried on a fresh world; when a promise breaks, the plan is shrunk to what is needed to break it."""

from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from engine.clock import SystemClock
from engine.simulators.chaos import Chaos
from engine.simulators.coverage import Pair
from engine.simulators.disk import Disk
from engine.simulators.engine_life import NeverCameError
from engine.simulators.host import Host
from engine.simulators.invariants import BrokenPromiseError
from engine.simulators.plan import Deed, Plan
from engine.simulators.seed import Seed
from engine.simulators.store import ModelStore
from engine.simulators.world import CANARIES, World

TRIALS_MAX = 400
"""How many plans are tried while one is shrunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a plan."""

    plan: Plan
    broken: str
    """The promise that was broken and how; empty when all were kept."""
    at_step: int
    machines: int
    """How many machines lived."""
    processes: int
    """How many lives of the process there were."""
    virtual_seconds: float
    real_seconds: float
    done: Counter[str]
    met: Counter[Pair]
    trace: list[str]

    def without_trace(self) -> "Report":
        """Answer the report alone, which is small enough to be sent to another process."""
        return replace(self, trace=[])


def try_out(plan: Plan) -> Report:
    """Answer what becomes of the plan on a fresh world.

    Raises ConfigurationError when the plan has power cuts and this Python's SQLite cannot be put on such a disk.
    """
    watch = SystemClock()
    begun = watch.monotonic()
    broken = ""
    with world_of(plan) as world:
        chaos = Chaos(world, plan)
        try:
            with inspected_log():
                chaos.run()
        except (BrokenPromiseError, NeverCameError) as failure:
            broken = str(failure)
    return Report(
        plan=plan,
        broken=broken,
        at_step=chaos.steps,
        machines=len({line.split()[3] for line in world.trace if " store.admit " in line}),
        processes=world.crashes + 1,
        virtual_seconds=world.clock.monotonic(),
        real_seconds=watch.monotonic() - begun,
        done=chaos.done,
        met=chaos.coverage.met,
        trace=world.trace,
    )


@contextmanager
def world_of(plan: Plan) -> Iterator[World]:
    """A fresh world for this plan, with what it keeps on a disk."""
    seed = Seed(plan.seed)
    if not plan.power_cuts:
        yield World(seed, ModelStore(), plan.settings)
        return
    with (
        TemporaryDirectory() as folder,
        Disk() as disk,
        closing(Host(disk, Path(folder) / "engine.db", seed.child("power"))) as host,
    ):
        world = World(seed, host.store, plan.settings, reopen=host.reopen)
        host.cut(partial(_kill, world))
        yield world


def _kill(world: World) -> None:
    world.engine.tap.kill()


def shrink(plan: Plan, broken: str, *, trials_max: int = TRIALS_MAX) -> Plan:
    """Answer a plan with as few deeds as can be found that still breaks the same promise.

    Halves are left out first, then quarters, and in the end single deeds.
    """
    kind = promise_of(broken)
    tried = 0
    size = max(1, len(plan.deeds) // 2)
    while tried < trials_max:
        start, smaller = 0, False
        while start < len(plan.deeds) and tried < trials_max:
            left: tuple[Deed, ...] = plan.deeds[:start] + plan.deeds[start + size :]
            tried += 1
            candidate = replace(plan, deeds=left)
            if promise_of(try_out(candidate).broken) == kind:
                plan, smaller = candidate, True
            else:
                start += size
        if size == 1 and not smaller:
            break
        size = size if smaller and size == 1 else max(1, size // 2)
    return _cut(plan, kind)


def _cut(plan: Plan, kind: str) -> Plan:
    """Answer the plan without the idle steps at its end, if it still breaks the promise."""
    last = max((deed.step + deed.lasts for deed in plan.deeds), default=1)
    shorter = replace(plan, steps=min(plan.steps, last + 1))
    return shorter if promise_of(try_out(shorter).broken) == kind else plan


def promise_of(broken: str) -> str:
    """Answer which promise was broken, such as I3, from its words; a world that never came to rest broke the sixth."""
    if not broken:
        return ""
    head = broken.split(":", 1)[0]
    return head if len(head) == 2 else "I6" if head.startswith("after ") else "fault"


@contextmanager
def inspected_log() -> Iterator[None]:
    """What the engine logs is read and not printed: a secret in a line, or an error, breaks a promise."""
    kept = structlog.get_config()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, _inspect],
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**kept)


def _inspect(_logger: object, method: str, line: MutableMapping[str, Any]) -> str:
    text = repr(line)
    if any(canary in text for canary in CANARIES):
        raise BrokenPromiseError("I8: a secret stands in the log")
    if method == "error":
        raise BrokenPromiseError(f"the engine logged an error: {line.get('exception', text)}")
    raise structlog.DropEvent
