"""The life of the devices: what will happen to each is planned when it is ordered, and happens as the clock passes it.

No thread is needed: `Fleet.settle` carries out the steps that are due. It knows nothing of requests and JSON.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count
from typing import Any

from engine.simulators.metal.catalog import Catalog
from engine.simulators.metal.journal import DeviceView, Journal
from engine.simulators.metal.settings import MetalSettings
from engine.simulators.seed import Seed

ENDED_DEVICES_MAX = 20_000
"""Deleted devices that are remembered for the ground truth; the oldest are forgotten first."""

PROVISIONING_EVENTS = (
    ("provisioning.101", "Provisioning started"),
    ("provisioning.102", "Network configured with addresses {addresses}"),
    ("provisioning.103", "Configuration written, restarting device"),
    ("provisioning.104", "Connected to magic install system"),
    ("provisioning.107", "Server networking interfaces configured"),
    ("provisioning.109", "Installation finished, rebooting server"),
    ("provisioning.109", "Installation finished, rebooting server"),
)
"""What was seen of a boot, in order; the last one comes twice."""

ADDRESSES_EVENT = 1
"""The index of the event with which a device has its addresses."""


class State(StrEnum):
    """The states that the published client parses; it refuses any other."""

    QUEUED = "queued"
    PROVISIONING = "provisioning"
    ACTIVE = "active"
    FAILED = "failed"
    DEPROVISIONING = "deprovisioning"
    DELETED = "deleted"
    REINSTALLING = "reinstalling"
    INACTIVE = "inactive"
    POWERING_ON = "powering_on"
    POWERING_OFF = "powering_off"


class Fate(StrEnum):
    """How provisioning will end."""

    BOOTS = "boots"
    VANISHES = "vanishes"
    STAYS_FAILED = "stays_failed"


class Deed(StrEnum):
    """What a step does."""

    ENTER = "enter"
    EVENT = "event"
    VANISH = "vanish"
    FORGET_PASSWORD = "forget_password"  # noqa: S105 - the name of a step
    TERMINATE = "terminate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that will happen to a device at an instant."""

    at: datetime
    deed: Deed
    state: State | None = None
    event: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A valid order for a device."""

    project: str
    hostname: str
    plan: str
    metro: str
    operating_system: str
    tags: tuple[str, ...] = ()
    userdata: str = ""
    customdata: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None
    billing_cycle: str = "hourly"
    locked: bool = False
    always_pxe: bool = False
    ipxe_script_url: str | None = None
    network_frozen: bool = False
    spot_instance: bool = False
    spot_price_max: float | None = None
    termination_time: datetime | None = None
    reservation: str | None = None
    ssh_keys: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ("public4", "public6", "private4")


@dataclass(slots=True, kw_only=True)
class Device:
    """A server that somebody ordered, with what has happened to it and what will."""

    id: str
    number: int
    order: Order
    created_at: datetime
    updated_at: datetime
    password: str
    state: State = State.QUEUED
    events: list[datetime] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    active_at: datetime | None = None
    password_shown: bool = False
    vanished: bool = False
    ended_at: datetime | None = None
    """When the bill ended: at the delete, or when it vanished."""
    rendered: bytes | None = None
    """Its JSON until something changes."""
    lasting: tuple[Order, bool, bytes] | None = None
    """The part of its JSON that only its order and its having addresses decide, with the two."""
    viewed: DeviceView | None = None
    """How it looks from outside until something changes."""

    @property
    def addressed(self) -> bool:
        """Whether it has its addresses."""
        return len(self.events) > ADDRESSES_EVENT

    def forget_looks(self) -> None:
        """Have it rendered and viewed anew: something has changed."""
        self.rendered = self.viewed = None


class Fleet:
    """All devices, the living and the remembered."""

    def __init__(self, *, settings: MetalSettings, catalog: Catalog, journal: Journal, seed: Seed) -> None:
        self._settings = settings
        self._catalog = catalog
        self._journal = journal
        self._seed = seed
        self._chance = seed.child("devices/0")
        self._living: dict[str, Device] = {}
        self._ended: OrderedDict[str, Device] = OrderedDict()
        self._due: list[tuple[datetime, int, str]] = []
        self._order_of_due = count()
        self.created = 0

    def settle(self, now: datetime) -> None:
        """Let everything happen that was due by now."""
        while self._due and self._due[0][0] <= now:
            at, _, device_id = heapq.heappop(self._due)
            device = self._living.get(device_id)
            # A plan that was replaced leaves its entry behind; the entry then finds nothing due and is dropped.
            if device and device.steps and device.steps[0].at <= at:
                self._take(device, device.steps.pop(0))
                self._schedule(device)

    def create(self, order: Order, *, fate: Fate, now: datetime) -> Device:
        """Let a new device be queued; its capacity or reservation is taken."""
        device = Device(
            id=self._chance.uuid(),
            number=self.created,
            order=order,
            created_at=now,
            updated_at=now,
            password=self._chance.uuid()[:8],
        )
        self.created += 1
        device.steps = self._plan_life(order, fate, now)
        self._living[device.id] = device
        self._occupy(device)
        self._journal.record(now, "created", device.id, order.hostname, order.tags)
        self._schedule(device)
        return device

    def delete(self, device: Device, now: datetime, *, note: str = "") -> None:
        """Let a device be deprovisioned; its bill ends now."""
        wipe = self._settings.wipe_for if device.order.reservation else self._settings.deprovision_for
        self._journal.record(now, "deleted", device.id, device.order.hostname, device.order.tags, note)
        device.ended_at = now
        self._enter(device, State.DEPROVISIONING, now)
        self._replan(device, Step(at=now + self._settings.scaled(wipe), deed=Deed.ENTER, state=State.DELETED))

    def transit(self, device: Device, through: State, to: State, span: timedelta, now: datetime) -> None:
        """Let a device be in a passing state for the span and then in another."""
        self._enter(device, through, now)
        kept = [step for step in device.steps if step.deed is not Deed.ENTER]
        self._replan(device, Step(at=now + self._settings.scaled(span), deed=Deed.ENTER, state=to), *kept)

    def change(self, device: Device, order: Order, now: datetime) -> None:
        """Put a changed order in the place of the device's own."""
        device.order = order
        self._touch(device, now)

    def living(self) -> list[Device]:
        """Answer the devices that can still be seen, the oldest first."""
        return list(self._living.values())

    def find(self, device_id: str) -> Device | None:
        """Answer a device, also one that has ended and is remembered."""
        return self._living.get(device_id) or self._ended.get(device_id)

    def everything(self) -> Iterator[Device]:
        """Yield every device, the remembered ones first."""
        yield from self._ended.values()
        yield from self._living.values()

    def restore(self, devices: list[Device], created: int) -> None:
        """Be the fleet of a snapshot; new devices get ids that no old one has."""
        for device in self._living.values():
            self._vacate(device)
        self._living.clear()
        self._ended.clear()
        self._due.clear()
        self.created = created
        self._chance = self._seed.child(f"devices/{created}")
        for device in devices:
            if device.vanished or device.state is State.DELETED:
                self._ended[device.id] = device
            else:
                self._living[device.id] = device
                self._occupy(device)
                self._schedule(device)

    def _plan_life(self, order: Order, fate: Fate, now: datetime) -> list[Step]:
        begin = now + self._settings.scaled(self._settings.queue_for)
        jitter = self._settings.jitter
        stretch = self._chance.between(1 - jitter, 1 + jitter) if jitter else 1.0
        span = self._settings.scaled(self._settings.provision_for) * stretch
        steps = [Step(at=begin, deed=Deed.ENTER, state=State.PROVISIONING)]
        # The first event comes with the state and the last before the boot ends, so that the percentage is never 100.
        parts = len(PROVISIONING_EVENTS)
        seen = parts if fate is Fate.BOOTS else parts // 2
        steps += [Step(at=begin + span * index / parts, deed=Deed.EVENT, event=index) for index in range(seen)]
        steps += self._ends(fate, begin + span)
        if order.termination_time:
            steps.append(Step(at=order.termination_time, deed=Deed.TERMINATE))
        return sorted(steps, key=lambda step: step.at)

    def _ends(self, fate: Fate, at: datetime) -> list[Step]:
        match fate:
            case Fate.BOOTS:
                forgotten = at + self._settings.scaled(self._settings.password_for)
                return [
                    Step(at=at, deed=Deed.ENTER, state=State.ACTIVE),
                    Step(at=forgotten, deed=Deed.FORGET_PASSWORD),
                ]
            case Fate.VANISHES:
                return [Step(at=at, deed=Deed.VANISH, state=State.FAILED)]
            case Fate.STAYS_FAILED:
                return [Step(at=at, deed=Deed.ENTER, state=State.FAILED)]

    def _take(self, device: Device, step: Step) -> None:
        match step.deed:
            case Deed.ENTER:
                assert step.state
                self._enter(device, step.state, step.at)
            case Deed.EVENT:
                device.events.append(step.at)
                self._touch(device, step.at)
            case Deed.VANISH:
                device.vanished = True
                device.ended_at = step.at
                self._enter(device, State.FAILED, step.at)
                self._end(device)
            case Deed.FORGET_PASSWORD:
                device.password_shown = False
                device.forget_looks()
            case Deed.TERMINATE:
                # A lock protects a device against its termination time, unless it is a spot instance.
                if not device.order.locked or device.order.spot_instance:
                    self.delete(device, step.at, note="termination time")

    def _enter(self, device: Device, state: State, at: datetime) -> None:
        device.state = state
        self._touch(device, at)
        if state is State.PROVISIONING:
            device.password_shown = True
        elif state is State.ACTIVE and device.active_at is None:
            device.active_at = at
            self._journal.record(at, "active", device.id, device.order.hostname, device.order.tags)
        elif state is State.FAILED:
            note = "vanished" if device.vanished else "stays"
            self._journal.record(at, "failed", device.id, device.order.hostname, device.order.tags, note)
        elif state is State.DELETED:
            self._journal.record(at, "gone", device.id, device.order.hostname, device.order.tags)
            self._end(device)

    def _end(self, device: Device) -> None:
        del self._living[device.id]
        device.steps = []
        device.forget_looks()
        self._ended[device.id] = device
        while len(self._ended) > ENDED_DEVICES_MAX:
            self._ended.popitem(last=False)
        self._vacate(device)

    def _vacate(self, device: Device) -> None:
        reservation = self._catalog.reservations.get(device.order.reservation or "")
        if reservation:
            reservation.device = None
        else:
            self._catalog.stock.give_back(device.order.metro, device.order.plan)

    def _occupy(self, device: Device) -> None:
        reservation = self._catalog.reservations.get(device.order.reservation or "")
        if reservation:
            reservation.device = device.id
        else:
            self._catalog.stock.take(device.order.metro, device.order.plan)

    def _touch(self, device: Device, at: datetime) -> None:
        device.updated_at = at
        device.forget_looks()

    def _replan(self, device: Device, *steps: Step) -> None:
        device.steps = sorted(steps, key=lambda step: step.at)
        self._schedule(device)

    def _schedule(self, device: Device) -> None:
        if device.steps:
            heapq.heappush(self._due, (device.steps[0].at, next(self._order_of_due), device.id))
