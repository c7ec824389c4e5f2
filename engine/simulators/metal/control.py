"""The simulator's own pages under `/simulator/`: faults, capacity and the ground truth, without a key.

They stand outside the API, so that a demo or a test in another process can pull the strings.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.metal.calls import Premises, answer
from engine.simulators.metal.faults import FaultKind, FaultRule
from engine.simulators.metal.journal import Journal
from engine.simulators.metal.orders import RefusalError, read_body
from engine.simulators.metal.render import view

CONTROL = "/simulator/"
"""Where the pages begin."""


class Control:
    """The pages."""

    def __init__(self, premises: Premises, journal: Journal) -> None:
        self._catalog = premises.catalog
        self._fleet = premises.fleet
        self._faults = premises.faults
        self._journal = journal
        self._pages: dict[tuple[str, str], Callable[[HttpRequest], dict[str, Any]]] = {
            ("GET", "faults"): self._show_faults,
            ("PUT", "faults"): self._replace_faults,
            ("GET", "journal"): self._show_journal,
            ("GET", "devices"): self._show_devices,
            ("GET", "capacity"): self._show_capacity,
            ("PUT", "capacity"): self._change_capacity,
        }

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a page; without one, the list of pages."""
        page = self._pages.get((request.method, request.path.removeprefix(CONTROL)), self._refuse)
        try:
            return answer(200, page(request))
        except RefusalError as refusal:
            return answer(refusal.status, {"errors": refusal.texts})

    def _refuse(self, _request: HttpRequest) -> dict[str, Any]:
        raise RefusalError(404, "There are: " + ", ".join(f"{method} {CONTROL}{name}" for method, name in self._pages))

    def _show_faults(self, _request: HttpRequest) -> dict[str, Any]:
        return {"rules": self._faults.rules(), "kinds": list(FaultKind)}

    def _replace_faults(self, request: HttpRequest) -> dict[str, Any]:
        try:
            rules = msgspec.convert(read_body(request.body).get("rules", []), list[FaultRule])
        except msgspec.ValidationError as refusal:
            raise RefusalError(422, str(refusal)) from refusal
        self._faults.replace(rules)
        return self._show_faults(request)

    def _show_journal(self, request: HttpRequest) -> dict[str, Any]:
        after = request.query.get("after", ["0"])[0]
        entries = self._journal.entries(after=int(after) if after.isdecimal() else 0)
        return {"entries": entries, "calls": dict(self._journal.calls)}

    def _show_devices(self, _request: HttpRequest) -> dict[str, Any]:
        return {"devices": [view(device) for device in self._fleet.everything()]}

    def _show_capacity(self, _request: HttpRequest) -> dict[str, Any]:
        return {"servers": self._catalog.stock.sizes()}

    def _change_capacity(self, request: HttpRequest) -> dict[str, Any]:
        try:
            servers = msgspec.convert(read_body(request.body).get("servers", {}), dict[str, int])
        except msgspec.ValidationError as refusal:
            raise RefusalError(422, str(refusal)) from refusal
        for shelf, number in servers.items():
            metro, _, plan = shelf.partition("/")
            self._catalog.stock.resize(metro, plan, number)
        return self._show_capacity(request)
