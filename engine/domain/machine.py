"""The record of one machine: all that the engine must remember between two runs, and nothing secret."""

from dataclasses import dataclass, field
from datetime import datetime

from engine.domain.device import Address
from engine.domain.ids import DeviceId, MachineUid
from engine.domain.outcome import Problem
from engine.domain.states import Place, State, UnknownPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCondition:
    """One condition of a Node, as it is copied to Machine status."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_at: datetime | None = None
    last_heartbeat_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """How far the return of one device is: asked for, accepted by the provider, proven gone."""

    device_id: DeviceId
    accepted_at: datetime | None = None
    gone_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """One machine's row. `version` counts its history entries; instants are aware UTC."""

    uid: MachineUid
    namespace: str
    name: str
    place: Place
    version: int
    created_at: datetime
    """The creation timestamp of the Machine object: where the creation timeout starts."""
    admitted_at: datetime
    place_since: datetime
    """When the place was entered; the source of `status.currentStatus.lastUpdateTime`."""
    operation_at: datetime
    """When the last operation was written; the source of `status.lastOperation.lastUpdateTime`."""
    class_name: str = ""
    secret_name: str = ""
    provider: str = ""
    taken_over: bool = False
    """Whether somebody may have bought a device for this Machine before this record was made."""
    device_id: DeviceId | None = None
    provider_id: str = ""
    node_name: str = ""
    joined_at: datetime | None = None
    problem: Problem | None = None
    attempts: int = 0
    """Failed attempts in a row at the present place."""
    retry_at: datetime | None = None
    """Nothing is tried before this instant, unless the inputs change."""
    inputs: str = ""
    """A fingerprint of the class and the secret with which the last attempt was made."""
    orders: int = 0
    """How many purchases were intended so far; numbers the intents."""
    reservations_tried: tuple[str, ...] = ()
    """The reservations that refused in the present round."""
    releases: tuple[Release, ...] = ()
    addresses: tuple[Address, ...] = ()
    conditions: tuple[NodeCondition, ...] = ()
    due_at: datetime | None = None
    """When the machine wants to be looked at again; None means that only an event wakes it."""
    retry_mark: str = ""
    """The last operator's retry mark that was obeyed."""

    @property
    def state(self) -> State:
        """The state half of the place."""
        return self.place.state

    @property
    def finished(self) -> bool:
        """Whether the life is over."""
        return self.place.state is State.DELETED

    def release_of(self, device_id: DeviceId) -> Release | None:
        """Answer how far the return of this device is, or None when nobody asked for it."""
        return next((release for release in self.releases if release.device_id == device_id), None)

    def proven_gone(self, device_id: DeviceId) -> bool:
        """Whether it was proven at some time that the cloud does not hold this device any more."""
        release = self.release_of(device_id)
        return release is not None and release.gone_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of a machine's history; the lines of a machine are numbered from 1 without a gap."""

    uid: MachineUid
    version: int
    at: datetime
    trigger: str
    source: Place | UnknownPlace | None
    target: Place | UnknownPlace
    note: str = ""
    """One sentence for people: what happened, to which thing."""
    problem: Problem | None = None
    actor: str = "engine"
    device_id: DeviceId | None = None
    intent_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFilter:
    """Which machines to read; empty fields do not filter."""

    namespace: str = ""
    name: str = ""
    states: frozenset[State] = field(default_factory=frozenset)
    unfinished_only: bool = False
