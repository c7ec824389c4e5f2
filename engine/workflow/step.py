"""The words of a decision: what a step sees, what it may answer, and what an effect brings back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Protocol

from engine.domain.device import Device
from engine.domain.ids import DeviceId
from engine.domain.intents import Intent
from engine.domain.machine import MachineRecord
from engine.domain.outcome import Problem
from engine.domain.triggers import Trigger
from engine.domain.wanted import MachineObject, NodeObject
from engine.ports.cluster import MachinePatch
from engine.ports.provider import ProviderRefusal
from engine.ports.store import Resolution
from engine.workflow.binding import Binding
from engine.workflow.inventory import Snapshot
from engine.workflow.policy import Policy


class Awaited(Enum):
    """What of the cloud's list a waiting machine waits for."""

    NOTHING = "nothing"
    CHANGE = "change"
    """Its device is expected to change."""
    NEXT_LIST = "next list"
    """It needs a complete list that is newer than the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything that a step may look at. Reading it changes nothing; instants are values."""

    record: MachineRecord
    machine: MachineObject | None
    """The Machine object; None when the caches do not have it."""
    absent_for: timedelta
    """For how long the object has been missing from synced caches; zero while it is there."""
    none_shown: bool
    """Whether the caches show no Machine at all."""
    back_for: timedelta
    """For how long the object of a life that is over has been shown; zero while there is none, and before the end."""
    binding: Binding
    snapshot: Snapshot | None
    list_problem: Problem | None
    node: NodeObject | None
    has_target: bool
    open_order: Intent | None
    doubt_since: float
    """Monotonic instant at which this process first knew of the open order."""
    released_since: Mapping[DeviceId, float]
    """Monotonic instants at which this process saw the returns accepted; absent means before it started."""
    denied_since: Mapping[DeviceId, float]
    """Monotonic instants at which this process was first denied a look at a device that no list has shown since."""
    shown_before: frozenset[DeviceId]
    """The devices of this machine that the list misses, and that this very account was shown at some time."""
    admitted_here: bool
    """Whether this very process began the record, and so knows every purchase; one from a backup may forget some."""
    order_barred: Problem | None
    """Why nothing may be bought for this machine now."""
    may_delete: bool
    """Whether a device may be given back that no deletion of a Machine asks for."""
    started: float
    """Monotonic instant at which this process started."""
    now: datetime
    monotonic: float
    policy: Policy

    @property
    def own_devices(self) -> tuple[Device, ...]:
        """The devices of the last list that carry this Machine's tag."""
        return self.snapshot.by_owner.get(self.record.uid, ()) if self.snapshot else ()

    @property
    def device(self) -> Device | None:
        """The recorded device as the last list showed it."""
        if self.snapshot is None or self.record.device_id is None:
            return None
        return self.snapshot.devices.get(self.record.device_id)

    @property
    def deadline(self) -> datetime:
        """When the creation timeout is over."""
        record = self.record
        # Nobody knows how far an earlier controller was, so a machine that was taken over gets the whole time again.
        begin = max(record.created_at, record.admitted_at) if record.taken_over else record.created_at
        return begin + self.creation_timeout

    @property
    def creation_timeout(self) -> timedelta:
        """How long the creation may take."""
        own = self.machine.creation_timeout if self.machine else None
        return own or self.policy.creation_timeout

    @property
    def lost_after(self) -> timedelta:
        """How long the object must be missing before we believe it."""
        return self.policy.objects_lost_after if self.none_shown else self.policy.object_lost_after

    def is_foreign(self, device_id: DeviceId) -> bool:
        """Whether the last list shows that this device carries the tag of another Machine."""
        owner = self.snapshot.owners.get(device_id) if self.snapshot else None
        return owner not in {None, self.record.uid}

    def listed_since(self, instant: float) -> bool:
        """Whether the last complete list began after this monotonic instant."""
        return self.snapshot is not None and self.snapshot.started > instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """Commit a fact: the trigger moves the machine, and the changes are written with it."""

    trigger: Trigger
    note: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    problem: Problem | None = None
    resolved: Sequence[Resolution] = ()
    device_id: DeviceId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """Commit changes that are no news: no line of history, the same place."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    resolved: Sequence[Resolution] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing until this instant, or until an event; None waits for an event only."""

    until: datetime | None
    awaited: Awaited = Awaited.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Buy a device; the intent is written first."""

    userdata: str = field(repr=False)
    reservation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldReservation:
    """Take the first free one of these reservations in the ledger."""

    wanted: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDevice:
    """Ask the cloud to take this device back; the intent is written first."""

    device_id: DeviceId


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamineDevice:
    """Ask the cloud for this one device."""

    device_id: DeviceId


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchMachine:
    """Change metadata or `spec.providerID` of the Machine object."""

    patch: MachinePatch


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteNode:
    """Have the Node object deleted."""

    node: NodeObject
    then: Advance


@dataclass(frozen=True, slots=True, kw_only=True)
class DropFinalizer:
    """Take our finalizer off the Machine object."""

    machine: MachineObject
    then: Advance


CloudEffect = Order | HoldReservation | ReleaseDevice | ExamineDevice
ClusterEffect = PatchMachine | DeleteNode | DropFinalizer
Decision = Advance | Remember | Wait | CloudEffect | ClusterEffect


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The ledger's answer: the reservation that is ours now, or None when all are taken."""

    reservation_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The cloud agreed to take the device back."""


Outcome = Device | Held | Accepted | ProviderRefusal
"""What a cloud effect brings back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effected:
    """An effect at the cloud that was tried: what was tried, what came back, and the intent that was written before."""

    effect: CloudEffect
    outcome: Outcome
    intent: Intent | None = None


class Step(Protocol):
    """One phase of a life: two pure functions."""

    def decide(self, context: Context) -> Decision:
        """Answer what to do now."""
        ...

    def absorb(self, context: Context, done: Effected) -> Decision:
        """Answer what to commit, or to do next, after an effect at the cloud; the intent's result is part of it."""
        ...
