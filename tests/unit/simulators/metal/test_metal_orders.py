"""What an order or a change must look like, what capacity says to it, and reservations."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests

from engine.simulators.clock import VirtualClock
from engine.simulators.metal import (
    PROJECT_ID,
    FaultKind,
    FaultRule,
    MetalSettings,
    MetalSimulator,
    PlanSettings,
    ProjectSettings,
    ReservationSettings,
)

Api = Callable[..., requests.Response]

NO_KEYS = MetalSettings(projects=(ProjectSettings(id=PROJECT_ID, ssh_keys=()),))
ONE_SERVER = MetalSettings(capacity={"da/c3.small.x86": 1})
RESERVED = MetalSettings(reservations=(ReservationSettings(plan="c3.small.x86", metro="da"),))
SOLD_IN_PARIS = MetalSettings(plans=(PlanSettings(slug="c3.small.x86", price_hour=1, metros=("pa",)),))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"plan": "z9"}, "z9 is not a valid plan"),
        ({"plan": None}, "Plan can't be blank"),
        ({"metro": "zz"}, "zz is not a valid metro"),
        ({"metro": None, "facility": "zz1"}, "zz1 is not a valid facility"),
        ({"metro": None}, "Either metro or facility must be given"),
        ({"operating_system": "plan9"}, "plan9 is not a valid operating system"),
        ({"tags": ["x" * 81]}, "Tags must be 1-80 characters"),
        ({"tags": [""]}, "Tags must be 1-80 characters"),
        ({"tags": "one"}, "Tags must be 1-80 characters"),
        ({"hostname": "under_score"}, "Hostname is invalid"),
        ({"hostname": "-edge"}, "Hostname is invalid"),
        ({"billing_cycle": "weekly"}, "Billing cycle is not included in the list"),
        ({"project_ssh_keys": ["nobody"]}, "nobody is not a valid project SSH key"),
        ({"project_ssh_keys": 5}, "Project SSH keys must be an array"),
        ({"userdata": 5}, "Userdata must be a string"),
        ({"termination_time": "soon"}, "Termination time is invalid"),
    ],
)
def test_wrong_field_is_refused(order: Api, metal: MetalSimulator, fields: dict[str, Any], text: str) -> None:
    """An order with a wrong field is refused with 422 and its words, and no device exists."""
    refused = order(**fields)
    assert refused.status_code == 422
    assert text in refused.json()["errors"]
    assert metal.devices() == []


def test_all_that_is_wrong_is_said_at_once(order: Api) -> None:
    """An order with several wrong fields is refused with a text for each."""
    assert order(plan="z9", metro="zz").json() == {"errors": ["z9 is not a valid plan", "zz is not a valid metro"]}


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff"])
def test_body_that_is_no_object_is_refused(api: Api, body: bytes) -> None:
    """A body that is not a JSON object is refused with 400."""
    assert api("POST", f"/projects/{PROJECT_ID}/devices", data=body).status_code == 400


@pytest.mark.parametrize("tag", ["x", "x" * 80, "kubernetes.io/cluster/shoot--a"])
def test_tags_of_1_to_80_characters_are_kept(order: Api, tag: str) -> None:
    """A tag of allowed length comes back as it was sent."""
    assert order(tags=[tag]).json()["tags"] == [tag]


def test_order_without_hostname_gets_one(order: Api) -> None:
    """A device without a wished hostname has one all the same."""
    assert order(hostname=None).json()["hostname"] == "c3-small-x86-01"


@pytest.mark.parametrize("settings", [NO_KEYS])
def test_order_without_any_ssh_key_is_refused(api: Api, order: Api) -> None:
    """In a project without SSH keys an order must bring one or say that it wants none."""
    refused = order()
    assert refused.json() == {"errors": ["must have at least one SSH key or explicitly send no_ssh_keys option"]}
    assert order(no_ssh_keys=True).status_code == 201
    assert order(ssh_keys=[{"key": "ssh-ed25519 AAAA", "label": "x"}]).status_code == 201
    key = api("POST", f"/projects/{PROJECT_ID}/ssh-keys", json={"label": "ops", "key": "ssh-ed25519 BBBB"})
    assert key.status_code == 201
    assert order().json()["ssh_keys"] == [{"href": key.json()["href"]}]
    again = api("POST", f"/projects/{PROJECT_ID}/ssh-keys", json={"label": "ops", "key": "ssh-ed25519 BBBB"})
    assert again.status_code == 422


def test_facility_and_any_metro_are_accepted(order: Api) -> None:
    """A facility stands for its metro, and `any` is somewhere."""
    assert order(metro=None, facility=["am6"]).json()["metro"]["code"] == "am"
    assert order(metro="any").json()["metro"]["code"]


@pytest.mark.parametrize("settings", [SOLD_IN_PARIS])
def test_plan_that_is_not_sold_there_is_refused_misleadingly(order: Api) -> None:
    """A plan that the metro does not have is refused with the misleading words of the real API."""
    assert order().json() == {"errors": ["Facility can't be blank"]}
    assert order(metro="pa").status_code == 201


@pytest.mark.parametrize("settings", [ONE_SERVER])
def test_capacity_runs_out_and_comes_back(api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator) -> None:
    """The last server can be ordered once, and again when the first device is gone."""
    device = order().json()["id"]
    refused = order()
    assert refused.status_code == 422
    assert refused.json() == {"errors": ["There aren't available servers in that metro"]}
    assert api("GET", "/capacity/metros").json()["capacity"]["da"]["c3.small.x86"] == {"level": "unavailable"}

    assert api("DELETE", f"/devices/{device}").status_code == 204
    assert order().status_code == 422
    clock.advance(timedelta(minutes=1))
    assert order().status_code == 201

    metal.set_capacity(metro="da", plan="c3.small.x86", servers=2)
    assert order().status_code == 201


@pytest.mark.parametrize("settings", [ONE_SERVER])
def test_capacity_can_be_asked_for(api: Api) -> None:
    """The check says whether a number of servers is there, in strings, and holds none of them."""
    servers = [{"metro": "da", "plan": "c3.small.x86", "quantity": quantity} for quantity in ("1", "2")]
    checked = api("POST", "/capacity/metros", json={"servers": servers}).json()["servers"]
    assert [server["available"] for server in checked] == [True, False]
    assert checked[1]["quantity"] == "2"
    assert api("POST", "/capacity/metros", json={"servers": [{"metro": "zz"}]}).status_code == 422
    assert api("GET", "/capacity").json()["capacity"]["da11"]["c3.small.x86"] == {"level": "critical"}


@pytest.mark.parametrize("settings", [MetalSettings(public_ipv4_max=1)])
def test_public_addresses_are_limited(order: Api) -> None:
    """A project out of public IPv4 space gets a refusal, unless the order needs none."""
    assert order().status_code == 201
    assert "insufficient public IPv4 space" in order().json()["errors"][0]
    assert order(ip_addresses=[{"address_family": 4, "public": False}]).status_code == 201


@pytest.mark.parametrize("settings", [RESERVED])
def test_reservation_is_taken_and_comes_back_after_the_wipe(
    api: Api, order: Api, clock: VirtualClock, metal: MetalSimulator
) -> None:
    """A reservation holds one device, and can be provisioned again when the wipe after its delete is over."""
    reservation = api("GET", f"/projects/{PROJECT_ID}/hardware-reservations").json()["hardware_reservations"][0]
    assert reservation["provisionable"] is True
    device = order(hardware_reservation_id=reservation["id"]).json()
    assert device["hardware_reservation"] == {"href": f"/metal/v1/hardware-reservations/{reservation['id']}"}

    none_left = order(hardware_reservation_id="next-available")
    assert none_left.status_code == 503
    assert none_left.json() == {
        "errors": ["There are no available hardware reservations for selected plan and facility"]
    }
    occupied = order(hardware_reservation_id=reservation["id"])
    assert (occupied.status_code, occupied.json()) == (422, {"errors": ["Server is not provisionable"]})

    clock.advance(timedelta(minutes=10))
    api("DELETE", f"/devices/{device['id']}")
    clock.advance(timedelta(minutes=4) - timedelta(seconds=1))
    path = f"/hardware-reservations/{reservation['id']}"
    assert api("GET", path).json()["provisionable"] is False
    metal.faults.add(FaultRule(kind=FaultKind.STALE_RESERVATION))
    listed = api("GET", f"/projects/{PROJECT_ID}/hardware-reservations", params={"provisionable": "only"}).json()
    assert [each["provisionable"] for each in listed["hardware_reservations"]] == [True]
    clock.advance(timedelta(seconds=1))
    assert api("GET", path).json()["provisionable"] is True
    assert order(hardware_reservation_id="next-available").status_code == 201


@pytest.mark.parametrize("settings", [RESERVED])
def test_reservation_of_another_plan_does_not_fit(order: Api) -> None:
    """A reservation is good for its own plan and metro only."""
    assert order(hardware_reservation_id="next-available", plan="m3.large.x86").status_code == 503


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_change_replaces_what_it_names(api: Api, order: Api, method: str) -> None:
    """A change replaces the named fields, the tags as a whole, and leaves the rest."""
    device = order(tags=["a", "b"], userdata="old").json()["id"]
    changes = {"tags": ["c"], "hostname": "node-2", "locked": True, "plan": "m3.large.x86", "state": "failed"}
    assert api(method, f"/devices/{device}", json=changes).status_code == 200
    changed = api("GET", f"/devices/{device}").json()
    assert (changed["tags"], changed["hostname"], changed["locked"]) == (["c"], "node-2", True)
    assert (changed["userdata"], changed["plan"]["slug"], changed["state"]) == ("old", "c3.small.x86", "queued")
    assert api(method, f"/devices/{device}", json={"tags": ["x" * 81]}).status_code == 422


def test_catalogue_can_be_read(api: Api) -> None:
    """Plans, operating systems, metros, facilities, projects and SSH keys are listed."""
    counted = {
        name: len(api("GET", path).json()[name])
        for name, path in {
            "plans": "/plans",
            "operating_systems": "/operating-systems",
            "metros": "/locations/metros",
            "facilities": "/facilities",
            "projects": "/projects",
            "ssh_keys": f"/projects/{PROJECT_ID}/ssh-keys",
        }.items()
    }
    assert counted == {
        "plans": 6,
        "operating_systems": 8,
        "metros": 10,
        "facilities": 10,
        "projects": 1,
        "ssh_keys": 1,
    }
    assert api("GET", "/plans", params={"slug": "c3.small.x86"}).json()["plans"][0]["pricing"] == {"hour": 0.75}
    assert api("GET", "/locations/metros/da").json()["name"] == "Dallas"
    assert api("GET", f"/projects/{PROJECT_ID}").json()["id"] == PROJECT_ID
