"""A request that was let in, what every call may use, and how an answer is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.metal.catalog import Catalog
from engine.simulators.metal.devices import Fleet
from engine.simulators.metal.faults import Faults, Operation
from engine.simulators.metal.render import Renderer, encode
from engine.simulators.metal.settings import KeySettings, MetalSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that was let in."""

    request: HttpRequest
    operation: Operation
    key: KeySettings
    now: datetime
    ids: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], HttpResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
    """What the calls share."""

    settings: MetalSettings
    catalog: Catalog
    fleet: Fleet
    faults: Faults
    renderer: Renderer


def answer(status: int, document: Any = None) -> HttpResponse:
    """Answer with a document; bytes are JSON already, and None is an empty body."""
    if document is None:
        return HttpResponse(status=status)
    body = document if isinstance(document, bytes) else encode(document)
    return HttpResponse(status=status, headers={"Content-Type": "application/json; charset=utf-8"}, body=body)
