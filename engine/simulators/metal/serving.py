"""The simulated Metal API as a program of its own, for a controller in another process."""

import threading
from datetime import timedelta

from rich.console import Console

from engine.clock import SystemClock
from engine.durations import parse_duration
from engine.errors import ConfigurationError
from engine.simulators.http import HttpServer
from engine.simulators.metal.api import MetalSimulator
from engine.simulators.metal.catalog import PREFIX
from engine.simulators.metal.control import CONTROL
from engine.simulators.metal.faults import FaultKind, FaultRule
from engine.simulators.metal.settings import API_KEY, PROJECT_ID, SAMPLE_RESERVATIONS, MetalSettings
from engine.simulators.seed import Seed

_TICK = timedelta(seconds=0.5)  # how soon a signal is noticed on platforms where waiting blocks it


def serve_metal(
    *, address: str, port: int, seed: int, time_scale: float, latency: str, stopping: threading.Event
) -> None:
    """Serve a new simulated cloud until `stopping` is set; its devices end with it.

    Raises ConfigurationError when an option is wrong or the address cannot be taken.
    """
    if time_scale <= 0:
        raise ConfigurationError(f"--time-scale: {time_scale} is not above 0; 1 is real time, 60 makes minutes seconds")
    clock = SystemClock()
    settings = MetalSettings(time_scale=time_scale, jitter=0.25, reservations=SAMPLE_RESERVATIONS)
    simulator = MetalSimulator(clock=clock, seed=Seed(seed), settings=settings)
    delay = _span(latency)
    if delay:
        simulator.faults.add(FaultRule(kind=FaultKind.LATENCY, seconds=delay.total_seconds()))
    with _bound(simulator, address, port) as server:
        _introduce(server.url)
        while not clock.wait(stopping, _TICK):
            continue


def _span(latency: str) -> timedelta:
    try:
        span = parse_duration(latency)
    except ValueError as error:
        raise ConfigurationError(f"--latency: {error}") from error
    if span < timedelta(0):
        raise ConfigurationError(f"--latency: {latency} is negative; write one such as 200ms")
    return span


def _bound(simulator: MetalSimulator, address: str, port: int) -> HttpServer:
    try:
        return HttpServer(simulator.handle, host=address, port=port)
    except OSError as error:
        text = f"{address}:{port} cannot be taken: {error.strerror}; name another with --address or --port"
        raise ConfigurationError(text) from error


def _introduce(url: str) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in (
        f"The simulated Metal API answers at {url}{PREFIX}",
        f"  project       {PROJECT_ID}",
        f"  API key       {API_KEY}",
        *(f"  reservation   {each} ({group.plan})" for group in SAMPLE_RESERVATIONS for each in group.ids),
        "Its strings, without a key:",
        f"  curl {url}{CONTROL}devices",
        f"  curl {url}{CONTROL}journal",
        f"""  curl -X PUT {url}{CONTROL}faults -d '{{"rules": [{{"kind": "throttled", "share": 0.5}}]}}'""",
        f"""  curl -X PUT {url}{CONTROL}capacity -d '{{"servers": {{"da/c3.small.x86": 0}}}}'""",
    ):
        console.print(line)
