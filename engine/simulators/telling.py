"""What became of simulated worlds, as lines for people."""

from collections.abc import Iterator

from engine.simulators.coverage import FAULTS, UNREACHABLE, matrix
from engine.simulators.soak import Tally
from engine.simulators.trial import Report


def report_lines(report: Report) -> Iterator[str]:
    """Yield what one world was, and whether it kept every promise."""
    plan = report.plan
    power = ", on SQLite whose power fails" if plan.power_cuts else ""
    busy = f", {plan.interleaved:.0%} of all calls interleaved" if plan.interleaved else ""
    yield f"seed {plan.seed}: {plan.steps} steps, {len(plan.deeds)} wishes and faults{busy}{power}"
    for deed in plan.deeds:
        yield f"  {deed}"
    yield (
        f"{report.machines} machines lived, the process was killed {report.processes - 1} times, {report.at_step} steps"
    )
    yield f"{_pace(report.virtual_seconds, report.real_seconds)}, {_lives(report.machines, report.real_seconds)}"
    yield f"BROKEN: {report.broken}" if report.broken else "every promise was kept"


def progress_line(tally: Tally) -> str:
    """Answer in one line how far a soak is."""
    return (
        f"{tally.worlds} worlds, {tally.machines} machine lives, {tally.processes - tally.worlds} kills, "
        f"{tally.steps} steps, {tally.done.total()} wishes and faults, {len(tally.broken)} broken promises, "
        f"{len(tally.unmet)} pairs of fault and place unmet"
    )


def tally_lines(tally: Tally) -> Iterator[str]:
    """Yield what a whole soak came to."""
    yield from matrix(tally.met, unreachable=UNREACHABLE, faults=FAULTS)
    yield progress_line(tally)
    lives = _lives(tally.machines, tally.real_seconds)
    yield f"{_pace(tally.virtual_seconds, tally.real_seconds)}, {lives} on one core"
    for fault, place in tally.unmet:
        yield f"NEVER MET: {fault} at {place}"
    for path, promise in tally.broken:
        yield f"BROKEN: {promise}; replay it with `machine-engine simulate world --plan {path}`"


def _pace(virtual: float, real: float) -> str:
    return f"{virtual:,.0f} s of virtual time in {real:,.1f} s, {virtual / max(real, 1e-9):,.0f} times as fast"


def _lives(machines: int, real: float) -> str:
    return f"{machines / max(real, 1e-9):,.0f} machine lives a second"
