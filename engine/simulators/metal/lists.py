"""Pages, filters, and what `include` and `exclude` change; unknown query parameters are ignored."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from engine.simulators.http import HttpRequest
from engine.simulators.metal.addresses import private_address, public_address
from engine.simulators.metal.catalog import Catalog
from engine.simulators.metal.devices import Device
from engine.simulators.metal.render import PLAN_CATEGORIES

PER_PAGE_DEFAULT = 10
PAGE_MAX = 100_000

SHAPING = frozenset({"include", "include[]", "exclude", "exclude[]"})
"""The parameters of a query that change what a document shows."""

Query = Mapping[str, list[str]]


class Page:
    """Which part of a list a request asks for; numbers that make no sense become the default or the limit."""

    def __init__(self, request: HttpRequest, *, per_page_max: int) -> None:
        self._request = request
        self.number = min(_number(request.query, "page", 1), PAGE_MAX)
        self.size = min(_number(request.query, "per_page", PER_PAGE_DEFAULT), per_page_max)

    @property
    def rows(self) -> slice:
        """The rows of this page."""
        return slice((self.number - 1) * self.size, self.number * self.size)

    def meta(self, total: int) -> dict[str, Any]:
        """Answer the `meta` of a list with that many rows in all."""
        last = max(1, -(-total // self.size))
        return {
            "total": total,
            "current_page": self.number,
            "last_page": last,
            "first": self._link(1),
            "last": self._link(last),
            "self": self._link(self.number),
            "next": self._link(self.number + 1) if self.number < last else None,
            "previous": self._link(self.number - 1) if self.number > 1 else None,
        }

    def _link(self, number: int) -> dict[str, str]:
        query = {**self._request.query, "page": [str(number)]}
        return {"href": f"{self._request.path}?{urlencode(query, doseq=True)}"}


def chosen(devices: Iterable[Device], query: Query, catalog: Catalog) -> list[Device]:
    """Answer the devices that pass every filter of the query; several values of one filter are alternatives."""
    for name, fits in _FILTERS.items():
        values = [value for value in query.get(name, []) if value]
        if values:
            devices = [device for device in devices if any(fits(device, value, catalog) for value in values)]
    return list(devices)


def shaped(document: bytes, query: Query, included: Mapping[str, Callable[[], Any]]) -> bytes:
    """Answer the document with the named references included and the named objects cut to references.

    Only top-level names are known; others are ignored.
    """
    include = _names(query, "include") & included.keys()
    exclude = _names(query, "exclude")
    if not include and not exclude:
        return document
    shape: dict[str, Any] = msgspec.json.decode(document)
    shape.update({name: included[name]() for name in include})
    for name in exclude & shape.keys():
        shape[name] = _reference(shape[name])
    return msgspec.json.encode(shape)


def _reference(value: Any) -> Any:
    if isinstance(value, list):
        return [_reference(item) for item in value]
    return {"href": value["href"]} if isinstance(value, dict) and "href" in value else value


def _names(query: Query, name: str) -> set[str]:
    return {
        part
        for values in (query.get(name, []), query.get(f"{name}[]", []))
        for value in values
        for part in value.split(",")
    }


def _number(query: Query, name: str, default: int) -> int:
    value = query.get(name, [""])[0]
    return max(1, int(value)) if value.isdecimal() else default


def _yes(value: str) -> bool:
    return value.lower() == "true"


def _searched(device: Device, catalog: Catalog) -> str:
    order = device.order
    metro = catalog.metros[order.metro]
    parts = (
        device.id,
        order.hostname,
        order.description,
        order.reservation,
        *order.tags,
        order.plan,
        metro.facility,
        metro.name,
        order.operating_system,
        catalog.operating_systems[order.operating_system],
        public_address(device),
        private_address(device),
    )
    return "\n".join(part for part in parts if part).lower()


def _type(device: Device) -> str:
    if device.order.reservation:
        return "reserved"
    return "spot" if device.order.spot_instance else "ondemand"


def _in_category(_device: Device, value: str, _catalog: Catalog) -> bool:
    return value in PLAN_CATEGORIES


_FILTERS: dict[str, Callable[[Device, str, Catalog], bool]] = {
    "tag": lambda device, value, _: value in device.order.tags,
    "hostname": lambda device, value, _: value in device.order.hostname,
    "metro": lambda device, value, catalog: catalog.metro(value) is catalog.metros[device.order.metro],
    "facility": lambda device, value, catalog: value == catalog.metros[device.order.metro].facility,
    "type": lambda device, value, _: value == _type(device),
    "reserved": lambda device, value, _: _yes(value) is (device.order.reservation is not None),
    "has_termination_time": lambda device, value, _: _yes(value) is (device.order.termination_time is not None),
    "categories": _in_category,
    "categories[]": _in_category,
    "search": lambda device, value, catalog: value.lower() in _searched(device, catalog),
}
