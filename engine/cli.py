"""The verbs of `machine-engine`. Heavy packages are imported inside the verbs, so that `--help` is quick."""

import inspect
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from engine import __version__
from engine.clock import SystemClock
from engine.config import PREFIX, Settings, load
from engine.errors import EngineError

app = typer.Typer(
    name="machine-engine",
    help="A durable machine controller for bare metal.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
simulate = typer.Typer(help="Serve a simulated part of the world.", no_args_is_help=True, rich_markup_mode=None)
database = typer.Typer(help="Look after the database.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(simulate, name="simulate")
app.add_typer(database, name="db")

EXIT_REFUSED = 2  # what the operator can mend: settings, database, cluster
EXIT_LOST_LEASE = 3
_TICK_SECONDS = 0.5  # how soon a signal is noticed on platforms where waiting blocks it


class Output(StrEnum):
    """For whom the answer is."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="`table` for people, `json` for programs.")]
DatabaseOption = Annotated[
    str,
    typer.Option("--database", envvar=f"{PREFIX}DATABASE", help="The database of record, also beside a controller."),
]
NamespaceOption = Annotated[
    str, typer.Option(envvar=f"{PREFIX}NAMESPACE", help="Only machines of this namespace; empty for all.")
]
KeepOption = Annotated[Path, typer.Option(help="Where a plan that broke a promise is kept, shrunk.")]
SeedOption = Annotated[str, typer.Option(help="Where its chance comes from; the same seed gives the same world.")]
StepsOption = Annotated[int, typer.Option(min=1, help="How many steps everything suffers before peace comes.")]
TraceOption = Annotated[bool, typer.Option("--trace", help="Print each call that the engine made.")]
_KEEP_DEFAULT = Path(".failing-plans")
_DATABASE_DEFAULT = str(Settings.model_fields["database"].default)


def main() -> None:
    """Run the CLI; what the operator can mend is one line on standard error, never a traceback."""
    try:
        app()
    except EngineError as refused:
        typer.echo(f"machine-engine: {refused}", err=True)
        sys.exit(EXIT_REFUSED)


def with_settings(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb one option per setting; it is called with those that were given."""

    def called(**flags: Any) -> None:
        verb(**flags)

    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(f"--{name.replace('_', '-')}", help=_help(name))],
        )
        for name in Settings.model_fields
    ]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # functions carry it by convention
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    called.__name__, called.__doc__ = verb.__name__, verb.__doc__
    return called


def _help(name: str) -> str:
    field = Settings.model_fields[name]
    default = Settings().model_dump()[name]
    shown = "" if default == "" else f" [default: {str(default).lower() if isinstance(default, bool) else default}]"
    return f"{field.description} [env: {PREFIX}{name.upper()}]{shown}"


@app.command()
@with_settings
def serve(**flags: str | None) -> None:
    """Run the controller until it is asked to stop."""
    settings = load(flags)
    from engine.app import Controller
    from engine.logs import configure

    configure(level=settings.log_level, style=settings.log_format)
    stopping = stop_signal()
    controller = Controller(settings)
    try:
        controller.start(stopping)
        while not stopping.wait(_TICK_SECONDS):
            if controller.lost.is_set():
                # Another leader may act already: nothing may be finished. A crash loses nothing here.
                os._exit(EXIT_LOST_LEASE)
    finally:
        controller.stop()


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo world keeps its files.")] = Path(".demo"),
    port: Annotated[int, typer.Option(help="Port of the embedded API server; 0 takes a free one.")] = 0,
    *,
    plain: Annotated[bool, typer.Option("--plain", help="Print lines instead of a live table.")] = False,
) -> None:
    """Run everything on embedded simulators: no cluster and no account are needed."""
    from engine.simulators.demo.show import run_demo

    run_demo(folder=folder, port=port, plain=plain or not sys.stdout.isatty(), stopping=stop_signal())


@app.command()
def machines(
    database_url: DatabaseOption = _DATABASE_DEFAULT,
    namespace: NamespaceOption = "",
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also lives that are over.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the machines, with the reason where something does not go well."""
    from engine.console.text import machine_values, machines_table, parked_values
    from engine.domain.machine import MachineFilter
    from engine.store.opening import open_store

    store = open_store(database_url, readonly=True)
    records = store.find(MachineFilter(namespace=namespace, unfinished_only=not everything))
    parked = [each for each in store.parked() if namespace in {"", each.namespace}]
    if output is Output.JSON:
        _print_json([*map(machine_values, records), *map(parked_values, parked)])
    else:
        _print(machines_table(records, SystemClock().now(), parked))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name or uid of the machine.")],
    database_url: DatabaseOption = _DATABASE_DEFAULT,
    namespace: NamespaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one machine: where it stands, why, and what was asked of the cloud for it."""
    from engine.console.text import intent_values, intents_table, machine_lines, machine_values

    store, uid = _find(database_url, namespace, name)
    record, intents = store.get(uid), store.intents(uid)
    if output is Output.JSON:
        _print_json(machine_values(record) | {"intents": [intent_values(each) for each in intents]})
        return
    for label, value in machine_lines(record, SystemClock().now()):
        typer.echo(f"{label:<12} {value}")
    typer.echo()
    _print(intents_table(intents))


@app.command()
def history(
    name: Annotated[str, typer.Argument(help="Name or uid of the machine; it may be gone from the cluster.")],
    database_url: DatabaseOption = _DATABASE_DEFAULT,
    namespace: NamespaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell the whole story of one machine; needs the database alone."""
    from engine.console.text import entry_values, history_table
    from engine.ports.store import HistoryFilter

    store, uid = _find(database_url, namespace, name)
    entries = store.history(HistoryFilter(uid=uid, limit=100_000))
    if output is Output.JSON:
        _print_json([entry_values(entry) for entry in entries])
    else:
        _print(history_table(entries))


@app.command()
def orphans(
    database_url: DatabaseOption = _DATABASE_DEFAULT,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also orphans that are proven gone.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the devices with a tag of ours that nobody owns: since when, what they cost, and why."""
    from engine.console.text import orphan_values, orphans_table
    from engine.store.opening import open_store

    known = [each for each in open_store(database_url, readonly=True).orphans() if everything or each.billing]
    now = SystemClock().now()
    if output is Output.JSON:
        _print_json([orphan_values(each, now) for each in known])
    else:
        _print(orphans_table(known, now))


@app.command()
def graph() -> None:
    """Print the table of lives as a Mermaid diagram."""
    from engine.domain.diagram import mermaid

    typer.echo(mermaid(), nl=False)


@app.command()
@with_settings
def doctor(**flags: str | None) -> None:
    """Check settings, database, clusters and permissions, and say what to mend; changes nothing."""
    from engine.diagnosis import Verdict, diagnose

    findings = diagnose(load(flags))
    for finding in findings:
        typer.echo(f"{finding.verdict.value:<4}  {finding.subject}: {finding.text}")
    if any(finding.verdict is Verdict.FAULT for finding in findings):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@simulate.command("metal")
def simulate_metal(
    address: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8090,
    seed: Annotated[int, typer.Option(help="Where its chance comes from.")] = 1,
    time_scale: Annotated[float, typer.Option(help="How many times faster than real time devices live.")] = 60.0,
    latency: Annotated[str, typer.Option(help="How long each answer takes, such as 200ms.")] = "0s",
) -> None:
    """Serve the simulated Metal API over HTTP; faults are switched at /simulator/faults."""
    from engine.simulators.metal.serving import serve_metal

    serve_metal(address=address, port=port, seed=seed, time_scale=time_scale, latency=latency, stopping=stop_signal())


@simulate.command("world")
def simulate_world(
    *,
    seed: SeedOption = "1",
    steps: StepsOption = 150,
    fault: Annotated[list[str] | None, typer.Option(help="Only this fault beside the wishes; may be repeated.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Play a plan that was kept, instead of drawing one.")] = None,
    trace: TraceOption = False,
    keep: KeepOption = _KEEP_DEFAULT,
) -> None:
    """Play a whole world from one seed, with every promise checked after each step; 1 is answered when one broke."""
    from engine.simulators.plan import draw_plan, read_plan

    _play(read_plan(plan) if plan else draw_plan(seed, steps=steps, faults=fault), trace=trace, keep=keep)


@simulate.command("power-cuts")
def simulate_power_cuts(
    *, seed: SeedOption = "1", steps: StepsOption = 150, trace: TraceOption = False, keep: KeepOption = _KEEP_DEFAULT
) -> None:
    """Play such a world on a real SQLite file, on a disk that loses what was not synced whenever its power fails."""
    from engine.simulators.plan import draw_plan

    _play(draw_plan(seed, steps=steps, power_cuts=True), trace=trace, keep=keep)


@simulate.command("soak")
def simulate_soak(
    span: Annotated[str, typer.Option("--for", help="How long, such as 10m or 1h.")] = "10m",
    workers: Annotated[int, typer.Option(min=1, help="How many processes play worlds at once.")] = os.cpu_count() or 1,
    first_seed: Annotated[int, typer.Option(help="The seed of the first world; the others follow.")] = 0,
    steps: StepsOption = 150,
    keep: KeepOption = _KEEP_DEFAULT,
) -> None:
    """Play world after world; 1 is answered when a promise broke, or a fault never met a place where it could."""
    from engine.durations import parse_duration
    from engine.simulators import soak, telling

    settings = soak.SoakSettings(
        span=parse_duration(span), workers=workers, first_seed=first_seed, steps=steps, folder=keep
    )
    tally = soak.soak(settings, clock=SystemClock(), told=_every_hundredth_world)
    for line in telling.tally_lines(tally):
        typer.echo(line)
    if tally.broken or tally.unmet:
        raise typer.Exit(1)


@database.command("upgrade")
def db_upgrade(database_url: DatabaseOption = _DATABASE_DEFAULT) -> None:
    """Bring the database to this program's tables; `serve` does it by itself."""
    from engine.store.opening import upgrade

    upgrade(database_url)
    typer.echo("the database is up to date")


@database.command("check")
def db_check(database_url: DatabaseOption = _DATABASE_DEFAULT) -> None:
    """Say what is known of the database; changes nothing."""
    from engine.store.opening import check

    for line in check(database_url):
        typer.echo(line)


def _play(wanted: Any, *, trace: bool, keep: Path) -> None:
    from engine.simulators import soak, telling, trial

    report = trial.try_out(wanted)
    for line in (*(report.trace if trace else ()), *telling.report_lines(report)):
        typer.echo(line)
    if report.broken:
        path = soak.keep(trial.shrink(wanted, report.broken), keep)
        typer.echo(f"the shortest plan found that breaks it is kept: machine-engine simulate world --plan {path}")
        raise typer.Exit(1)


def _every_hundredth_world(tally: Any) -> None:
    from engine.simulators.telling import progress_line

    if tally.worlds % 100 == 0 or tally.worlds == 1:
        typer.echo(progress_line(tally))


def stop_signal() -> threading.Event:
    """Answer an event that SIGINT and SIGTERM set; a second signal ends the process at once."""
    stopping = threading.Event()

    def asked(number: int, _frame: object) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    signal.signal(signal.SIGINT, asked)
    signal.signal(signal.SIGTERM, asked)
    return stopping


def _find(database_url: str, namespace: str, name: str) -> tuple[Any, Any]:
    from engine.domain.ids import MachineUid
    from engine.domain.machine import MachineFilter
    from engine.errors import ConfigurationError
    from engine.store.opening import open_store

    store = open_store(database_url, readonly=True)
    parked = [each for each in store.parked() if namespace in {"", each.namespace} and name in {each.name, each.uid}]
    found = [each.uid for each in store.find(MachineFilter(namespace=namespace, name=name))]
    found += [each.uid for each in parked]
    if found:
        return store, found[-1]
    if store.get(MachineUid(name)) is None:
        raise ConfigurationError(f"no machine is or was called {name}; `machine-engine machines --all` lists them")
    return store, MachineUid(name)


def _print(renderable: object) -> None:
    Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 240).print(renderable)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))
