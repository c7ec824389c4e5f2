"""From a request's body to a valid order or change, or to the refusal with the words of the real API.

Wordings that nobody has seen are ours; `seen` stands beside those that were.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.errors import EngineError
from engine.simulators.metal.catalog import Catalog
from engine.simulators.metal.devices import Order
from engine.simulators.metal.settings import MetroSettings

TAG_CHARACTERS_MAX = 80
HOSTNAME_CHARACTERS_MAX = 253
BILLING_CYCLES = {"hourly", "daily", "monthly", "yearly"}
NEXT_AVAILABLE = "next-available"

NOT_FOUND = "Not found"  # seen
OH_SNAP = "Oh snap, something went wrong! We've logged the error and will take a look."  # seen, the first half
THROTTLED = "Too many requests, slow down"
BAD_TOKEN = "Invalid authentication token"  # noqa: S105 - what the API says about one
BAD_TAG = "Tags must be 1-80 characters"  # seen
NO_SSH_KEY = "must have at least one SSH key or explicitly send no_ssh_keys option"  # seen
NOT_SOLD_THERE = "Facility can't be blank"  # seen, misleading as it is
NO_SERVERS = "There aren't available servers in that metro"  # seen
NO_RESERVATION = "There are no available hardware reservations for selected plan and facility"  # seen, with 503
NOT_PROVISIONABLE = "Server is not provisionable"  # seen
NO_ADDRESSES = (  # seen
    "The specified project contains insufficient public IPv4 space to complete the request. "
    "Please e-mail support@equinixmetal.com."
)

_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")


class RefusalError(EngineError):
    """The simulated API refuses a request, with this status and these texts."""

    def __init__(self, status: int, *texts: str) -> None:
        super().__init__(status, *texts)
        self.status = status
        self.texts = texts


def read_body(body: bytes) -> dict[str, Any]:
    """Answer the JSON object of a request; an empty body is an empty object."""
    try:
        document = msgspec.json.decode(body) if body.strip() else {}
    except msgspec.DecodeError:
        raise RefusalError(400, "Request body is not valid JSON") from None
    if not isinstance(document, dict):
        raise RefusalError(400, "Request body must be a JSON object")
    return document


def read_order(body: Mapping[str, Any], *, catalog: Catalog, project: str, hostname: str) -> Order:
    """Answer the order in a body, with the given hostname when it has none; capacity is not looked at."""
    wrong: list[str] = []
    plan = catalog.plan(_text(body, "plan"))
    if not plan:
        wrong.append(f"{body['plan']} is not a valid plan" if body.get("plan") else "Plan can't be blank")
    system = _text(body, "operating_system")
    if system not in catalog.operating_systems:
        wrong.append(f"{system} is not a valid operating system" if system else "Operating system can't be blank")
    choices = _metros(body, catalog, wrong)
    if plan and choices:
        choices = [metro for metro in choices if catalog.sold(plan, metro.code)]
        if not choices:
            wrong.append(NOT_SOLD_THERE)
    changes = _changes(body, wrong)
    keys = _ssh_keys(body, catalog, project, wrong)
    if wrong or not plan:
        raise RefusalError(422, *wrong)
    metro = next((metro for metro in choices if catalog.stock.free(metro.code, plan.slug)), choices[0])
    order = Order(
        project=project,
        hostname=hostname,
        plan=plan.slug,
        metro=metro.code,
        operating_system=system,
        ssh_keys=keys,
        addresses=_addresses(body),
        termination_time=_instant(body.get("termination_time")),
    )
    return replace(order, **changes)


def read_change(body: Mapping[str, Any], order: Order) -> Order:
    """Answer the order as the body changes it; fields that cannot be changed are ignored."""
    wrong: list[str] = []
    changes = _changes(body, wrong)
    if wrong:
        raise RefusalError(422, *wrong)
    return replace(order, **changes)


def _changes(body: Mapping[str, Any], wrong: list[str]) -> dict[str, Any]:
    """Answer the fields that an order and a change have in common."""
    changes: dict[str, Any] = {}
    for name, (fits, text) in _FIELDS.items():
        value = body.get(name)
        if value is None or (name == "hostname" and not value):
            continue
        if fits(value):
            changes[name] = tuple(value) if name == "tags" else value
        else:
            wrong.append(text)
    return changes


def _is_hostname(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= HOSTNAME_CHARACTERS_MAX and bool(_HOSTNAME.fullmatch(value))


def _are_tags(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(tag, str) and 1 <= len(tag) <= TAG_CHARACTERS_MAX for tag in value
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_billing_cycle(value: Any) -> bool:
    return isinstance(value, str) and value in BILLING_CYCLES


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "hostname": (_is_hostname, "Hostname is invalid"),
    "tags": (_are_tags, BAD_TAG),
    "userdata": (_is_text, "Userdata must be a string"),
    "customdata": (_is_object, "Customdata must be an object"),
    "description": (_is_text, "Description must be a string"),
    "billing_cycle": (_is_billing_cycle, "Billing cycle is not included in the list"),
    "locked": (_is_switch, "Locked must be true or false"),
    "always_pxe": (_is_switch, "Always pxe must be true or false"),
    "ipxe_script_url": (_is_text, "Ipxe script url must be a string"),
    "network_frozen": (_is_switch, "Network frozen must be true or false"),
    "spot_price_max": (_is_number, "Spot price max must be a number"),
    "spot_instance": (_is_switch, "Spot instance must be true or false"),
}


def _metros(body: Mapping[str, Any], catalog: Catalog, wrong: list[str]) -> list[MetroSettings]:
    """Answer the metros that the order accepts, the preferred first."""
    code = _text(body, "metro")
    if code:
        return _found(code, "metro", catalog.metro(code), catalog, wrong)
    facilities = body.get("facility")
    asked = facilities if isinstance(facilities, list) else [facilities] if facilities else []
    if not asked:
        wrong.append("Either metro or facility must be given")
    return [
        metro
        for facility in asked
        for metro in _found(str(facility), "facility", catalog.metro_of_facility(str(facility)), catalog, wrong)
    ]


def _found(
    name: str, noun: str, metro: MetroSettings | None, catalog: Catalog, wrong: list[str]
) -> list[MetroSettings]:
    if name == "any":
        return list(catalog.metros.values())
    if metro:
        return [metro]
    wrong.append(f"{name} is not a valid {noun}")  # seen
    return []


def _ssh_keys(body: Mapping[str, Any], catalog: Catalog, project: str, wrong: list[str]) -> tuple[str, ...]:
    own = [key.id for key in catalog.keys_of(project)]
    asked = body.get("project_ssh_keys") or []
    if not isinstance(asked, list):
        wrong.append("Project SSH keys must be an array")
        return ()
    if unknown := [key for key in asked if key not in own]:
        wrong.append(f"{unknown[0]} is not a valid project SSH key")
    if body.get("no_ssh_keys"):
        return ()
    given = bool(asked or body.get("ssh_keys") or body.get("user_ssh_keys"))
    if not given and not own:
        wrong.append(NO_SSH_KEY)
    return tuple(asked if given else own)


def _addresses(body: Mapping[str, Any]) -> tuple[str, ...]:
    asked = body.get("ip_addresses")
    if not isinstance(asked, list):
        return ("public4", "public6", "private4")
    kinds = [(item.get("address_family"), item.get("public", True)) for item in asked if isinstance(item, dict)]
    names = {(4, True): "public4", (6, True): "public6"}
    # The private address is mandatory.
    return (*(name for kind, name in names.items() if kind in kinds), "private4")


def _instant(value: Any) -> datetime | None:
    if not value:
        return None
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        raise RefusalError(422, "Termination time is invalid") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""
