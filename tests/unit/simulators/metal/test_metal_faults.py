"""What can be made to go wrong, and that it goes wrong exactly so."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import requests

from engine.simulators.clock import VirtualClock
from engine.simulators.http import HttpServer
from engine.simulators.metal import API_KEY, PROJECT_ID, FaultKind, FaultRule, MetalSettings, MetalSimulator, Operation
from engine.simulators.metal.faults import Faults
from engine.simulators.seed import Seed

Api = Callable[..., requests.Response]

DEVICES = f"/projects/{PROJECT_ID}/devices"


def test_answer_lost_after_the_order_leaves_a_device(order: Api, metal: MetalSimulator) -> None:
    """When the answer is lost after the effect, the client hears nothing and the device exists."""
    metal.faults.add(FaultRule(kind=FaultKind.LOST_AFTER, left=1, operation=Operation.CREATE))
    with pytest.raises(requests.ConnectionError):
        order()
    assert len(metal.devices()) == 1
    assert order().status_code == 201


def test_answer_lost_before_the_order_leaves_nothing(order: Api, metal: MetalSimulator) -> None:
    """When the answer is lost before the effect, the client hears nothing and there is nothing."""
    metal.faults.add(FaultRule(kind=FaultKind.LOST_BEFORE, left=1, operation=Operation.CREATE))
    with pytest.raises(requests.ConnectionError):
        order()
    assert metal.devices() == []


def test_oh_snap_after_the_order_leaves_a_device(order: Api, metal: MetalSimulator) -> None:
    """A 500 can mean that the device exists, and it can mean that it does not."""
    metal.faults.add(FaultRule(kind=FaultKind.OH_SNAP_AFTER, left=1))
    after = order()
    metal.faults.add(FaultRule(kind=FaultKind.OH_SNAP_BEFORE, left=1))
    before = order()
    assert (after.status_code, before.status_code) == (500, 500)
    assert after.json() == before.json()
    assert after.json()["errors"][0].startswith("Oh snap, something went wrong!")
    assert len(metal.devices()) == 1


def test_refused_request_does_not_use_up_a_fault_that_follows_the_effect(order: Api, metal: MetalSimulator) -> None:
    """A fault after the effect waits for a request that has one."""
    metal.faults.add(FaultRule(kind=FaultKind.LOST_AFTER, left=1))
    assert order(plan="z9").status_code == 422
    with pytest.raises(requests.ConnectionError):
        order()


def test_bad_gateway_is_not_the_api(order: Api, metal: MetalSimulator) -> None:
    """The load balancer's 502 is HTML and has no request id."""
    metal.faults.add(FaultRule(kind=FaultKind.BAD_GATEWAY))
    refused = order()
    assert (refused.status_code, refused.headers["Content-Type"]) == (502, "text/html")
    assert "X-Request-Id" not in refused.headers
    assert metal.devices() == []


@pytest.mark.parametrize(
    ("kind", "status"), [(FaultKind.UNAUTHORIZED, 401), (FaultKind.FORBIDDEN, 403), (FaultKind.THROTTLED, 429)]
)
def test_everybody_is_refused(api: Api, metal: MetalSimulator, kind: FaultKind, status: int) -> None:
    """A good key is refused while the fault is in force, and let in when it is over."""
    metal.faults.add(FaultRule(kind=kind))
    assert api("GET", DEVICES).status_code == status
    metal.faults.remove(kind)
    assert api("GET", DEVICES).status_code == 200


@pytest.mark.parametrize(("settings", "header"), [(MetalSettings(), "1"), (MetalSettings(retry_after=None), None)])
def test_throttling_says_when_to_come_back_or_not(api: Api, metal: MetalSimulator, header: str | None) -> None:
    """`Retry-After` is sent or not, as nobody knows which the real API did."""
    metal.faults.add(FaultRule(kind=FaultKind.THROTTLED))
    assert api("GET", DEVICES).headers.get("Retry-After") == header


def test_young_devices_are_missing_in_a_stale_list(
    api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator
) -> None:
    """A new device is not listed for a while, although it can be read by its id."""
    metal.faults.add(FaultRule(kind=FaultKind.STALE_LIST, seconds=30))
    device = order().json()["id"]
    assert api("GET", DEVICES).json()["devices"] == []
    assert api("GET", f"/devices/{device}").status_code == 200
    clock.advance(timedelta(seconds=30))
    assert len(api("GET", DEVICES).json()["devices"]) == 1


@pytest.mark.parametrize(("kind", "shown"), [(FaultKind.LIST_TRUNCATED, 2), (FaultKind.LIST_EMPTY, 0)])
def test_incomplete_list_looks_complete(
    api: Api, order: Api, metal: MetalSimulator, kind: FaultKind, shown: int
) -> None:
    """A list can miss devices and say nothing of it."""
    for _ in range(4):
        order()
    metal.faults.add(FaultRule(kind=kind, left=1))
    listed = api("GET", DEVICES).json()
    assert (len(listed["devices"]), listed["meta"]["total"], listed["meta"]["next"]) == (shown, shown, None)
    assert api("GET", DEVICES).json()["meta"]["total"] == 4


def test_second_page_can_fail(api: Api, order: Api, metal: MetalSimulator) -> None:
    """The first page of a list is there, and the second is a 500."""
    order()
    order()
    metal.faults.add(FaultRule(kind=FaultKind.LIST_PAGE_ERROR))
    pages = [api("GET", DEVICES, params={"per_page": "1", "page": page}).status_code for page in ("1", "2")]
    assert pages == [200, 500]


def test_metro_can_be_sold_out_at_will(order: Api, metal: MetalSimulator) -> None:
    """The next orders are refused as if there were no servers."""
    metal.faults.add(FaultRule(kind=FaultKind.NO_CAPACITY, left=2))
    assert [order().status_code for _ in range(3)] == [422, 422, 201]


def test_latency_passes_on_the_clock(api: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """Latency and slowness add up, and a client that waits less gets a time-out at its own limit."""
    metal.faults.add(
        FaultRule(kind=FaultKind.LATENCY, seconds=2),
        FaultRule(kind=FaultKind.SLOW, seconds=3, operation=Operation.LIST),
    )
    begun = clock.monotonic()
    api("GET", DEVICES)
    assert clock.monotonic() - begun == 5
    with pytest.raises(requests.ReadTimeout):
        api("GET", DEVICES, timeout=(1, 4))
    assert clock.monotonic() - begun == 9


def test_fault_strikes_its_operation_only(api: Api, order: Api, metal: MetalSimulator) -> None:
    """A rule for deletes leaves orders and lists alone."""
    metal.faults.add(FaultRule(kind=FaultKind.OH_SNAP_BEFORE, operation=Operation.DELETE))
    device = order()
    assert device.status_code == 201
    assert api("GET", DEVICES).status_code == 200
    assert api("DELETE", f"/devices/{device.json()['id']}").status_code == 500


def test_share_strikes_about_that_many() -> None:
    """A share of a quarter strikes about a quarter of the requests, the same ones for the same seed."""
    struck = []
    for _ in range(2):
        faults = Faults(Seed(3))
        faults.add(FaultRule(kind=FaultKind.SLOW, share=0.25))
        struck.append([bool(faults.strike(FaultKind.SLOW, Operation.GET)) for _ in range(1000)])
    assert struck[0] == struck[1]
    assert 200 < sum(struck[0]) < 300


def test_faults_are_switched_over_http(api: Api, order: Api, metal: MetalSimulator) -> None:
    """The control page puts rules in force, shows what is left of them, and takes them away, without a key."""
    rules = [{"kind": "oh_snap_before", "left": 2, "operation": "create"}]
    assert api("PUT", "/simulator/faults", token=None, json={"rules": rules}).status_code == 200
    assert order().status_code == 500
    shown = api("GET", "/simulator/faults", token=None).json()["rules"]
    assert shown == [{"kind": "oh_snap_before", "share": 1.0, "left": 1, "operation": "create", "seconds": 0.0}]
    assert api("PUT", "/simulator/faults", token=None, json={"rules": []}).json()["rules"] == []
    assert order().status_code == 201
    wrong = api("PUT", "/simulator/faults", token=None, json={"rules": [{"kind": "gremlins"}]})
    assert (wrong.status_code, "gremlins" in wrong.text) == (422, True)


def test_capacity_is_changed_over_http(api: Api, order: Api) -> None:
    """The control page changes how many servers there are."""
    changed = api("PUT", "/simulator/capacity", token=None, json={"servers": {"da/c3.small.x86": 0}})
    assert changed.json() == {"servers": {"da/c3.small.x86": 0}}
    assert order().status_code == 422
    assert api("PUT", "/simulator/capacity", token=None, json={"servers": {"da/c3.small.x86": "x"}}).status_code == 422
    assert api("GET", "/simulator/nothing", token=None).status_code == 404


def test_connection_is_cut_on_a_real_socket(metal: MetalSimulator, clock: VirtualClock) -> None:
    """Over HTTP a lost answer is a cut connection, and the next request is served."""
    metal.faults.add(FaultRule(kind=FaultKind.LOST_AFTER, left=1))
    with HttpServer(metal.handle, clock=clock) as server:
        url, headers = f"{server.url}/metal/v1/plans", {"X-Auth-Token": API_KEY}
        with pytest.raises(requests.ConnectionError):
            requests.get(url, headers=headers, timeout=10)
        assert requests.get(url, headers=headers, timeout=10).status_code == 200
