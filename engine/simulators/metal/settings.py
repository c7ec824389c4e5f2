"""What a simulated Metal API is made of: keys, catalogue, spans, and a switch for each answer that nobody confirmed.

The defaults are one project, one key and a catalogue that never runs out. Every span of a device's life is divided by
`MetalSettings.time_scale`; the instants in the answers are those of the clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

PROJECT_ID = "93125c2a-8b78-4d4f-a3c4-7367d6b7cca8"
"""The project that exists unless the settings say otherwise."""

API_KEY = "simulated-metal-api-key"
"""The key to that project. It opens nothing but a simulator."""


SSH_KEY_ID = "5f1b0a52-3b2b-4a77-8d6b-3f3f3f3f3f3f"
"""The SSH key of that project; the samples name it."""


class ErrorBody(StrEnum):
    """Which of the two documented error bodies an answer carries."""

    MIXED = "mixed"
    """`error` for 401, 403 and 404, `errors` for the rest: clients must read both."""
    SINGLE = "single"
    LIST = "list"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """An API key; without projects it is a user's key and sees them all."""

    token: str
    projects: tuple[str, ...] = ()
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSettings:
    """A project and the labels of the SSH keys in it."""

    id: str
    name: str = "simulated"
    ssh_keys: tuple[str, ...] = ("operations",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """A kind of server; without metros it is sold in all of them."""

    slug: str
    price_hour: float
    cores: int = 8
    memory_gib: int = 32
    metros: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetroSettings:
    """A metro with its one facility."""

    code: str
    name: str
    country: str
    facility: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationSettings:
    """Reserved servers of one plan in one metro."""

    plan: str
    metro: str
    count: int = 1
    project: str = PROJECT_ID
    ids: tuple[str, ...] = ()
    """Their ids, one for each; without any, `count` ids are made up."""


SAMPLE_RESERVATIONS = (
    ReservationSettings(
        plan="c3.small.x86",
        metro="da",
        ids=("7d1e0d2a-1111-4111-8111-000000000001", "7d1e0d2a-1111-4111-8111-000000000002"),
    ),
)
"""The reservations that the samples name; the demo and the served simulator have them."""


# List prices of 2024 for an hour on demand.
PLANS = (
    PlanSettings(slug="c3.small.x86", price_hour=0.75, cores=8, memory_gib=32),
    PlanSettings(slug="c3.medium.x86", price_hour=1.50, cores=24, memory_gib=64),
    PlanSettings(slug="m3.small.x86", price_hour=1.05, cores=8, memory_gib=64),
    PlanSettings(slug="m3.large.x86", price_hour=3.10, cores=32, memory_gib=256),
    PlanSettings(slug="n3.xlarge.x86", price_hour=4.50, cores=32, memory_gib=512, metros=("da", "sv", "dc", "am")),
    PlanSettings(slug="s3.xlarge.x86", price_hour=2.95, cores=24, memory_gib=192),
)

METROS = (
    MetroSettings(code="am", name="Amsterdam", country="NL", facility="am6"),
    MetroSettings(code="da", name="Dallas", country="US", facility="da11"),
    MetroSettings(code="dc", name="Washington DC", country="US", facility="dc13"),
    MetroSettings(code="fr", name="Frankfurt", country="DE", facility="fr2"),
    MetroSettings(code="ld", name="London", country="GB", facility="ld7"),
    MetroSettings(code="ny", name="New York", country="US", facility="ny5"),
    MetroSettings(code="pa", name="Paris", country="FR", facility="pa4"),
    MetroSettings(code="sg", name="Singapore", country="SG", facility="sg1"),
    MetroSettings(code="sv", name="Silicon Valley", country="US", facility="sv15"),
    MetroSettings(code="ty", name="Tokyo", country="JP", facility="ty11"),
)

OPERATING_SYSTEMS: Mapping[str, str] = {
    "custom_ipxe": "Custom iPXE",
    "debian_12": "Debian 12",
    "flatcar_beta": "Flatcar Beta",
    "flatcar_stable": "Flatcar Stable",
    "rocky_9": "Rocky 9",
    "ubuntu_20_04": "Ubuntu 20.04 LTS",
    "ubuntu_22_04": "Ubuntu 22.04 LTS",
    "ubuntu_24_04": "Ubuntu 24.04 LTS",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetalSettings:
    """One simulated world of Equinix Metal."""

    projects: tuple[ProjectSettings, ...] = (ProjectSettings(id=PROJECT_ID),)
    """The projects that exist; nobody can make more."""
    keys: tuple[KeySettings, ...] = (KeySettings(token=API_KEY),)
    """The keys that are let in."""
    any_token: bool = False
    """Let every non-empty token in as a user's key; off, so that a missing secret shows."""

    plans: tuple[PlanSettings, ...] = PLANS
    """The servers for sale."""
    metros: tuple[MetroSettings, ...] = METROS
    """Where they stand."""
    operating_systems: Mapping[str, str] = field(default_factory=lambda: dict(OPERATING_SYSTEMS))
    """Slug to name."""
    reservations: tuple[ReservationSettings, ...] = ()
    """The reserved servers; none, as on-demand is the common case."""
    capacity: Mapping[str, int] = field(default_factory=dict)
    """On-demand servers that exist, by `<metro>/<plan>`; it can be changed later with `MetalSimulator.set_capacity`."""
    capacity_default: int = 1_000_000
    """On-demand servers of a plan and metro that `capacity` does not name: more than anybody orders."""
    public_ipv4_max: int | None = None
    """Devices with a public IPv4 address that a project may have; None for no limit."""

    time_scale: float = 1.0
    """How much faster devices live than in reality: 60 makes a five-minute boot last five seconds."""
    queue_for: timedelta = timedelta(seconds=20)
    """From the order until the provisioner picks it up."""
    provision_for: timedelta = timedelta(minutes=6)
    """From there until `active` or `failed`; 4.5 to 9 min were seen."""
    jitter: float = 0.0
    """The share by which `provision_for` varies up and down; none, so that tests can count."""
    deprovision_for: timedelta = timedelta(minutes=1)
    """How long an on-demand device is still seen as `deprovisioning`."""
    wipe_for: timedelta = timedelta(minutes=4)
    """The same for a reserved one, whose disks are wiped; 4 min were seen."""
    power_for: timedelta = timedelta(seconds=30)
    """How long a server takes to power on or off."""
    password_for: timedelta = timedelta(hours=24)
    """How long the root password is shown after the boot."""

    queued_deletable: bool = True
    """Whether a queued device may be deleted; unconfirmed, both are plausible."""
    second_delete_status: int = 404
    """The answer to deleting a device that is being deprovisioned: 404 or 422; unconfirmed."""
    vanished_status: int = 404
    """The answer about an on-demand device that failed: 404 or 403; both were seen."""
    per_page_max: int = 1000
    """A larger `per_page` is cut to this; the documents say 1000 here and 100 there."""
    error_body: ErrorBody = ErrorBody.MIXED
    """Which error body is sent."""

    requests_max: int | None = None
    """Requests a token may make in `requests_window`; no limit was ever published, so none by default."""
    requests_window: timedelta = timedelta(minutes=1)
    """The window in which requests are counted; not scaled."""
    retry_after: timedelta | None = timedelta(seconds=1)
    """What `Retry-After` says in a fault's 429; None sends no such header, as clients must live without it."""

    def scaled(self, span: timedelta) -> timedelta:
        """Answer how long a span of a device's life lasts on the clock."""
        return span / self.time_scale
