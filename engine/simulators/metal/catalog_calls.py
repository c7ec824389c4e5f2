"""The calls that are not about one device: projects, keys, plans, places, capacity and reservations."""

from typing import Any

from engine.simulators.http import HttpResponse
from engine.simulators.metal.access import opens
from engine.simulators.metal.calls import Call, Premises, answer
from engine.simulators.metal.catalog import Reservation, SshKey, named_uuid
from engine.simulators.metal.faults import FaultKind
from engine.simulators.metal.lists import Page
from engine.simulators.metal.orders import NOT_FOUND, RefusalError, read_body
from engine.simulators.metal.settings import MetroSettings

CRITICAL_SERVERS = 3
LIMITED_SERVERS = 10
"""Fewer free servers than these are `critical` and `limited`; the real thresholds are unknown."""

SSH_KEYS_MAX = 1_000
"""Keys in one project."""

FOREIGN_RESERVATION = "You are not authorized to view this hardware reservation"


class CatalogCalls:
    """Everything that is not about one device."""

    def __init__(self, premises: Premises) -> None:
        self._settings = premises.settings
        self._catalog = premises.catalog
        self._faults = premises.faults
        self._renderer = premises.renderer

    def projects(self, call: Call) -> HttpResponse:
        """Answer the projects that the key opens."""
        page = Page(call.request, per_page_max=self._settings.per_page_max)
        opened = [self._renderer.project(project) for project in self._catalog.projects if opens(call.key, project)]
        return answer(200, {"projects": opened[page.rows], "meta": page.meta(len(opened))})

    def project(self, call: Call) -> HttpResponse:
        """Answer a project."""
        return answer(200, self._renderer.project(call.ids["project"]))

    def ssh_keys(self, call: Call) -> HttpResponse:
        """Answer the public keys of a project."""
        keys = self._catalog.keys_of(call.ids["project"])
        return answer(200, {"ssh_keys": [self._renderer.ssh_key(key) for key in keys]})

    def ssh_key(self, call: Call) -> HttpResponse:
        """Answer a public key."""
        key = self._catalog.ssh_keys.get(call.ids["key"])
        if key is None or not opens(call.key, key.project):
            raise RefusalError(404, NOT_FOUND)
        return answer(200, self._renderer.ssh_key(key))

    def add_ssh_key(self, call: Call) -> HttpResponse:
        """Add a public key to a project; the same key twice is refused."""
        body, project = read_body(call.request.body), call.ids["project"]
        text, label = str(body.get("key") or ""), str(body.get("label") or "")
        keys = self._catalog.keys_of(project)
        if not text or not label:
            raise RefusalError(422, "Label and key can't be blank")
        if any(key.key == text for key in keys) or len(keys) >= SSH_KEYS_MAX:
            raise RefusalError(422, "Key has already been taken")
        asked = body.get("tags")
        tags = tuple(str(tag) for tag in asked) if isinstance(asked, list) else ()
        key = SshKey(id=named_uuid("ssh-key", project, label, text), project=project, label=label, key=text, tags=tags)
        self._catalog.ssh_keys[key.id] = key
        return answer(201, self._renderer.ssh_key(key))

    def plans(self, call: Call) -> HttpResponse:
        """Answer the plans, one of them if `slug` names it."""
        asked = call.request.query.get("slug")
        plans = [plan for plan in self._catalog.plans.values() if not asked or plan.slug in asked]
        return answer(200, {"plans": [self._renderer.plan(plan) for plan in plans]})

    def operating_systems(self, _call: Call) -> HttpResponse:
        """Answer the operating systems."""
        systems = [self._renderer.operating_system(slug) for slug in self._catalog.operating_systems]
        return answer(200, {"operating_systems": systems})

    def metros(self, _call: Call) -> HttpResponse:
        """Answer the metros."""
        return answer(200, {"metros": [self._renderer.metro(metro) for metro in self._catalog.metros.values()]})

    def metro(self, call: Call) -> HttpResponse:
        """Answer a metro by id or code."""
        metro = self._catalog.metro(call.ids["metro"])
        if metro is None:
            raise RefusalError(404, NOT_FOUND)
        return answer(200, self._renderer.metro(metro))

    def facilities(self, _call: Call) -> HttpResponse:
        """Answer the facilities, one in each metro."""
        facilities = [self._renderer.facility(metro) for metro in self._catalog.metros.values()]
        return answer(200, {"facilities": facilities})

    def capacity(self, _call: Call) -> HttpResponse:
        """Answer how much is left in each facility."""
        return answer(
            200, {"capacity": {metro.facility: self._levels(metro) for metro in self._catalog.metros.values()}}
        )

    def capacity_of_metros(self, _call: Call) -> HttpResponse:
        """Answer how much is left in each metro."""
        return answer(200, {"capacity": {code: self._levels(metro) for code, metro in self._catalog.metros.items()}})

    def check_capacity(self, call: Call) -> HttpResponse:
        """Answer whether so many servers could be ordered now; nothing is held."""
        servers = read_body(call.request.body).get("servers")
        if not isinstance(servers, list) or not servers:
            raise RefusalError(422, "Servers can't be blank")
        return answer(200, {"servers": [self._checked(server) for server in servers if isinstance(server, dict)]})

    def reservations(self, call: Call) -> HttpResponse:
        """Answer a page of the project's reserved servers; the list may be stale, as the real one was."""
        page = Page(call.request, per_page_max=self._settings.per_page_max)
        stale = self._faults.strike(FaultKind.STALE_RESERVATION, call.operation) is not None
        found = [(each, stale or each.provisionable) for each in self._catalog.reservations_of(call.ids["project"])]
        if call.request.query.get("provisionable") == ["only"]:
            found = [(each, provisionable) for each, provisionable in found if provisionable]
        rows = [self._renderer.reservation(each, provisionable=free) for each, free in found[page.rows]]
        return answer(200, {"hardware_reservations": rows, "meta": page.meta(len(found))})

    def reservation(self, call: Call) -> HttpResponse:
        """Answer a reserved server as it truly is."""
        found = self._reservation(call)
        return answer(200, self._renderer.reservation(found, provisionable=found.provisionable))

    def _reservation(self, call: Call) -> Reservation:
        found = self._catalog.reservations.get(call.ids["reservation"])
        if found is None:
            raise RefusalError(404, NOT_FOUND)
        if not opens(call.key, found.project):
            raise RefusalError(403, FOREIGN_RESERVATION)
        return found

    def _levels(self, metro: MetroSettings) -> dict[str, dict[str, str]]:
        sold = [plan.slug for plan in self._catalog.plans.values() if self._catalog.sold(plan, metro.code)]
        return {slug: {"level": _level(self._catalog.stock.free(metro.code, slug))} for slug in sold}

    def _checked(self, server: dict[str, Any]) -> dict[str, Any]:
        plan, metro = self._catalog.plan(str(server.get("plan"))), self._catalog.metro(str(server.get("metro")))
        quantity = str(server.get("quantity") or "1")
        if plan is None or metro is None or not quantity.isdecimal():
            wrong = f"{server.get('plan')} in {server.get('metro')} is not a valid server"
            raise RefusalError(422, wrong)
        free = self._catalog.stock.free(metro.code, plan.slug) if self._catalog.sold(plan, metro.code) else 0
        return {"metro": metro.code, "plan": plan.slug, "quantity": quantity, "available": free >= int(quantity)}


def _level(free: int) -> str:
    if not free:
        return "unavailable"
    if free < CRITICAL_SERVERS:
        return "critical"
    return "limited" if free < LIMITED_SERVERS else "normal"
