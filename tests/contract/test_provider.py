"""The provider contract on Equinix Metal: in process under a virtual clock, and over HTTP."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from engine.clock import Clock, SystemClock
from engine.providers.equinix.api import EquinixSettings, Transport
from engine.providers.equinix.provider import EquinixMetal
from engine.providers.pace import PaceSettings
from engine.simulators.clock import VirtualClock
from engine.simulators.http import HttpRequest, HttpResponse, HttpServer
from engine.simulators.metal import (
    PROJECT_ID,
    FaultKind,
    FaultRule,
    KeySettings,
    MetalSettings,
    MetalSimulator,
    Operation,
    ReservationSettings,
    SimulatorAdapter,
)
from engine.simulators.seed import Seed
from tests.contract.provider_contract import TOKEN_CANARY, ProviderContract, Stage, Trouble

PLAN, METRO = "c3.small.x86", "da"

FAULTS = {
    Trouble.SOLD_OUT: FaultRule(kind=FaultKind.NO_CAPACITY),
    Trouble.LOST_BEFORE: FaultRule(kind=FaultKind.LOST_BEFORE),
    Trouble.LOST_AFTER: FaultRule(kind=FaultKind.LOST_AFTER),
    Trouble.FAILED_AFTER: FaultRule(kind=FaultKind.OH_SNAP_AFTER),
    Trouble.GATEWAY_DOWN: FaultRule(kind=FaultKind.BAD_GATEWAY),
    Trouble.KEY_REFUSED: FaultRule(kind=FaultKind.UNAUTHORIZED),
    Trouble.RIGHTS_LOST: FaultRule(kind=FaultKind.FORBIDDEN),
    Trouble.THROTTLED: FaultRule(kind=FaultKind.THROTTLED),
    Trouble.LATER_PAGES_FAIL: FaultRule(kind=FaultKind.LIST_PAGE_ERROR, operation=Operation.LIST),
    Trouble.NO_ANSWER_IN_TIME: FaultRule(kind=FaultKind.LATENCY, seconds=3),
    Trouble.BUILD_FAILS: FaultRule(kind=FaultKind.FAIL_AND_STAY),
}


@pytest.fixture
def metal_clock() -> VirtualClock:
    """The clock by which devices live."""
    return VirtualClock()


@pytest.fixture
def simulator(metal_clock: VirtualClock) -> MetalSimulator:
    """A cloud with one key and one reservation."""
    settings = MetalSettings(
        keys=(KeySettings(token=TOKEN_CANARY, projects=(PROJECT_ID,)),),
        reservations=(ReservationSettings(plan=PLAN, metro=METRO, count=1),),
    )
    return MetalSimulator(clock=metal_clock, seed=Seed(1), settings=settings)


class Address:
    """A loopback address at which one simulator after the other is served; a server takes long to stop."""

    def __init__(self) -> None:
        self.simulator: MetalSimulator | None = None
        self.server = HttpServer(self._handle, clock=SystemClock())

    def _handle(self, request: HttpRequest) -> HttpResponse:
        assert self.simulator
        return self.simulator.handle(request)


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    """An address that is served for all tests of this file."""
    address = Address()
    with address.server:
        yield address


@pytest.fixture(params=["in process", "over http"])
def stage(
    request: pytest.FixtureRequest, simulator: MetalSimulator, metal_clock: VirtualClock, address: Address
) -> Iterator[Stage]:
    """The adapter before the simulated cloud, with patience unless the test is about its end."""
    trouble = request.node.callspec.params.get("trouble")
    patience = 1.0 if trouble is Trouble.NO_ANSWER_IN_TIME else 20.0  # seconds; a busy machine answers late
    if request.param == "in process":
        transport = SimulatorAdapter(simulator.handle, clock=metal_clock)
        yield _stage(
            _provider(metal_clock, "https://metal.example/metal/v1", patience, transport), simulator, metal_clock
        )
        return
    address.simulator = simulator
    provider = _provider(SystemClock(), f"{address.server.url}/metal/v1", patience)
    yield _stage(provider, simulator, metal_clock)
    provider.close()


def _provider(clock: Clock, base_url: str, patience: float, transport: Transport | None = None) -> EquinixMetal:
    settings = EquinixSettings(
        base_url=base_url,
        call_seconds=patience,
        page_size=5,
        pace=PaceSettings(calls_per_second=1_000, burst=1_000),
    )
    return EquinixMetal(clock=clock, settings=settings, transport=transport)


def _stage(provider: EquinixMetal, simulator: MetalSimulator, clock: VirtualClock) -> Stage:
    return Stage(
        provider=provider,
        spec={
            "projectID": PROJECT_ID,
            "metro": METRO,
            "machineType": PLAN,
            "billingCycle": "hourly",
            "OS": "ubuntu_22_04",
            "tags": ["kubernetes.io/cluster/shoot-a", "kubernetes.io/role/node"],
        },
        secret={"apiToken": f"{TOKEN_CANARY}\n".encode(), "userData": b"#cloud-config\n"},
        trouble=lambda trouble: simulator.faults.replace([FAULTS[trouble]]),
        calm=simulator.faults.replace,
        build=lambda: clock.advance(timedelta(minutes=10)),
        wipe=lambda: clock.advance(timedelta(minutes=10)),
        bought=lambda: len(simulator.history()),
        reservation=_reservation(simulator),
    )


def _reservation(simulator: MetalSimulator) -> str:
    request = HttpRequest(
        method="GET",
        path=f"/metal/v1/projects/{PROJECT_ID}/hardware-reservations",
        headers={"x-auth-token": TOKEN_CANARY},
    )
    body = simulator.handle(request).body
    assert isinstance(body, bytes)
    return str(json.loads(body)["hardware_reservations"][0]["id"])


class TestEquinixMetal(ProviderContract):
    """Every promise of the port, kept by Equinix Metal."""
