"""An orphan: a device with a tag of ours that nobody owns, and how far its return is."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.domain.ids import AccountKey, DeviceId, MachineUid


class OrphanState(StrEnum):
    """What is done about it."""

    QUARANTINED = "quarantined"
    """It is watched; nothing was asked of the cloud."""
    RELEASING = "releasing"
    """Its return is intended; whether the cloud accepted it stands beside."""
    GONE = "gone"
    """It is proven that the cloud does not hold it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One such device. Instants are aware UTC."""

    device_id: DeviceId
    account: AccountKey
    uid: MachineUid
    """The Machine that its tag names, and that does not own it."""
    hostname: str
    plan: str = ""
    region: str = ""
    price_per_hour: float | None = None
    reason: str
    """Why nobody owns it, in words."""
    first_seen_at: datetime
    last_seen_at: datetime
    sightings: int = 1
    """In how many complete lists it was found without an owner."""
    state: OrphanState = OrphanState.QUARANTINED
    intended_at: datetime | None = None
    """When its return was written down, before it was asked for."""
    accepted_at: datetime | None = None
    gone_at: datetime | None = None

    @property
    def billing(self) -> bool:
        """Whether it still costs money, as far as is known."""
        return self.state is not OrphanState.GONE
