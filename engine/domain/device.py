"""A device as the provider shows it, in words that hold for every cloud."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.domain.ids import DeviceId


class DeviceState(StrEnum):
    """What a device is doing; a provider's own words are kept beside it."""

    INSTALLING = "installing"
    """Ordered and not yet up: it may refuse to be given back."""
    ACTIVE = "active"
    """Installed and up."""
    STOPPED = "stopped"
    """Installed, powered off or changing its power; it bills."""
    FAILED = "failed"
    """The provider gave up on it."""
    RELEASING = "releasing"
    """Being wiped and taken back."""
    GONE = "gone"
    """Taken back; some clouds show such devices for a while."""
    UNKNOWN = "unknown"
    """A word that we do not know: taken for a device that exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address in the words of Kubernetes: `InternalIP`, `ExternalIP` or `Hostname`."""

    kind: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What the provider says of one device. It never holds userdata or passwords."""

    device_id: DeviceId
    provider_id: str
    hostname: str
    state: DeviceState
    state_text: str
    tags: tuple[str, ...] = ()
    region: str = ""
    plan: str = ""
    created_at: datetime | None = None
    reservation_id: str | None = None
    addresses: tuple[Address, ...] = ()
    price_per_hour: float | None = None
    """What its plan costs, in the provider's currency; None when the provider does not say."""

    @property
    def exists(self) -> bool:
        """Whether the device is still held by the account: anything that is not gone."""
        return self.state is not DeviceState.GONE
