"""The Equinix Metal API, simulated: what a client of the real one would see, and the truth behind it.

`MetalSimulator` (``api``) answers requests: in process through ``transport``, over HTTP with `HttpServer`. What there
is stands in ``settings``, what goes wrong in ``faults``, what truly happened in ``journal``.

Inside, ``routes`` leads a request to ``device_calls`` or ``catalog_calls``; these use ``calls``, ``catalog``,
``access``, ``orders``, ``lists`` and ``render``. The life of the devices in scaled time is ``devices``, ``snapshot``
keeps it, and ``control`` is the simulator's own pages under `/simulator/`.
"""

from engine.simulators.metal.api import MetalSimulator
from engine.simulators.metal.faults import FaultKind, FaultRule, Operation
from engine.simulators.metal.journal import DeviceView, Entry
from engine.simulators.metal.settings import (
    API_KEY,
    PROJECT_ID,
    ErrorBody,
    KeySettings,
    MetalSettings,
    MetroSettings,
    PlanSettings,
    ProjectSettings,
    ReservationSettings,
)
from engine.simulators.metal.transport import SimulatorAdapter

__all__ = [
    "MetalSimulator",
    "MetalSettings",
    "SimulatorAdapter",
    "API_KEY",
    "PROJECT_ID",
    "ErrorBody",
    "KeySettings",
    "MetroSettings",
    "PlanSettings",
    "ProjectSettings",
    "ReservationSettings",
    "FaultKind",
    "FaultRule",
    "Operation",
    "DeviceView",
    "Entry",
]
