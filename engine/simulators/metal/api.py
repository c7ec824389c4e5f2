"""The simulated Metal API: from a request to an answer, with the faults that are in force before and after it."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from engine.clock import Clock
from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.metal import snapshot
from engine.simulators.metal.access import Access
from engine.simulators.metal.calls import Call, Premises, answer
from engine.simulators.metal.catalog import Catalog
from engine.simulators.metal.catalog_calls import CatalogCalls
from engine.simulators.metal.control import CONTROL, Control
from engine.simulators.metal.device_calls import DeviceCalls
from engine.simulators.metal.devices import Fleet
from engine.simulators.metal.faults import FaultKind, Faults, Operation
from engine.simulators.metal.journal import DeviceView, Journal, most_at_once
from engine.simulators.metal.orders import BAD_TOKEN, NOT_FOUND, OH_SNAP, THROTTLED, RefusalError
from engine.simulators.metal.render import Renderer, error, view
from engine.simulators.metal.routes import Match, Routes
from engine.simulators.metal.settings import KeySettings, MetalSettings
from engine.simulators.seed import Seed

FORBIDDEN = "You are not authorized to perform this action"

# Faults that answer in the place of the API; nothing has happened then.
INSTEAD = {
    FaultKind.OH_SNAP_BEFORE: (500, OH_SNAP),
    FaultKind.THROTTLED: (429, THROTTLED),
    FaultKind.UNAUTHORIZED: (401, BAD_TOKEN),
    FaultKind.FORBIDDEN: (403, FORBIDDEN),
}

BAD_GATEWAY = HttpResponse(
    status=502,
    headers={"Content-Type": "text/html"},
    body=b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>",
)


class MetalSimulator:
    """Equinix Metal, as far as a machine controller sees it. All methods may be called from any thread.

    `handle` answers the API's requests; the other methods are the ground truth and the strings to pull.
    """

    def __init__(self, *, clock: Clock, seed: Seed, settings: MetalSettings | None = None) -> None:
        settings = settings or MetalSettings()
        self._clock = clock
        self._settings = settings
        self._lock = threading.RLock()
        self._request_ids = seed.child("requests")
        self._access = Access(settings)
        self._catalog = Catalog(settings, clock.now())
        self.journal = Journal()
        self.faults = Faults(seed.child("faults"))
        self._fleet = Fleet(settings=settings, catalog=self._catalog, journal=self.journal, seed=seed)
        premises = Premises(
            settings=settings,
            catalog=self._catalog,
            fleet=self._fleet,
            faults=self.faults,
            renderer=Renderer(self._catalog),
        )
        self._routes = Routes(DeviceCalls(premises), CatalogCalls(premises))
        self._control = Control(premises, self.journal)

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer a request to the API, or to the simulator's own pages."""
        with self._lock:
            now = self._settled()
            if request.path.startswith(CONTROL):
                return self._control.answer(request)
            match = self._routes.match(request)
            operation = match.route.operation if match else Operation.OTHER
            self.journal.calls[operation] += 1
            response = self._instead(operation) or self._outcome(request, match, now)
            response = self._afterwards(response, operation)
            delay = self._delay(operation)
            return replace(response, delay=delay) if delay else response

    def devices(self) -> list[DeviceView]:
        """Answer the devices that the API still shows, the oldest first."""
        with self._lock:
            self._settled()
            return [view(device) for device in self._fleet.living()]

    def history(self) -> list[DeviceView]:
        """Answer all devices, those that are gone among them."""
        with self._lock:
            self._settled()
            return [view(device) for device in self._fleet.everything()]

    def device(self, device_id: str) -> DeviceView | None:
        """Answer one device, also one that is gone and remembered."""
        with self._lock:
            self._settled()
            found = self._fleet.find(device_id)
            return view(found) if found else None

    def billing(self, at: datetime | None = None) -> list[DeviceView]:
        """Answer the devices that cost money at the instant, now if none is given."""
        instant = at or self._clock.now()
        return [seen for seen in self.history() if seen.billed_at(instant)]

    def most_at_once(self, *, tag_prefix: str) -> dict[str, int]:
        """Answer for each tag with the prefix how many devices with it cost money at one time at most."""
        return most_at_once(self.history(), tag_prefix=tag_prefix)

    def set_capacity(self, *, metro: str, plan: str, servers: int) -> None:
        """Let that many on-demand servers of the plan exist in the metro; those that are taken stay so."""
        with self._lock:
            self._catalog.stock.resize(metro, plan, servers)

    def dump(self) -> dict[str, Any]:
        """Answer the devices as plain JSON values."""
        with self._lock:
            self._settled()
            return snapshot.dump(self._fleet)

    def load(self, document: dict[str, Any]) -> None:
        """Continue with the devices of a dump in the place of those that there are; the journal is kept as it is.

        Raises ConfigurationError when the dump does not fit the settings.
        """
        with self._lock:
            snapshot.load(document, self._fleet, self._catalog)

    def _settled(self) -> datetime:
        now = self._clock.now()
        self._fleet.settle(now)
        return now

    def _instead(self, operation: Operation) -> HttpResponse | None:
        if self.faults.strike(FaultKind.BAD_GATEWAY, operation):
            return BAD_GATEWAY
        if self.faults.strike(FaultKind.LOST_BEFORE, operation):
            return HttpResponse(status=503, hang_up=True)
        for kind, (status, text) in INSTEAD.items():
            if self.faults.strike(kind, operation):
                return self._refused(RefusalError(status, text), self._retry_headers(status))
        return None

    def _outcome(self, request: HttpRequest, match: Match | None, now: datetime) -> HttpResponse:
        headers: dict[str, str] = {}
        try:
            key = self._access.key(request)
            headers = self._access.count(key, now)
            response = self._admitted(request, match, key=key, now=now, throttled="Retry-After" in headers)
        except RefusalError as refusal:
            return self._refused(refusal, headers)
        return replace(response, headers={**response.headers, **headers, **self._own_headers()})

    def _admitted(
        self, request: HttpRequest, match: Match | None, *, key: KeySettings, now: datetime, throttled: bool
    ) -> HttpResponse:
        if throttled:
            raise RefusalError(429, THROTTLED)
        if match is None:
            raise RefusalError(404, NOT_FOUND)
        if match.route.writes:
            self._access.check_write(key)
        project = match.ids.get("project")
        if project:
            self._access.check_project(key, project, known=project in self._catalog.projects)
        call = Call(request=request, operation=match.route.operation, key=key, now=now, ids=match.ids)
        return match.route.handler(call)

    def _afterwards(self, response: HttpResponse, operation: Operation) -> HttpResponse:
        if response.status >= 400:
            return response
        if self.faults.strike(FaultKind.LOST_AFTER, operation):
            return replace(response, hang_up=True)
        if self.faults.strike(FaultKind.OH_SNAP_AFTER, operation):
            return self._refused(RefusalError(500, OH_SNAP), {})
        return response

    def _delay(self, operation: Operation) -> timedelta:
        rules = [self.faults.strike(kind, operation) for kind in (FaultKind.LATENCY, FaultKind.SLOW)]
        return timedelta(seconds=sum(rule.seconds for rule in rules if rule))

    def _refused(self, refusal: RefusalError, headers: Mapping[str, str]) -> HttpResponse:
        response = answer(refusal.status, error(refusal.status, refusal.texts, self._settings.error_body))
        return replace(response, headers={**response.headers, **headers, **self._own_headers()})

    def _retry_headers(self, status: int) -> dict[str, str]:
        wait = self._settings.retry_after
        return {"Retry-After": f"{max(1, round(wait.total_seconds()))}"} if wait and status == 429 else {}

    def _own_headers(self) -> dict[str, str]:
        # A load balancer in front of the API does not send this header: clients tell the two apart by it.
        return {"X-Request-Id": self._request_ids.uuid()}
