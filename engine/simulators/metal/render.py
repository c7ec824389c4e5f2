"""The JSON of the answers, kept to what the published client parses. It decides nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from engine.simulators.metal.addresses import Pair, private4, private_address, public4, public6, public_address
from engine.simulators.metal.catalog import Catalog, Reservation, SshKey, href, named_uuid
from engine.simulators.metal.devices import PROVISIONING_EVENTS, Device, State
from engine.simulators.metal.journal import DeviceView
from engine.simulators.metal.settings import ErrorBody, MetroSettings, PlanSettings

PLAN_CATEGORIES = ["compute", "current_gen"]
"""The categories of every plan."""

USERDATA_CACHED_CHARACTERS_MAX = 8_192
"""A device with a longer userdata is rendered anew each time, so that many of them do not fill the memory."""

# Where the numbers of a device's parts begin.
ADDRESS_PARTS = 0
BOND_PART = 8
PORT_PART = 9
EVENT_PARTS = 16

encode = msgspec.json.encode


@lru_cache(maxsize=4096)  # an instant stands in a dozen places of an answer
def moment(instant: datetime | None) -> str | None:
    """Answer an instant in the API's spelling."""
    return f"{instant.astimezone(UTC).isoformat(timespec='seconds')[:-6]}Z" if instant else None


def part_uuid(device: Device, part: int) -> str:
    """Answer the id of a numbered part of a device; made by hand, as there are a dozen in each answer."""
    return f"{device.id[:24]}{device.number:08x}{part:04x}"


def error(status: int, texts: Sequence[str], body: ErrorBody) -> dict[str, Any]:
    """Answer one of the two documented error bodies."""
    single = body is ErrorBody.SINGLE or (body is ErrorBody.MIXED and status in {401, 403, 404})
    return {"error": texts[0]} if single else {"errors": list(texts)}


def view(device: Device) -> DeviceView:
    """Answer a device as the outside looks at it, from memory as long as nothing has changed."""
    if device.viewed is None:
        device.viewed = _view(device)
    return device.viewed


def _view(device: Device) -> DeviceView:
    order = device.order
    return DeviceView(
        id=device.id,
        hostname=order.hostname,
        project=order.project,
        state=device.state.value,
        tags=order.tags,
        plan=order.plan,
        metro=order.metro,
        operating_system=order.operating_system,
        userdata=order.userdata,
        reservation=order.reservation,
        public_address=public_address(device),
        private_address=private_address(device),
        created_at=device.created_at,
        active_at=device.active_at,
        ended_at=device.ended_at,
    )


class Renderer:
    """Answers in JSON; the parts that all devices share are encoded once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._user = self._made_by()
        self._plans = {slug: msgspec.Raw(encode(self.plan(plan))) for slug, plan in catalog.plans.items()}
        self._metros = {code: msgspec.Raw(encode(self.metro(metro))) for code, metro in catalog.metros.items()}
        self._facilities = {code: msgspec.Raw(encode(self.facility(metro))) for code, metro in catalog.metros.items()}
        self._systems = {slug: msgspec.Raw(encode(self.operating_system(slug))) for slug in catalog.operating_systems}

    def device(self, device: Device) -> bytes:
        """Answer a device's JSON, from memory as long as nothing has changed."""
        if device.rendered is not None:
            return device.rendered
        rendered = encode(self._changing(device))[:-1] + b"," + self._lasting(device)[1:]
        if len(device.order.userdata) <= USERDATA_CACHED_CHARACTERS_MAX:
            device.rendered = rendered
        return rendered

    def addresses(self, device: Device) -> list[dict[str, Any]]:
        """Answer a device's addresses; none before the network is configured."""
        if not device.addressed:
            return []
        made = {"public4": self._public4, "public6": self._public6, "private4": self._private4}
        return [make(device) for kind, make in made.items() if kind in device.order.addresses]

    def events(self, device: Device) -> list[dict[str, Any]]:
        """Answer the events of provisioning, those still to come without id and time."""
        told = " and ".join(address for address in (public_address(device), private_address(device)) if address)
        return [self._event(device, index, told) for index in range(len(PROVISIONING_EVENTS))]

    def reservation(self, reservation: Reservation, *, provisionable: bool) -> dict[str, Any]:
        """Answer a reserved server."""
        return {
            "id": reservation.id,
            "short_id": reservation.id[:8],
            **href("hardware-reservations", reservation.id),
            "plan": self._plans[reservation.plan],
            "facility": self._facilities[reservation.metro],
            "project": href("projects", reservation.project),
            "device": href("devices", reservation.device) if reservation.device else None,
            "provisionable": provisionable,
            "spare": False,
            "need_of_service": False,
            "switch_uuid": reservation.id[:8],
            "custom_rate": None,
            "termination_time": None,
            "created_at": moment(reservation.created_at),
        }

    def plan(self, plan: PlanSettings) -> dict[str, Any]:
        """Answer a plan."""
        metros = [metro for metro in self._catalog.metros.values() if self._catalog.sold(plan, metro.code)]
        return {
            "id": named_uuid("plan", plan.slug),
            "slug": plan.slug,
            "name": plan.slug,
            "description": f"{plan.cores} cores, {plan.memory_gib} GB",
            "line": "baremetal",
            "class": plan.slug,
            "type": "standard",
            "legacy": False,
            "deployment_types": ["on_demand"],
            "categories": PLAN_CATEGORIES,
            "available_in": [href("facilities", named_uuid("facility", metro.facility)) for metro in metros],
            "available_in_metros": [href("metros", named_uuid("metro", metro.code)) for metro in metros],
            "pricing": {"hour": plan.price_hour},
            "specs": {
                "cpus": [{"count": 1, "type": f"{plan.cores} cores"}],
                "memory": {"total": f"{plan.memory_gib}GB"},
            },
            **href("plans", named_uuid("plan", plan.slug)),
        }

    def metro(self, metro: MetroSettings) -> dict[str, Any]:
        """Answer a metro."""
        identity = named_uuid("metro", metro.code)
        return {
            "id": identity,
            "name": metro.name,
            "code": metro.code,
            "country": metro.country,
            **href("locations", "metros", identity),
        }

    def facility(self, metro: MetroSettings) -> dict[str, Any]:
        """Answer the facility of a metro."""
        return {
            "id": named_uuid("facility", metro.facility),
            "name": f"{metro.name} {metro.facility[2:]}",
            "code": metro.facility,
            "features": ["baremetal", "backend_transfer", "layer_2", "global_ipv4"],
            "ip_ranges": [],
            "metro": self.metro(metro),
            **href("facilities", named_uuid("facility", metro.facility)),
        }

    def operating_system(self, slug: str) -> dict[str, Any]:
        """Answer an operating system."""
        distribution, _, version = slug.partition("_")
        return {
            "id": named_uuid("operating-system", slug),
            "slug": slug,
            "name": self._catalog.operating_systems[slug],
            "distro": distribution,
            "version": version.replace("_", "."),
            "preinstallable": False,
            "licensed": False,
            "pricing": {},
            "provisionable_on": list(self._catalog.plans),
        }

    def project(self, project: str) -> dict[str, Any]:
        """Answer a project."""
        return {
            "id": project,
            "name": self._catalog.projects[project].name,
            "type": "default",
            "created_at": moment(self._catalog.opened_at),
            "updated_at": moment(self._catalog.opened_at),
            "backend_transfer_enabled": False,
            "customdata": {},
            "tags": [],
            "ssh_keys": [href("ssh-keys", key.id) for key in self._catalog.keys_of(project)],
            "members": [{"href": self._user["href"]}],
            "organization": href("organizations", named_uuid("organization")),
            **href("projects", project),
        }

    def ssh_key(self, key: SshKey) -> dict[str, Any]:
        """Answer a public key."""
        return {
            "id": key.id,
            "label": key.label,
            "key": key.key,
            "fingerprint": ":".join(key.id.replace("-", "")[index : index + 2] for index in range(0, 32, 2)),
            "tags": list(key.tags),
            "entity": href("projects", key.project),
            "created_at": moment(self._catalog.opened_at),
            "updated_at": moment(self._catalog.opened_at),
            **href("ssh-keys", key.id),
        }

    def _changing(self, device: Device) -> dict[str, Any]:
        rendered = self._identity(device)
        rendered["actions"] = [{"type": action, "name": action} for action in _actions(device.state)]
        if device.password_shown:
            rendered["root_password"] = device.password
        if device.state is State.PROVISIONING:
            rendered["provisioning_percentage"] = round(100 * len(device.events) / len(PROVISIONING_EVENTS), 6)
            rendered["provisioning_events"] = self.events(device)
        return rendered

    def _lasting(self, device: Device) -> bytes:
        """What a device's state does not change, from memory as long as the order and the addresses are the same."""
        held, addressed = device.lasting, device.addressed
        if held is not None and held[0] is device.order and held[1] is addressed:
            return held[2]
        rendered = {
            **self._wishes(device),
            **self._surroundings(device),
            "ip_addresses": self.addresses(device),
            "network_ports": self._ports(device),
        }
        encoded = encode(rendered)
        if len(device.order.userdata) <= USERDATA_CACHED_CHARACTERS_MAX:
            device.lasting = (device.order, addressed, encoded)
        return encoded

    def _identity(self, device: Device) -> dict[str, Any]:
        return {
            "id": device.id,
            "short_id": device.id[:8],
            **href("devices", device.id),
            "state": device.state.value,
            "user": "root",
            "iqn": f"iqn.{device.created_at:%Y-%m}.net.packet:device.{device.id[:8]}",
            "bonding_mode": 4,
            "created_at": moment(device.created_at),
            "updated_at": moment(device.updated_at),
            "created_by": self._user,
            "image_url": None,
            "storage": None,
            "volumes": [],
        }

    def _wishes(self, device: Device) -> dict[str, Any]:
        order = device.order
        return {
            "hostname": order.hostname,
            "description": order.description,
            "tags": order.tags,
            "billing_cycle": order.billing_cycle,
            "locked": order.locked,
            "network_frozen": order.network_frozen,
            "always_pxe": order.always_pxe,
            "ipxe_script_url": order.ipxe_script_url,
            "userdata": order.userdata,
            "customdata": order.customdata,
            "spot_instance": order.spot_instance,
            "spot_price_max": order.spot_price_max,
            "termination_time": moment(order.termination_time),
            "ssh_keys": [href("ssh-keys", key) for key in order.ssh_keys],
            "hardware_reservation": href("hardware-reservations", order.reservation) if order.reservation else None,
        }

    def _surroundings(self, device: Device) -> dict[str, Any]:
        order = device.order
        facility = self._catalog.metros[order.metro].facility
        project = href("projects", order.project)
        return {
            "operating_system": self._systems[order.operating_system],
            "facility": self._facilities[order.metro],
            "metro": self._metros[order.metro],
            "plan": self._plans[order.plan],
            "project": project,
            "project_lite": project,
            "switch_uuid": f"sw-{facility}",
            "sos": f"{device.id}@sos.{facility}.platformequinix.com",
        }

    def _event(self, device: Device, index: int, addresses: str) -> dict[str, Any]:
        kind, body = PROVISIONING_EVENTS[index]
        body = body.format(addresses=addresses)
        event = {"type": kind, "body": body, "interpolated": body, "relationships": []}
        if index >= len(device.events):
            return {"id": None, **event, "created_at": None, "href": None}
        identity = part_uuid(device, EVENT_PARTS + index)
        return {"id": identity, **event, "created_at": moment(device.events[index]), **href("events", identity)}

    def _public4(self, device: Device) -> dict[str, Any]:
        return self._address(device, public4(device.number), {"address_family": 4, "public": True})

    def _public6(self, device: Device) -> dict[str, Any]:
        return self._address(device, public6(device.number), {"address_family": 6, "public": True})

    def _private4(self, device: Device) -> dict[str, Any]:
        return self._address(device, private4(device.number), {"address_family": 4, "public": False})

    def _address(self, device: Device, pair: Pair, family: Mapping[str, Any]) -> dict[str, Any]:
        wide = family["address_family"] == 6
        identity = part_uuid(device, ADDRESS_PARTS + (2 if wide else family["public"]))
        return {
            "id": identity,
            **family,
            "network": pair.network,
            "address": pair.address,
            "gateway": pair.network,
            "netmask": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe" if wide else "255.255.255.254",
            "cidr": 127 if wide else 31,
            "created_at": moment(device.created_at),
            "management": True,
            "manageable": True,
            "enabled": True,
            "global_ip": False,
            "metro": self._metros[device.order.metro],
            "assigned_to": href("devices", device.id),
            **href("ips", identity),
        }

    def _ports(self, device: Device) -> list[dict[str, Any]]:
        bond = part_uuid(device, BOND_PART)
        port = part_uuid(device, PORT_PART)
        plain: dict[str, Any] = {
            "native_virtual_network": None,
            "disbond_operation_supported": True,
            "virtual_networks": [],
        }
        hardware_address = ":".join(f"{device.number:012x}"[index : index + 2] for index in range(0, 12, 2))
        return [
            {
                **plain,
                "id": bond,
                "name": "bond0",
                "type": "NetworkBondPort",
                "network_type": "layer3",
                "data": {"bonded": True},
                "bond": None,
                **href("ports", bond),
            },
            {
                **plain,
                "id": port,
                "name": "eth0",
                "type": "NetworkPort",
                "network_type": None,
                "data": {"mac": f"02{hardware_address[2:]}", "bonded": True},
                "bond": {"id": bond, "name": "bond0"},
                **href("ports", port),
            },
        ]

    @staticmethod
    def _made_by() -> dict[str, Any]:
        identity = named_uuid("user")
        names = {"first_name": "Simulated", "last_name": "User", "full_name": "Simulated User"}
        return {
            "id": identity,
            "short_id": identity[:8],
            **names,
            "email": "user@example.org",
            **href("users", identity),
        }


def _actions(state: State) -> tuple[str, ...]:
    if state is State.ACTIVE:
        return ("power_off", "reboot", "rescue", "reinstall")
    return ("power_on", "reinstall") if state is State.INACTIVE else ()
