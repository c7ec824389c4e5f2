"""Lists of devices: pages, filters, and what can be included or left out."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest
import requests

from engine.simulators.metal import PROJECT_ID, MetalSettings, MetalSimulator, ReservationSettings

Api = Callable[..., requests.Response]

DEVICES = f"/projects/{PROJECT_ID}/devices"
RESERVED = MetalSettings(reservations=(ReservationSettings(plan="c3.small.x86", metro="da"),))


def test_page_has_ten_devices_unless_asked_otherwise(api: Api, order: Api) -> None:
    """A list without parameters shows the ten newest devices and says where the next page is."""
    for number in range(11):
        order(hostname=f"node-{number}")
    listed = api("GET", DEVICES).json()
    assert [device["hostname"] for device in listed["devices"]] == [f"node-{number}" for number in range(10, 0, -1)]
    assert listed["meta"] == {
        "total": 11,
        "current_page": 1,
        "last_page": 2,
        "first": {"href": f"/metal/v1{DEVICES}?page=1"},
        "last": {"href": f"/metal/v1{DEVICES}?page=2"},
        "self": {"href": f"/metal/v1{DEVICES}?page=1"},
        "next": {"href": f"/metal/v1{DEVICES}?page=2"},
        "previous": None,
    }


def test_links_lead_through_the_whole_list(api: Api, order: Api) -> None:
    """Following `next` until it is null shows each device once, with the filters kept."""
    for number in range(7):
        order(hostname=f"node-{number}", tags=["mine"] if number % 2 else [])
    path, seen = f"{DEVICES}?per_page=2&tag=mine", []
    while path:
        listed = api("GET", path).json()
        seen += [device["hostname"] for device in listed["devices"]]
        path = (listed["meta"]["next"] or {"href": ""})["href"].removeprefix("/metal/v1")
    assert seen == ["node-5", "node-3", "node-1"]


@pytest.mark.parametrize("settings", [MetalSettings(per_page_max=3)])
@pytest.mark.parametrize(("asked", "shown"), [("2", 2), ("9", 3), ("0", 1), ("x", 3), ("-1", 3)])
def test_page_size_is_cut_to_the_limit(api: Api, order: Api, asked: str, shown: int) -> None:
    """A page is never larger than the limit, and a size that makes no sense is the default."""
    for _ in range(5):
        order()
    assert len(api("GET", DEVICES, params={"per_page": asked}).json()["devices"]) == shown


def test_page_behind_the_last_is_empty(api: Api, order: Api) -> None:
    """A page that does not exist is an empty list without a next page."""
    order()
    listed = api("GET", DEVICES, params={"page": "5"}).json()
    assert (listed["devices"], listed["meta"]["next"], listed["meta"]["total"]) == ([], None, 1)


@pytest.mark.parametrize("settings", [RESERVED])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"tag": "uid:1"}, {"shoot-a-1"}),
        ({"tag": "uid:"}, set()),
        ({"tag": ["uid:1", "uid:2"]}, {"shoot-a-1", "shoot-b-2"}),
        ({"hostname": "oot-a"}, {"shoot-a-1"}),
        ({"search": "UID:2"}, {"shoot-b-2"}),
        ({"search": "frankfurt"}, {"shoot-b-2"}),
        ({"metro": "fr"}, {"shoot-b-2"}),
        ({"facility": "da11"}, {"shoot-a-1"}),
        ({"type": "reserved"}, {"shoot-a-1"}),
        ({"type": "ondemand"}, {"shoot-b-2"}),
        ({"reserved": "true"}, {"shoot-a-1"}),
        ({"reserved": "false"}, {"shoot-b-2"}),
        ({"categories[]": "compute"}, {"shoot-a-1", "shoot-b-2"}),
        ({"categories[]": "storage"}, set()),
        ({"has_termination_time": "true"}, set()),
        ({"state": "active"}, {"shoot-a-1", "shoot-b-2"}),
        ({"no_such_filter": "x"}, {"shoot-a-1", "shoot-b-2"}),
        ({"tag": ""}, {"shoot-a-1", "shoot-b-2"}),
    ],
)
def test_filters_choose_devices(api: Api, order: Api, query: dict[str, Any], expected: set[str]) -> None:
    """Each known filter chooses, and an unknown one is ignored."""
    order(hostname="shoot-a-1", tags=["uid:1"], hardware_reservation_id="next-available")
    order(hostname="shoot-b-2", tags=["uid:2"], metro="fr")
    listed = api("GET", DEVICES, params=query).json()
    assert {device["hostname"] for device in listed["devices"]} == expected
    assert listed["meta"]["total"] == len(expected)


def test_include_and_exclude_shape_the_answer(api: Api, order: Api) -> None:
    """References can be included and objects cut to references; unknown names are ignored."""
    device = order().json()
    query = {"include": "project,facility,nonsense", "exclude": "plan,hostname"}
    for shaped in (
        api("GET", f"/devices/{device['id']}", params=query).json(),
        api("GET", DEVICES, params=query).json()["devices"][0],
    ):
        assert shaped["project"]["name"] == "simulated"
        assert shaped["plan"] == {"href": device["plan"]["href"]}
        assert shaped["facility"] == device["facility"]
        assert shaped["hostname"] == "node-1"


def test_thousand_devices_are_listed_quickly(api: Api, order: Api, metal: MetalSimulator) -> None:
    """A second look at a thousand devices, in ten pages, takes a fraction of a second."""
    for _ in range(1000):
        order(userdata="x" * 1000)
    for page in range(1, 11):
        api("GET", DEVICES, params={"per_page": "100", "page": str(page)})
    begun = perf_counter()
    for page in range(1, 11):
        assert api("GET", DEVICES, params={"per_page": "100", "page": str(page)}).status_code == 200
    assert perf_counter() - begun < 0.3  # ten times what an idle machine of 2026 needs
