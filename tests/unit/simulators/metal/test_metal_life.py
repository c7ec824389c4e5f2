"""The life of a device: from the order to the boot, failing, powering, and being taken back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import requests

from engine.simulators.clock import VirtualClock
from engine.simulators.metal import (
    PROJECT_ID,
    FaultKind,
    FaultRule,
    MetalSettings,
    MetalSimulator,
    Operation,
    ReservationSettings,
)

Api = Callable[..., requests.Response]

BOOT = timedelta(seconds=20) + timedelta(minutes=6)
RESERVED = MetalSettings(reservations=(ReservationSettings(plan="c3.small.x86", metro="da"),))


def state(api: Api, device: str) -> str:
    return str(api("GET", f"/devices/{device}").json()["state"])


def test_each_order_is_a_new_queued_device(order: Api) -> None:
    """The same order twice is two devices with the same hostname and different ids."""
    first, second = order(), order()
    assert (first.status_code, second.status_code) == (201, 201)
    assert {first.json()["state"], second.json()["state"]} == {"queued"}
    assert first.json()["hostname"] == second.json()["hostname"] == "node-1"
    assert first.json()["id"] != second.json()["id"]


def test_device_boots_as_time_passes(api: Api, order: Api, clock: VirtualClock) -> None:
    """A device is queued, then provisioning with events and a percentage, then active."""
    device = order().json()["id"]

    clock.advance(timedelta(seconds=20))
    begun = api("GET", f"/devices/{device}").json()
    assert begun["state"] == "provisioning"
    assert begun["provisioning_percentage"] == pytest.approx(100 / 7)
    assert [event["created_at"] is not None for event in begun["provisioning_events"]] == [True] + 6 * [False]

    clock.advance(timedelta(minutes=6))
    booted = api("GET", f"/devices/{device}").json()
    assert booted["state"] == "active"
    assert "provisioning_percentage" not in booted
    assert "provisioning_events" not in booted


def test_addresses_appear_during_provisioning(api: Api, order: Api, clock: VirtualClock) -> None:
    """A queued device has no address; a provisioning one gets a public IPv4, a public IPv6 and a private IPv4."""
    device = order().json()
    assert device["ip_addresses"] == []
    clock.advance(timedelta(seconds=20) + timedelta(minutes=6) / 7)
    addresses = api("GET", f"/devices/{device['id']}").json()["ip_addresses"]
    assert [(each["address_family"], each["public"], each["cidr"]) for each in addresses] == [
        (4, True, 31),
        (6, True, 127),
        (4, False, 31),
    ]
    assert api("GET", f"/devices/{device['id']}/ips").json()["ip_addresses"] == addresses


def test_private_address_is_given_without_being_asked_for(api: Api, order: Api, clock: VirtualClock) -> None:
    """An order for an IPv6 address alone also gets the mandatory private IPv4 address."""
    device = order(ip_addresses=[{"address_family": 6, "public": True}]).json()["id"]
    clock.advance(BOOT)
    addresses = api("GET", f"/devices/{device}").json()["ip_addresses"]
    assert [(each["address_family"], each["public"]) for each in addresses] == [(6, True), (4, False)]


def test_root_password_is_shown_for_a_day(api: Api, order: Api, clock: VirtualClock) -> None:
    """The root password is there from provisioning until 24 hours after the boot."""
    device = order().json()
    assert "root_password" not in device
    clock.advance(BOOT + timedelta(hours=24) - timedelta(seconds=1))
    assert api("GET", f"/devices/{device['id']}").json()["root_password"]
    clock.advance(timedelta(seconds=1))
    assert "root_password" not in api("GET", f"/devices/{device['id']}").json()


@pytest.mark.parametrize("settings", [MetalSettings(time_scale=60)])
def test_scaled_time_is_faster(api: Api, order: Api, clock: VirtualClock, settings: MetalSettings) -> None:
    """With a scale of 60 a boot of 380 seconds takes less than seven."""
    device = order().json()["id"]
    clock.advance(timedelta(seconds=7))
    assert state(api, device) == "active"


@pytest.mark.parametrize("settings", [MetalSettings(jitter=0.5)])
def test_jitter_spreads_the_boots(order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """With jitter no two devices take the same time, and none takes more than half as long again."""
    for _ in range(20):
        order()
    clock.advance(timedelta(seconds=20) + timedelta(minutes=9))
    boots = {device.active_at for device in metal.devices()}
    assert None not in boots
    assert len(boots) == 20


@pytest.mark.parametrize("settings", [MetalSettings(vanished_status=403), MetalSettings(vanished_status=404)])
def test_failed_device_on_demand_vanishes(
    api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator, settings: MetalSettings
) -> None:
    """An on-demand device that fails leaves the project: no list has it, and asking for it is refused."""
    metal.faults.add(FaultRule(kind=FaultKind.FAIL_PROVISIONING, left=1))
    device = order().json()["id"]
    clock.advance(BOOT)
    assert api("GET", f"/projects/{PROJECT_ID}/devices").json()["devices"] == []
    assert api("GET", f"/devices/{device}").status_code == settings.vanished_status
    assert api("DELETE", f"/devices/{device}").status_code == settings.vanished_status
    assert metal.billing() == []
    assert order().status_code == 201
    clock.advance(BOOT)
    assert [seen.state for seen in metal.devices()] == ["active"]


@pytest.mark.parametrize("settings", [RESERVED])
def test_failed_reserved_device_stays(api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """A reserved device that fails stays in the project, billed, until it is deleted."""
    metal.faults.add(FaultRule(kind=FaultKind.FAIL_PROVISIONING, left=1))
    device = order(hardware_reservation_id="next-available").json()["id"]
    clock.advance(BOOT)
    assert state(api, device) == "failed"
    assert [seen.id for seen in metal.billing()] == [device]
    assert api("DELETE", f"/devices/{device}").status_code == 204
    assert metal.billing() == []


def test_failed_device_on_demand_can_stay(api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """With the other fault an on-demand device that fails stays and can be deleted."""
    metal.faults.add(FaultRule(kind=FaultKind.FAIL_AND_STAY, left=1, operation=Operation.CREATE))
    device = order().json()["id"]
    clock.advance(BOOT)
    assert state(api, device) == "failed"
    assert api("DELETE", f"/devices/{device}").status_code == 204


def test_deleted_device_is_deprovisioned_and_then_gone(api: Api, order: Api, clock: VirtualClock) -> None:
    """After the delete a device is still seen as deprovisioning, and after the window it is not found."""
    device = order().json()["id"]
    clock.advance(BOOT)
    deleted = api("DELETE", f"/devices/{device}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert state(api, device) == "deprovisioning"
    clock.advance(timedelta(minutes=1))
    gone = api("GET", f"/devices/{device}")
    assert (gone.status_code, gone.json()) == (404, {"error": "Not found"})
    assert api("GET", f"/projects/{PROJECT_ID}/devices").json()["devices"] == []


def test_provisioning_device_refuses_the_delete(api: Api, order: Api, clock: VirtualClock) -> None:
    """While a device is provisioning, deleting it is refused with the known words."""
    device = order().json()["id"]
    clock.advance(timedelta(minutes=1))
    refused = api("DELETE", f"/devices/{device}")
    assert refused.status_code == 422
    assert refused.json() == {"errors": ["Cannot delete a device while it is provisioning"]}


@pytest.mark.parametrize(("settings", "status"), [(MetalSettings(), 204), (MetalSettings(queued_deletable=False), 422)])
def test_delete_of_a_queued_device_is_a_switch(api: Api, order: Api, status: int) -> None:
    """A queued device can be deleted, unless the settings say no."""
    device = order().json()["id"]
    assert api("DELETE", f"/devices/{device}").status_code == status


@pytest.mark.parametrize(
    ("settings", "status"), [(MetalSettings(), 404), (MetalSettings(second_delete_status=422), 422)]
)
def test_second_delete_is_a_switch(api: Api, order: Api, clock: VirtualClock, status: int) -> None:
    """Deleting a device twice is refused the second time, with the status of the settings."""
    device = order().json()["id"]
    clock.advance(BOOT)
    assert api("DELETE", f"/devices/{device}").status_code == 204
    assert api("DELETE", f"/devices/{device}").status_code == status


def test_locked_device_refuses_the_delete(api: Api, order: Api, clock: VirtualClock) -> None:
    """A locked device can be deleted only after it has been unlocked."""
    device = order(locked=True).json()["id"]
    clock.advance(BOOT)
    assert api("DELETE", f"/devices/{device}").status_code == 422
    assert api("PATCH", f"/devices/{device}", json={"locked": False}).json()["locked"] is False
    assert api("DELETE", f"/devices/{device}").status_code == 204


@pytest.mark.parametrize("how", [{"params": {"force_delete": "true"}}, {"json": {"force_delete": True}}])
def test_force_is_read_from_query_and_body(
    api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator, how: dict[str, dict[str, object]]
) -> None:
    """Both ways in which clients ask for a forced delete are understood."""
    device = order().json()["id"]
    clock.advance(BOOT)
    assert api("DELETE", f"/devices/{device}", **how).status_code == 204
    assert [entry.note for entry in metal.journal.entries(what="deleted")] == ["forced"]


def test_power_and_reinstall(api: Api, order: Api, clock: VirtualClock) -> None:
    """A device is powered off, on, and installed again, each through its passing state."""
    device = order().json()["id"]
    clock.advance(BOOT)
    seen = []
    for action in ("power_off", "power_on", "reinstall", "reboot"):
        assert api("POST", f"/devices/{device}/actions", json={"type": action}).status_code == 202
        seen.append(state(api, device))
        clock.advance(timedelta(minutes=6))
        seen.append(state(api, device))
    assert seen == ["powering_off", "inactive", "powering_on", "active", "reinstalling", "active", "active", "active"]
    refused = api("POST", f"/devices/{device}/actions", json={"type": "power_on"})
    assert refused.json() == {"errors": ["Cannot power_on a device while it is active"]}


def test_termination_time_deletes_the_device(order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """A device is deleted at its termination time, unless it is locked."""
    at = (clock.now() + timedelta(hours=1)).isoformat()
    kept, lost = order(termination_time=at, locked=True).json()["id"], order(termination_time=at).json()["id"]
    clock.advance(timedelta(hours=1))
    assert {device.id: device.state for device in metal.devices()} == {kept: "active", lost: "deprovisioning"}


def test_events_of_a_device_are_listed(api: Api, order: Api, clock: VirtualClock) -> None:
    """What has happened during provisioning can be read, the newest first, with the addresses in the text."""
    device = order().json()["id"]
    clock.advance(BOOT)
    listed = api("GET", f"/devices/{device}/events").json()
    assert listed["meta"]["total"] == 7
    assert [event["type"] for event in listed["events"]][-2:] == ["provisioning.102", "provisioning.101"]
    assert "198.18.0.1 and 10.64.0.1" in listed["events"][-2]["body"]


def test_usages_count_begun_hours(api: Api, order: Api, clock: VirtualClock) -> None:
    """The bill of a device is the price of the hours it has begun, as strings."""
    device = order().json()["id"]
    clock.advance(timedelta(minutes=61))
    usages = api("GET", f"/devices/{device}/usages").json()["usages"]
    assert usages == [{"quantity": "2", "total": "1.50", "unit": "hour"}]


def test_device_remembers_when_it_changed(api: Api, order: Api, clock: VirtualClock) -> None:
    """The instants of a device are those of the clock, whenever somebody looks."""
    device = order().json()["id"]
    clock.advance(timedelta(days=2))
    seen = api("GET", f"/devices/{device}").json()
    assert seen["created_at"] == "2026-01-01T00:00:00Z"
    assert datetime.fromisoformat(seen["updated_at"]) == datetime(2026, 1, 1, 0, 6, 20, tzinfo=UTC)


def test_userdata_is_kept_as_it_came(api: Api, order: Api) -> None:
    """The userdata of an order is plain text and comes back unchanged, in the device and alone."""
    userdata = "#cloud-config\n" + "x: ü\n" * 10_000
    device = order(userdata=userdata, customdata={"a": [1]}).json()
    assert device["userdata"] == userdata
    assert api("GET", f"/devices/{device['id']}/userdata").json() == {"userdata": userdata}
    assert api("GET", f"/devices/{device['id']}/customdata").json() == {"a": [1]}
