"""What each call about devices does, once it is known who calls and that the call is let in."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from engine.simulators.http import HttpResponse
from engine.simulators.metal.access import opens
from engine.simulators.metal.calls import Call, Premises, answer
from engine.simulators.metal.catalog import Reservation
from engine.simulators.metal.devices import Device, Fate, Order, State
from engine.simulators.metal.faults import FaultKind, Operation
from engine.simulators.metal.lists import SHAPING, Page, chosen, shaped
from engine.simulators.metal.orders import (
    NEXT_AVAILABLE,
    NO_ADDRESSES,
    NO_RESERVATION,
    NO_SERVERS,
    NOT_FOUND,
    NOT_PROVISIONABLE,
    OH_SNAP,
    RefusalError,
    read_body,
    read_change,
    read_order,
)
from engine.simulators.metal.render import encode

FOREIGN_DEVICE = "You are not authorized to view this device"  # seen
PROVISIONING = "Cannot delete a device while it is provisioning"  # seen
DEPROVISIONING = "Cannot delete a device while it is deprovisioning"
LOCKED = "Cannot delete a locked item"  # seen for a volume


class DeviceCalls:
    """Everything about devices."""

    def __init__(self, premises: Premises) -> None:
        self._settings = premises.settings
        self._catalog = premises.catalog
        self._fleet = premises.fleet
        self._faults = premises.faults
        self._renderer = premises.renderer

    def create(self, call: Call) -> HttpResponse:
        """Queue a new device, whatever was queued before under the same name."""
        body = read_body(call.request.body)
        hostname = f"{str(body.get('plan')).replace('.', '-')}-{self._fleet.created + 1:02}"
        order = read_order(body, catalog=self._catalog, project=call.ids["project"], hostname=hostname)
        order = self._place(order, body.get("hardware_reservation_id"))
        device = self._fleet.create(order, fate=self._fate(order), now=call.now)
        return answer(201, self._document(device, call))

    def list_page(self, call: Call) -> HttpResponse:
        """Answer a page of the project's devices, the newest first."""
        page = Page(call.request, per_page_max=self._settings.per_page_max)
        if page.number > 1 and self._faults.strike(FaultKind.LIST_PAGE_ERROR, call.operation):
            raise RefusalError(500, OH_SNAP)
        devices = self._visible(call)
        rows = [self._document(device, call) for device in devices[page.rows]]
        meta = encode(page.meta(len(devices)))
        return answer(200, b'{"devices":[' + b",".join(rows) + b'],"meta":' + meta + b"}")

    def get(self, call: Call) -> HttpResponse:
        """Answer a device."""
        return answer(200, self._document(self._found(call), call))

    def update(self, call: Call) -> HttpResponse:
        """Change a device; what the body does not name stays."""
        device = self._found(call)
        self._fleet.change(device, read_change(read_body(call.request.body), device.order), call.now)
        return answer(200, self._document(device, call))

    def delete(self, call: Call) -> HttpResponse:
        """Let a device be deprovisioned, unless it is locked or being provisioned."""
        device = self._found(call)
        if device.state is State.DEPROVISIONING:
            missing = self._settings.second_delete_status == 404
            raise RefusalError(self._settings.second_delete_status, NOT_FOUND if missing else DEPROVISIONING)
        if device.order.locked:
            raise RefusalError(422, LOCKED)
        queued = device.state is State.QUEUED and not self._settings.queued_deletable
        if queued or device.state is State.PROVISIONING:
            raise RefusalError(422, PROVISIONING)
        self._fleet.delete(device, call.now, note="forced" if _forced(call) else "")
        return answer(204)

    def act(self, call: Call) -> HttpResponse:
        """Power a device on or off, boot it or install it again."""
        device = self._found(call)
        action = read_body(call.request.body).get("type")
        match action, device.state:
            case "power_off", State.ACTIVE:
                self._pass(call, device, State.POWERING_OFF, State.INACTIVE)
            case "power_on", State.INACTIVE:
                self._pass(call, device, State.POWERING_ON, State.ACTIVE)
            case (("reboot" | "rescue"), State.ACTIVE):
                pass
            case "reinstall", (State.ACTIVE | State.INACTIVE) if not device.order.locked:
                self._pass(call, device, State.REINSTALLING, State.ACTIVE)
            case _:  # an action is a stranger's text, so there is always another
                raise RefusalError(422, f"Cannot {action} a device while it is {device.state.value}")
        return answer(202)

    def userdata(self, call: Call) -> HttpResponse:
        """Answer what the machine is told at its first boot."""
        return answer(200, {"userdata": self._found(call).order.userdata})

    def customdata(self, call: Call) -> HttpResponse:
        """Answer the free-form object that came with the order."""
        return answer(200, dict(self._found(call).order.customdata))

    def addresses(self, call: Call) -> HttpResponse:
        """Answer the device's addresses."""
        return answer(200, {"ip_addresses": self._renderer.addresses(self._found(call))})

    def events(self, call: Call) -> HttpResponse:
        """Answer a page of what has happened to the device, the newest first."""
        device = self._found(call)
        page = Page(call.request, per_page_max=self._settings.per_page_max)
        happened = self._renderer.events(device)[: len(device.events)][::-1]
        return answer(200, {"events": happened[page.rows], "meta": page.meta(len(happened))})

    def usages(self, call: Call) -> HttpResponse:
        """Answer the hours since the order and what they cost, begun hours in full."""
        device = self._found(call)
        hours = -((device.created_at - (device.ended_at or call.now)) // timedelta(hours=1))
        price = self._catalog.plans[device.order.plan].price_hour
        return answer(200, {"usages": [{"quantity": f"{hours}", "total": f"{hours * price:.2f}", "unit": "hour"}]})

    def _place(self, order: Order, reservation: Any) -> Order:
        """Answer the order with its reservation, or refuse it because there is no server for it."""
        self._check_addresses(order)
        if reservation:
            return replace(order, reservation=self._reserved(order, str(reservation)).id)
        sold_out = self._faults.strike(FaultKind.NO_CAPACITY, Operation.CREATE)
        if sold_out or not self._catalog.stock.free(order.metro, order.plan):
            raise RefusalError(422, NO_SERVERS)
        return order

    def _check_addresses(self, order: Order) -> None:
        limit = self._settings.public_ipv4_max
        if limit is None or "public4" not in order.addresses:
            return
        taken = [other for other in self._fleet.living() if other.order.project == order.project]
        if sum("public4" in other.order.addresses for other in taken) >= limit:
            raise RefusalError(422, NO_ADDRESSES)

    def _reserved(self, order: Order, asked: str) -> Reservation:
        fitting = [
            reservation
            for reservation in self._catalog.reservations_of(order.project)
            if reservation.plan == order.plan
            and reservation.metro == order.metro
            and asked in {reservation.id, NEXT_AVAILABLE}
        ]
        free = [reservation for reservation in fitting if reservation.provisionable]
        if free:
            return free[0]
        if fitting and asked != NEXT_AVAILABLE:
            raise RefusalError(422, NOT_PROVISIONABLE)
        raise RefusalError(503, NO_RESERVATION)

    def _fate(self, order: Order) -> Fate:
        if self._faults.strike(FaultKind.FAIL_AND_STAY, Operation.CREATE):
            return Fate.STAYS_FAILED
        if self._faults.strike(FaultKind.FAIL_PROVISIONING, Operation.CREATE):
            return Fate.STAYS_FAILED if order.reservation else Fate.VANISHES
        return Fate.BOOTS

    def _pass(self, call: Call, device: Device, through: State, to: State) -> None:
        span = self._settings.provision_for if through is State.REINSTALLING else self._settings.power_for
        self._fleet.transit(device, through, to, span, call.now)

    def _visible(self, call: Call) -> list[Device]:
        project = call.ids["project"]
        devices = [device for device in self._fleet.living() if device.order.project == project]
        stale = self._faults.strike(FaultKind.STALE_LIST, call.operation)
        if stale:
            newest = call.now - timedelta(seconds=stale.seconds)
            devices = [device for device in devices if device.created_at <= newest]
        devices = chosen(reversed(devices), call.request.query, self._catalog)
        if self._faults.strike(FaultKind.LIST_EMPTY, call.operation):
            return []
        if self._faults.strike(FaultKind.LIST_TRUNCATED, call.operation):
            return devices[: len(devices) // 2]
        return devices

    def _found(self, call: Call) -> Device:
        device = self._fleet.find(call.ids["device"])
        if device is None or device.state is State.DELETED:
            raise RefusalError(404, NOT_FOUND)
        if not opens(call.key, device.order.project):
            raise RefusalError(403, FOREIGN_DEVICE)
        if device.vanished:
            missing = self._settings.vanished_status == 404
            raise RefusalError(self._settings.vanished_status, NOT_FOUND if missing else FOREIGN_DEVICE)
        return device

    def _document(self, device: Device, call: Call) -> bytes:
        document = self._renderer.device(device)
        if SHAPING.isdisjoint(call.request.query):
            return document
        included: dict[str, Callable[[], Any]] = {
            "project": lambda: self._renderer.project(device.order.project),
            "ssh_keys": lambda: [self._renderer.ssh_key(self._catalog.ssh_keys[key]) for key in device.order.ssh_keys],
        }
        reservation = self._catalog.reservations.get(device.order.reservation or "")
        if reservation:
            included["hardware_reservation"] = lambda: self._renderer.reservation(
                reservation, provisionable=reservation.provisionable
            )
        return shaped(document, call.request.query, included)


def _forced(call: Call) -> bool:
    """Answer whether storage is to be detached by force; one client says so in the query, another in the body."""
    return (
        call.request.query.get("force_delete") == ["true"] or read_body(call.request.body).get("force_delete") is True
    )
