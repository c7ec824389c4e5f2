"""A simulated API under a virtual clock, and a session that talks to it in process."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from engine.simulators.clock import VirtualClock
from engine.simulators.metal import API_KEY, MetalSettings, MetalSimulator, SimulatorAdapter
from engine.simulators.seed import Seed

Api = Callable[..., requests.Response]


@pytest.fixture
def settings() -> MetalSettings:
    """A test that needs others parametrizes this name."""
    return MetalSettings()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def metal(clock: VirtualClock, settings: MetalSettings) -> MetalSimulator:
    return MetalSimulator(clock=clock, seed=Seed(7), settings=settings)


@pytest.fixture
def api(metal: MetalSimulator, clock: VirtualClock) -> Api:
    session = requests.Session()
    session.mount("https://", SimulatorAdapter(metal.handle, clock=clock))

    def call(method: str, path: str, *, token: str | None = API_KEY, **more: Any) -> requests.Response:
        headers = {"X-Auth-Token": token} if token else {}
        prefix = "" if path.startswith("/simulator") else "/metal/v1"
        return session.request(method, f"https://api.equinix.com{prefix}{path}", headers=headers, **more)

    return call


@pytest.fixture
def order(api: Api) -> Api:
    """Order a device; the keywords are fields of the body."""

    def place(**fields: Any) -> requests.Response:
        body = {
            "plan": "c3.small.x86",
            "metro": "da",
            "operating_system": "ubuntu_22_04",
            "hostname": "node-1",
            **fields,
        }
        return api("POST", "/projects/93125c2a-8b78-4d4f-a3c4-7367d6b7cca8/devices", json=body)

    return place
