"""What people read of the demo world: facts and commands for everybody, and the live picture for a terminal."""

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.console.text import machines_table
from engine.domain.machine import MachineRecord
from engine.domain.states import State
from engine.resources import manifests_path
from engine.simulators.demo.feed import Happening
from engine.simulators.demo.folder import Folder
from engine.simulators.demo.world import World

TITLE = "Machine Engine: the production controller between an embedded API server and a simulated cloud"
STAND_IN = "kept by a stand-in; in production the machine controller manager (MCM) does this"
HINT = "Ctrl-C stops, `make start` goes on from here, `make demo-clean` forgets it all."
HAPPENINGS_MAX = 6
_UUID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_ROWS_MIN = 3  # of machines, however low the terminal is
_FACTS_MIN = 3  # what it costs, and the two addresses


def facts(world: World) -> list[tuple[str, str]]:
    """Answer what the world consists of at this moment, as names and values."""
    devices = world.cloud.billed(world.controller.clock.now())
    reserved = sum(device.reservation is not None for device in devices)
    price = sum(map(world.cloud.price_hour, devices))
    billing = f"{_counted(len(devices) - reserved, 'device')} on demand for ${price:.2f} an hour"
    return [
        ("Billing now", f"{billing}, {_counted(reserved, 'device')} on paid reservations"),
        ("API server", f"{world.api_url} (embedded)"),
        ("Metal API", f"{world.metal_url} (simulated; a boot takes seconds instead of minutes)"),
        ("Replicas", STAND_IN),
        ("Log", _short(world.folder.log)),
    ]


def commands(folder: Folder) -> list[str]:
    """Answer what to try from another terminal."""
    return [
        f"export KUBECONFIG={folder.kubeconfig.absolute()}",
        "kubectl get mc -w",
        "kubectl scale mcd workers --replicas=5",
        "kubectl delete mc plain-1",
        f"{_program()} history plain-1 --database sqlite:///{_short(folder.database)}",
    ]


def picture(
    console: Console, world: World, records: Sequence[MachineRecord], lately: Sequence[Happening]
) -> RenderableType:
    """Answer everything at this moment, no higher than the terminal; machines that do not fit are counted."""
    known, tried = facts(world), commands(world.folder)
    for news, troubled, fact_count, command_count in (
        (lately, records, len(known), len(tried)),
        ((), records, len(known), len(tried)),
        ((), records, len(known), 1),
        ((), (), len(known), 1),
        ((), (), _FACTS_MIN, 1),
    ):
        above = _above(known[:fact_count], tried[:command_count])
        below = [*_reasons(troubled), *_news(news), Text(), Text(HINT, style="dim")]
        rows = console.size.height - _height(console, Group(*above, *below)) - 2  # the table's header, and the count
        if rows >= _ROWS_MIN:
            break  # else the terminal is too low for all of this
    return Group(*above, *_machines(console, world, records, rows_max=max(_ROWS_MIN, rows)), *below)


def _above(known: Sequence[tuple[str, str]], tried: Sequence[str]) -> list[RenderableType]:
    told = [Text(f"  {command}", style="cyan", overflow="fold") for command in tried]
    return [_title(TITLE), _facts(known), Text(), _title("Try in another terminal"), *told, Text()]


def _machines(
    console: Console, world: World, records: Sequence[MachineRecord], *, rows_max: int
) -> list[RenderableType]:
    if not records:
        sample = _short(manifests_path() / "machines" / "plain.yaml")
        return [Text(f"no Machines; `kubectl apply -f {sample}` makes one", style="dim")]
    now = world.controller.clock.now()
    # Those that serve are the least interesting ones when there is no room for all.
    ranked = sorted(records, key=lambda record: record.state is State.ACTIVE)
    shown = len(records)
    table = machines_table(list(map(_brief, records)), now)
    while shown > _ROWS_MIN and _height(console, table) - 1 > rows_max:
        shown = min(shown - 1, rows_max)
        kept = {record.uid for record in ranked[:shown]}
        table = machines_table([_brief(record) for record in records if record.uid in kept], now)
    hidden = len(records) - shown
    return [table, Text(f"… and {hidden} more; `kubectl get mc` shows all", style="dim")] if hidden else [table]


def _brief(record: MachineRecord) -> MachineRecord:
    """Answer the record with the code of its problem in the place of the message, which is too long for a column."""
    if record.problem is None:
        return record
    return replace(record, problem=replace(record.problem, message=record.problem.code.value))


def _reasons(records: Sequence[MachineRecord]) -> list[Text]:
    """Answer one example of each kind of problem, in full."""
    troubled = {record.problem.code: record for record in reversed(records) if record.problem}
    told = [
        Text(f"{code}, such as {record.name}: {record.problem.message}", style="yellow")
        for code, record in troubled.items()
        if record.problem
    ]
    return [Text(), *told] if told else []


def _news(lately: Sequence[Happening]) -> list[Text]:
    return [Text(), _title("Lately"), *map(_happening, lately)] if lately else []


def _facts(known: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in known:
        grid.add_row(name, Text(value, style="bold" if name == "Billing now" else ""))
    return grid


def _happening(happening: Happening) -> Text:
    return Text(_UUID.sub(r"\1", str(happening)), no_wrap=True, overflow="ellipsis")


def _title(text: str) -> Text:
    return Text(text, style="bold", no_wrap=True, overflow="ellipsis")


def _height(console: Console, renderable: RenderableType) -> int:
    return len(console.render_lines(renderable))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _short(path: Path) -> str:
    """Answer the path as it is shortest from where the user stands."""
    here, there = Path.cwd(), path.absolute()
    return str(there.relative_to(here) if there.is_relative_to(here) else there)


def _program() -> str:
    """Answer how the user started this program, to be typed again."""
    started = Path(sys.argv[0])
    if started.name != "machine-engine":
        return f"{_short(Path(sys.executable))} -m engine"
    found = shutil.which(started.name)
    return started.name if found and Path(found).samefile(started) else _short(started)
