"""Devices out of the API's JSON."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.domain.device import Address, DeviceState
from engine.providers.equinix.wire import UnreadableError, read_device, read_page, read_provider_id

ID = "6f0a3c1e-4b52-4d0a-9a57-1c9f2f7c8e11"
RESERVATION = "7d1e0d2a-1111-4111-8111-000000000001"


def device(**changes: Any) -> dict[str, Any]:
    """Answer a device as the API shows it, with changes."""
    plain = {
        "id": ID,
        "hostname": "worker-1",
        "state": "active",
        "tags": ["a", "b"],
        "created_at": "2024-09-16T08:00:00Z",
        "metro": {"id": "x", "code": "da", "name": "Dallas"},
        "plan": {"slug": "c3.small.x86"},
        "hardware_reservation": None,
        "userdata": "canary-userdata",
        "root_password": "canary-password",
        "ip_addresses": [
            {"address_family": 4, "public": True, "address": "147.28.10.3"},
            {"address_family": 6, "public": True, "address": "2604:1380:1:2::3"},
            {"address_family": 4, "public": False, "address": "10.70.4.129"},
        ],
    }
    return {**plain, **changes}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_device_is_read() -> None:
    """A device is read with its providerID in the Go provider's spelling and the inner address first."""
    read = read_device(body(device()))

    assert read.device_id == ID
    assert read.provider_id == f"equinixmetal://da/{ID}"
    assert (read.hostname, read.state, read.state_text) == ("worker-1", DeviceState.ACTIVE, "active")
    assert (read.tags, read.region, read.plan) == (("a", "b"), "da", "c3.small.x86")
    assert read.created_at == datetime(2024, 9, 16, 8, tzinfo=UTC)
    assert read.reservation_id is None
    assert read.addresses == (
        Address(kind="InternalIP", address="10.70.4.129"),
        Address(kind="ExternalIP", address="147.28.10.3"),
        Address(kind="ExternalIP", address="2604:1380:1:2::3"),
        Address(kind="Hostname", address="worker-1"),
    )
    assert "canary" not in repr(read)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("queued", DeviceState.INSTALLING),
        ("provisioning", DeviceState.INSTALLING),
        ("reinstalling", DeviceState.INSTALLING),
        ("active", DeviceState.ACTIVE),
        ("inactive", DeviceState.STOPPED),
        ("powering_on", DeviceState.STOPPED),
        ("powering_off", DeviceState.STOPPED),
        ("failed", DeviceState.FAILED),
        ("deprovisioning", DeviceState.RELEASING),
        ("deleted", DeviceState.GONE),
        ("dreaming", DeviceState.UNKNOWN),
        (None, DeviceState.UNKNOWN),
    ],
)
def test_state_is_translated(word: str | None, state: DeviceState) -> None:
    """Each word of the API is one of ours; an unknown word is a device that exists."""
    read = read_device(body(device(state=word)))

    assert read.state is state
    assert read.state_text == (word or "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"id": RESERVATION}, RESERVATION),
        ({"href": f"/metal/v1/hardware-reservations/{RESERVATION}"}, RESERVATION),
        ({}, None),
        (None, None),
    ],
)
def test_reservation_is_read_in_either_form(value: Any, expected: str | None) -> None:
    """A reservation is expanded or a reference; both name its id."""
    assert read_device(body(device(hardware_reservation=value))).reservation_id == expected


def test_bare_device_is_read() -> None:
    """A device of which only the id is known exists."""
    read = read_device(body({"id": ID}))

    assert read.exists
    assert read.state is DeviceState.UNKNOWN
    assert (read.created_at, read.addresses, read.tags) == (None, (), ())


def test_metro_may_stand_in_the_facility() -> None:
    """A device without a metro of its own is where its facility is."""
    assert read_device(body(device(metro=None, facility={"metro": {"code": "ny"}}))).region == "ny"


@pytest.mark.parametrize(
    "changes",
    [{"state": 5}, {"ip_addresses": "none"}, {"plan": "c3"}, {"hostname": 7}, {"created_at": {}}, {"tags": ["a", 5]}],
)
def test_odd_device_is_kept(changes: dict[str, Any]) -> None:
    """A device that does not look as described keeps its id and the tags that can be read; it exists."""
    read = read_device(body(device(**changes)))

    assert read.device_id == ID
    assert read.state is DeviceState.UNKNOWN
    assert read.exists
    assert "a" in read.tags


@pytest.mark.parametrize("created_at", ["yesterday", "", None])
def test_time_that_cannot_be_read_is_unknown(created_at: str | None) -> None:
    """A creation time that is none is None, and the device is read."""
    assert read_device(body(device(created_at=created_at))).created_at is None


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"<html>", b'{"id": ""}', b'{"id": "../devices"}', b'{"id": 5}'])
def test_device_without_an_id_is_unreadable(text: bytes) -> None:
    """What has no id is no device."""
    with pytest.raises(UnreadableError):
        read_device(text)


def page(**changes: Any) -> bytes:
    meta = {"total": 1, "current_page": 1, "last_page": 1, "next": None}
    return body({"devices": [device()], "meta": {**meta, **changes}})


def test_page_is_read() -> None:
    """A page holds its devices, the total and whether another one follows."""
    last, first = read_page(page()), read_page(page(next={"href": "/metal/v1/…?page=2"}))

    assert [found.device_id for found in last.devices] == [ID]
    assert (last.total, last.number, last.more) == (1, 1, False)
    assert first.more
    assert read_page(page(last_page=2)).more


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"<html>",
        b'{"devices": []}',
        b'{"meta": {"total": 0}}',
        b'{"devices": [], "meta": {}}',
        b'{"devices": [{"hostname": "a"}], "meta": {"total": 1}}',
        b'{"devices": null, "meta": {"total": 0}}',
    ],
)
def test_page_without_its_parts_is_unreadable(text: bytes) -> None:
    """A page without meta, or with a device without an id, is not taken for a shorter list."""
    with pytest.raises(UnreadableError):
        read_page(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"equinixmetal://da/{ID}", ID),
        (f"equinixmetal://{ID}", ID),
        (f"EquinixMetal:///{ID.upper()}", ID),
        (f"packet://{ID}", ID),
        (ID, ID),
        (f"aws:///eu-west-1/{ID}", None),
        (f"da/{ID}", None),
        ("equinixmetal://da/", None),
        ("equinixmetal://da/i-5", None),
        ("", None),
    ],
)
def test_provider_id_is_read_in_every_spelling(text: str, expected: str | None) -> None:
    """Every spelling in use names the device; another cloud's names none."""
    assert read_provider_id(text) == expected


@pytest.mark.parametrize(
    ("pricing", "price"),
    [({"hour": 0.75}, 0.75), ({"hour": 2}, 2.0), ({"hour": "x"}, None), ("odd", None), (None, None)],
)
def test_price_is_read_if_it_can_be(pricing: Any, price: float | None) -> None:
    """An odd price is no price, and hides nothing else of the device."""
    read = read_device(body(device(plan={"slug": "c3", "pricing": pricing})))
    assert (read.price_per_hour, read.state, read.plan) == (price, DeviceState.ACTIVE, "c3")
