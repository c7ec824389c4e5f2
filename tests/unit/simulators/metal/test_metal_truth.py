"""The ground truth: what happened, what is billed, and that a world can be put away and continued."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
import requests

from engine.errors import ConfigurationError
from engine.simulators.clock import EPOCH, VirtualClock
from engine.simulators.http import HttpRequest
from engine.simulators.metal import (
    API_KEY,
    PROJECT_ID,
    FaultKind,
    FaultRule,
    MetalSettings,
    MetalSimulator,
    Operation,
    ReservationSettings,
)
from engine.simulators.seed import Seed

Api = Callable[..., requests.Response]

BOOT = timedelta(seconds=20) + timedelta(minutes=6)
RESERVED = MetalSettings(
    reservations=(ReservationSettings(plan="c3.small.x86", metro="da"),), capacity={"da/c3.small.x86": 1}
)


def test_journal_tells_what_happened_and_when(api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """The journal has each turn of a device's life at the instant of the turn, however late somebody looks."""
    device = order(tags=["uid:1"]).json()["id"]
    clock.advance(timedelta(hours=1))
    api("DELETE", f"/devices/{device}")
    clock.advance(timedelta(hours=1))
    metal.devices()
    told = [(entry.what, entry.at - EPOCH) for entry in metal.journal.entries()]
    assert told == [
        ("created", timedelta(0)),
        ("active", BOOT),
        ("deleted", timedelta(hours=1)),
        ("gone", timedelta(hours=1, minutes=1)),
    ]
    assert {entry.device for entry in metal.journal.entries()} == {device}
    assert [entry.what for entry in metal.journal.entries(after=3)] == ["gone"]


def test_calls_are_counted_also_when_lost(api: Api, order: Api, metal: MetalSimulator) -> None:
    """Every request counts for its operation, whatever becomes of it."""
    metal.faults.add(FaultRule(kind=FaultKind.LOST_BEFORE, left=1))
    with pytest.raises(requests.ConnectionError):
        order()
    order()
    api("GET", f"/projects/{PROJECT_ID}/devices")
    assert metal.journal.calls == {Operation.CREATE: 2, Operation.LIST: 1}


def test_bill_ends_at_the_delete(api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """A device costs money from the order to the delete, at any instant asked for."""
    device = order().json()["id"]
    clock.advance(BOOT)
    assert [seen.id for seen in metal.billing()] == [device]
    api("DELETE", f"/devices/{device}")
    assert metal.billing() == []
    clock.advance(timedelta(days=1))
    assert [seen.id for seen in metal.billing(EPOCH + timedelta(minutes=1))] == [device]


def test_most_devices_at_once_for_a_tag(api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """Two devices with one tag count as two only if they cost money at the same time."""
    first = order(tags=["uid:1", "role:node"]).json()["id"]
    order(tags=["uid:2"])
    order(tags=["uid:2"])
    clock.advance(BOOT)
    api("DELETE", f"/devices/{first}")
    order(tags=["uid:1"])
    assert metal.most_at_once(tag_prefix="uid:") == {"uid:1": 1, "uid:2": 2}


def test_snapshot_shows_what_a_node_needs(order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """A look at the devices says who is active since when, with addresses, tags and userdata."""
    order(tags=["uid:1"], userdata="boot", metro="fr")
    assert [(seen.state, seen.active_at, seen.private_address) for seen in metal.devices()] == [("queued", None, None)]
    clock.advance(timedelta(hours=1))
    seen = metal.devices()[0]
    assert (seen.state, seen.tags, seen.userdata, seen.metro) == ("active", ("uid:1",), "boot", "fr")
    assert seen.active_at == EPOCH + BOOT
    assert (seen.public_address, seen.private_address) == ("198.18.0.1", "10.64.0.1")


def test_truth_is_shown_over_http(api: Api, order: Api, clock: VirtualClock) -> None:
    """The control pages show the journal and all devices, those that are gone among them, without a key."""
    device = order().json()["id"]
    api("DELETE", f"/devices/{device}")
    clock.advance(timedelta(hours=1))
    shown = api("GET", "/simulator/devices", token=None).json()["devices"]
    assert [(seen["id"], seen["state"]) for seen in shown] == [(device, "deleted")]
    journal = api("GET", "/simulator/journal", token=None, params={"after": "1"}).json()
    assert [entry["what"] for entry in journal["entries"]] == ["deleted", "gone"]
    assert journal["calls"] == {"create": 1, "delete": 1}


@pytest.mark.parametrize("settings", [RESERVED])
def test_world_continues_after_a_restart(
    order: Api, clock: VirtualClock, metal: MetalSimulator, settings: MetalSettings
) -> None:
    """A loaded dump has the same devices, whose lives go on, whose places are taken, and whose ids stay unique."""
    order(hostname="reserved", hardware_reservation_id="next-available")
    order(hostname="plain", tags=["uid:1"])
    clock.advance(timedelta(minutes=3))
    text = json.dumps(metal.dump())

    again = MetalSimulator(clock=clock, seed=Seed(7), settings=settings)
    again.load(json.loads(text))
    assert again.history() == metal.history()
    assert json.dumps(again.dump()) == text

    clock.advance(timedelta(hours=1))
    assert {seen.hostname: seen.state for seen in again.devices()} == {"reserved": "active", "plain": "active"}
    again.set_capacity(metro="da", plan="c3.small.x86", servers=2)
    again.load(json.loads(text))
    assert again.billing() == again.devices()


def test_ids_stay_unique_after_a_restart(api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """The same seed does not give a loaded world the ids it already has."""
    first = order().json()["id"]
    metal.load(metal.dump())
    fresh = MetalSimulator(clock=clock, seed=Seed(7))
    fresh.load(metal.dump())
    assert order().json()["id"] != first
    assert [seen.id for seen in fresh.devices()] == [first]


@pytest.mark.parametrize(
    "document",
    [{}, {"version": 2}, {"version": 1, "created": 1, "devices": [{"id": 5}]}],
)
def test_dump_that_does_not_fit_is_refused(metal: MetalSimulator, document: dict[str, object]) -> None:
    """A dump of another form is refused in words for the operator, and nothing has changed."""
    with pytest.raises(ConfigurationError, match="snapshot"):
        metal.load(document)
    assert metal.devices() == []


def test_dump_with_an_unknown_plan_is_refused(order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """A dump whose devices are not in the catalogue is refused."""
    order()
    other = MetalSimulator(clock=clock, seed=Seed(7), settings=MetalSettings(plans=()))
    with pytest.raises(ConfigurationError, match="plan, metro, system or project"):
        other.load(metal.dump())


def test_one_seed_is_one_world() -> None:
    """Two simulators with the same seed and the same requests end up the same, ids included."""
    worlds = []
    for _ in range(2):
        clock = VirtualClock()
        metal = MetalSimulator(clock=clock, seed=Seed("same"), settings=MetalSettings(jitter=0.2))
        metal.faults.add(FaultRule(kind=FaultKind.FAIL_PROVISIONING, share=0.5))
        for number in range(20):
            _order_directly(metal, number)
        clock.advance(timedelta(hours=1))
        worlds.append(metal.dump())
    assert worlds[0] == worlds[1]


def _order_directly(metal: MetalSimulator, number: int) -> None:
    body = {"plan": "c3.small.x86", "metro": "da", "operating_system": "ubuntu_22_04", "hostname": f"node-{number}"}
    response = metal.handle(
        HttpRequest(
            method="POST",
            path=f"/metal/v1/projects/{PROJECT_ID}/devices",
            headers={"x-auth-token": API_KEY},
            body=json.dumps(body).encode(),
        )
    )
    assert response.status == 201
