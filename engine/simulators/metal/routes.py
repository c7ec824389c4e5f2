"""Which call answers which method and path."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.simulators.http import HttpRequest
from engine.simulators.metal.calls import Handler
from engine.simulators.metal.catalog import PREFIX
from engine.simulators.metal.catalog_calls import CatalogCalls
from engine.simulators.metal.device_calls import DeviceCalls
from engine.simulators.metal.faults import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call."""

    methods: frozenset[str]
    path: re.Pattern[str]
    operation: Operation
    handler: Handler
    writes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A route and the ids that stood in the path."""

    route: Route
    ids: Mapping[str, str]


class Routes:
    """The table of the API."""

    def __init__(self, devices: DeviceCalls, catalog: CatalogCalls) -> None:
        self._table = [*_about_devices(devices), *_about_the_rest(catalog)]

    def match(self, request: HttpRequest) -> Match | None:
        """Answer the route of a request, or None."""
        for route in self._table:
            found = route.path.fullmatch(request.path) if request.method in route.methods else None
            if found:
                return Match(route=route, ids=found.groupdict())
        return None


def _about_devices(calls: DeviceCalls) -> list[Route]:
    many, one = "/projects/{project}/devices", "/devices/{device}"
    return [
        _route("GET", many, calls.list_page, Operation.LIST),
        _route("POST", many, calls.create, Operation.CREATE),
        _route("GET", one, calls.get, Operation.GET),
        _route("PUT PATCH", one, calls.update, Operation.UPDATE),
        _route("DELETE", one, calls.delete, Operation.DELETE),
        _route("POST", f"{one}/actions", calls.act),
        _route("GET", f"{one}/userdata", calls.userdata),
        _route("GET", f"{one}/customdata", calls.customdata),
        _route("GET", f"{one}/events", calls.events),
        _route("GET", f"{one}/usages", calls.usages),
        _route("GET", f"{one}/ips", calls.addresses),
    ]


def _about_the_rest(calls: CatalogCalls) -> list[Route]:
    return [
        _route("GET", "/projects", calls.projects),
        _route("GET", "/projects/{project}", calls.project),
        _route("GET", "/projects/{project}/ssh-keys", calls.ssh_keys),
        _route("POST", "/projects/{project}/ssh-keys", calls.add_ssh_key),
        _route("GET", "/ssh-keys/{key}", calls.ssh_key),
        _route("GET", "/plans", calls.plans),
        _route("GET", "/projects/{project}/plans", calls.plans),
        _route("GET", "/operating-systems", calls.operating_systems),
        _route("GET", "/locations/metros", calls.metros),
        _route("GET", "/locations/metros/{metro}", calls.metro),
        _route("GET", "/facilities", calls.facilities),
        _route("GET", "/projects/{project}/facilities", calls.facilities),
        _route("GET", "/capacity", calls.capacity),
        _route("GET", "/capacity/metros", calls.capacity_of_metros),
        _route("POST", "/capacity/metros", calls.check_capacity, writes=False),
        _route("GET", "/projects/{project}/hardware-reservations", calls.reservations),
        _route("GET", "/hardware-reservations/{reservation}", calls.reservation),
    ]


def _route(
    methods: str,
    path: str,
    handler: Handler,
    operation: Operation = Operation.OTHER,
    *,
    writes: bool = True,
) -> Route:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", PREFIX + path)
    return Route(
        methods=frozenset(methods.split()),
        path=re.compile(pattern),
        operation=operation,
        handler=handler,
        writes=writes and methods != "GET",
    )
