"""The simulated Metal API whose devices outlive the process, in a pace that people like to watch."""

import threading
from datetime import datetime
from pathlib import Path

import msgspec

from engine.clock import Clock
from engine.errors import ConfigurationError
from engine.simulators.demo.folder import write_whole
from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.metal import DeviceView, MetalSettings, MetalSimulator
from engine.simulators.metal.settings import SAMPLE_RESERVATIONS
from engine.simulators.seed import Seed

# Six minutes of boot become five seconds; the jitter lets machines of one order come up one after the other.
_SETTINGS = MetalSettings(time_scale=72.0, jitter=0.25, reservations=SAMPLE_RESERVATIONS)
_READING = frozenset({"GET", "HEAD"})


class Cloud:
    """A simulated cloud with its devices in a file.

    A change is in the file before it is answered: a kill loses no device that anybody was told of. What happens to the
    devices by itself is planned when they are ordered, so it goes on by itself too.
    """

    def __init__(self, *, clock: Clock, seed: Seed, file: Path) -> None:
        self.simulator = MetalSimulator(clock=clock, seed=seed, settings=_SETTINGS)
        self._clock = clock
        self._file = file
        self._lock = threading.Lock()
        self._prices = {plan.slug: plan.price_hour for plan in _SETTINGS.plans}
        if file.exists():
            self._load()

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one request; safe to call from many threads."""
        response = self.simulator.handle(request)
        if request.method not in _READING:
            self.save()
        return response

    def save(self) -> None:
        """Bring the devices into the file."""
        with self._lock:
            write_whole(self._file, msgspec.json.encode(self.simulator.dump()))

    def billed(self, now: datetime) -> list[DeviceView]:
        """Answer the devices that cost money now."""
        return [device for device in self.simulator.devices() if device.billed_at(now)]

    def price_hour(self, device: DeviceView) -> float:
        """Answer what an hour costs in dollars, by the list; a reserved server is paid for already."""
        return 0.0 if device.reservation else self._prices[device.plan]

    def _load(self) -> None:
        try:
            self.simulator.load(msgspec.json.decode(self._file.read_bytes()))
        except (msgspec.MsgspecError, ConfigurationError) as error:
            raise ConfigurationError(f"{self._file} cannot be used: {error}; `make demo-clean` starts anew") from error
