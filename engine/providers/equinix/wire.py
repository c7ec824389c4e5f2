"""Devices out of the API's JSON. Only what is needed is decoded: userdata and passwords never become Python values.

One odd device must not hide the others: what cannot be read of it is left out, as long as it has an id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from engine.domain.device import Address, Device, DeviceState
from engine.domain.ids import DeviceId
from engine.errors import EngineError
from engine.providers.equinix.spec import is_uuid

SCHEME = "equinixmetal"
"""Begins a providerID."""
OLD_SCHEMES = {SCHEME, "packet"}  # the cloud's former name; other controllers still write it

_STATES = {
    "queued": DeviceState.INSTALLING,
    "provisioning": DeviceState.INSTALLING,
    "reinstalling": DeviceState.INSTALLING,
    "active": DeviceState.ACTIVE,
    "inactive": DeviceState.STOPPED,
    "powering_on": DeviceState.STOPPED,
    "powering_off": DeviceState.STOPPED,
    "failed": DeviceState.FAILED,
    "deprovisioning": DeviceState.RELEASING,
    "deleted": DeviceState.GONE,
}


class UnreadableError(EngineError):
    """The JSON is not what the API describes; the adapter makes an error of the port of it."""


class _Place(msgspec.Struct):
    code: str | None = None


class _Facility(msgspec.Struct):
    metro: _Place | None = None


class _Pricing(msgspec.Struct):
    hour: float | None = None


class _Plan(msgspec.Struct):
    slug: str | None = None
    pricing: msgspec.Raw = msgspec.Raw(b"null")


class _Reservation(msgspec.Struct):
    id: str | None = None
    href: str | None = None


class _Address(msgspec.Struct):
    address: str | None = None
    public: bool = False


class _Device(msgspec.Struct):
    id: str
    hostname: str | None = None
    state: str | None = None
    tags: list[str] | None = None
    metro: _Place | None = None
    facility: _Facility | None = None
    plan: _Plan | None = None
    created_at: str | None = None
    hardware_reservation: _Reservation | None = None
    ip_addresses: list[_Address] | None = None


class _OddDevice(msgspec.Struct):
    id: str
    hostname: Any = None
    tags: Any = None


class _Meta(msgspec.Struct):
    total: int
    current_page: int
    last_page: int | None = None
    next: Any = None


class _Page(msgspec.Struct):
    devices: list[msgspec.Raw]
    meta: _Meta


_devices = msgspec.json.Decoder(_Device)
_odd_devices = msgspec.json.Decoder(_OddDevice)
_pricings = msgspec.json.Decoder(_Pricing)
_pages = msgspec.json.Decoder(_Page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the list of devices."""

    devices: Sequence[Device]
    total: int
    number: int
    """The page that the API believes this to be."""
    more: bool
    """Whether another page follows."""


def read_device(body: bytes | msgspec.Raw) -> Device:
    """Answer the device; raises UnreadableError when there is none with an id."""
    try:
        return _device(_devices.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return _odd_device(_odd_devices.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UnreadableError("there is no device in the answer") from None


def read_page(body: bytes) -> Page:
    """Answer the page; raises UnreadableError when it, its meta or one device's id is missing."""
    try:
        page = _pages.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UnreadableError("the answer is no page of devices with its meta") from None
    meta = page.meta
    return Page(
        devices=[read_device(row) for row in page.devices],
        total=meta.total,
        number=meta.current_page,
        more=meta.next is not None or meta.current_page < (meta.last_page or 0),
    )


def provider_id(device_id: str, *, metro: str) -> str:
    """Answer the providerID in the spelling of the Go provider; every stored one looks like this."""
    return f"{SCHEME}://{metro}/{device_id}"


def read_provider_id(text: str) -> DeviceId | None:
    """Answer the device of a providerID: with a metro, without one, under the old name, or a bare UUID."""
    scheme, separator, path = text.strip().partition("://")
    if separator and scheme.lower() not in OLD_SCHEMES:
        return None
    uuid = path.rpartition("/")[2] if separator else scheme
    return DeviceId(uuid.lower()) if is_uuid(uuid) else None


def _device(row: _Device) -> Device:
    if not is_uuid(row.id):
        raise UnreadableError("the device in the answer has no id")
    metro = row.metro.code if row.metro else None
    if not metro and row.facility and row.facility.metro:
        metro = row.facility.metro.code
    return Device(
        device_id=DeviceId(row.id.lower()),
        provider_id=provider_id(row.id.lower(), metro=metro or ""),
        hostname=row.hostname or "",
        state=_STATES.get((row.state or "").lower(), DeviceState.UNKNOWN),
        state_text=row.state or "",
        tags=tuple(row.tags or ()),
        region=metro or "",
        plan=(row.plan.slug if row.plan else None) or "",
        created_at=_instant(row.created_at),
        reservation_id=_reservation(row.hardware_reservation),
        addresses=_addresses(row),
        price_per_hour=_price(bytes(row.plan.pricing)) if row.plan else None,
    )


def _odd_device(row: _OddDevice) -> Device:
    """Answer what can be read of a device that does not look as described; it is taken for one that exists."""
    tags = row.tags if isinstance(row.tags, list) else []
    hostname = row.hostname if isinstance(row.hostname, str) else None
    return _device(_Device(id=row.id, hostname=hostname, tags=[tag for tag in tags if isinstance(tag, str)]))


def _addresses(row: _Device) -> tuple[Address, ...]:
    """Answer the addresses, those that other Nodes use first."""
    known = [found for found in row.ip_addresses or () if found.address]
    inner = [Address(kind="InternalIP", address=found.address or "") for found in known if not found.public]
    outer = [Address(kind="ExternalIP", address=found.address or "") for found in known if found.public]
    name = [Address(kind="Hostname", address=row.hostname)] if row.hostname else []
    return (*inner, *outer, *name)


@lru_cache(maxsize=64)  # one text a plan, the same in every row of a list
def _price(pricing: bytes) -> float | None:
    """Answer the price of an hour; an odd price must not hide the state of a device, so it is none."""
    try:
        return _pricings.decode(pricing).hour
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _reservation(found: _Reservation | None) -> str | None:
    if found is None:
        return None
    return found.id or urlsplit(found.href or "").path.rpartition("/")[2] or None


def _instant(text: str | None) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
