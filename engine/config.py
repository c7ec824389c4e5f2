"""Settings, read once: a flag wins over the environment variable `MACHINE_ENGINE_<NAME>`, and that over the default.

Every setting has its meaning, its unit and the reason for its default under it. Unknown names are refused. Settings are
handed down as values: nobody below the composition root imports this module.
"""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from engine.durations import format_duration, parse_duration
from engine.errors import ConfigurationError

PREFIX = "MACHINE_ENGINE_"
_SERVICE_LINK = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_(HOST|PORT\w*)=.*|PORT=tcp://.*|PORT_\d+_\w+=.*)")
"""What Kubernetes sets in every container beside a Service called machine-engine; none of it is a setting."""


def _span(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Span = Annotated[timedelta, BeforeValidator(_span), PlainSerializer(format_duration), Field(ge=timedelta(0))]


class Settings(BaseModel):
    """All settings of the controller."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    control_kubeconfig: str = ""
    """Where Machines live: a path, `inClusterConfig`, or empty for the same cluster as the target."""
    target_kubeconfig: str = ""
    """Where Nodes join: a path, empty for the cluster that this pod runs in, or `none` for no target cluster."""
    namespace: str = "default"
    """The namespace of Machines, MachineClasses and Secrets in the control cluster."""
    database: str = "sqlite:///machine-engine.db"
    """The database of record: `sqlite:///<path>` on a local disk, or `postgresql://<user>@<host>/<name>`."""
    metal_api_url: str = "https://api.equinix.com/metal/v1"
    """Where the Metal API answers; a simulator serves it too."""
    metal_calls_per_second: float = Field(default=10.0, gt=0)
    """How many calls an account makes a second at most; the API publishes no limit, 10 never met one."""
    address: str = "0.0.0.0"  # noqa: S104 - probes and scrapers come from outside the pod
    """Where /healthz, /readyz and /metrics are served."""
    port: int = Field(default=10259, ge=0, le=65535)
    """The port of /healthz, /readyz and /metrics; the contract's default. 0 takes a free one."""
    concurrent_syncs: int = Field(default=32, ge=1, le=512)
    """How many machines are worked on at once; more than a bare-metal cloud's rate limit can use."""
    kube_api_qps: float = Field(default=100.0, gt=0)
    """Kubernetes writes a second, per cluster; five times the Go default, because a wave should not queue here."""
    kube_api_burst: int = Field(default=200, ge=1)
    """Kubernetes writes at once before the rate counts."""
    machine_creation_timeout: Span = timedelta(minutes=20)
    """How long a Machine may take to join; the Machine may override it. The contract's default."""
    resource_exhausted_retry: Span = timedelta(minutes=10)
    """How long to wait when the cloud has no such hardware; the contract's default."""
    visibility_window: Span = timedelta(minutes=2)
    """How long the cloud's list may be wrong about a device: after a lost answer nothing is bought sooner, and one that
    is refused by its id (403) counts as gone no sooner."""
    retry_first: Span = timedelta(seconds=2)
    """The first wait after a failed attempt; it doubles with each further one."""
    retry_longest: Span = timedelta(minutes=3)
    """The longest wait between failed attempts; the contract's MediumRetry."""
    busy_retry: Span = timedelta(seconds=10)
    """How long to wait before a device that is being installed is asked for again; installing takes minutes."""
    reservation_cooldown: Span = timedelta(minutes=5)
    """How long a hardware reservation rests after its device went; wiping was seen to take four minutes."""
    poll_fastest: Span = timedelta(milliseconds=500)
    """The shortest interval between two lists of an account, while a machine waits for news."""
    poll_expecting: Span = timedelta(seconds=10)
    """The longest interval while a machine waits; it is approached step by step as nothing changes."""
    poll_quiet: Span = timedelta(seconds=60)
    """The interval while no machine waits: how soon a device that was lost is noticed."""
    sync_period: Span = timedelta(minutes=5)
    """How often everything is compared in full; watches bring the news in between."""
    machine_safety_orphan_vms_period: Span = timedelta(minutes=15)
    """How often complete lists are searched for devices that nobody owns; the contract's default."""
    orphan_age: Span = timedelta(hours=1)
    """How long a device without an owner is watched before it is returned; a backup may bring its Machine back."""
    orphan_releases_max: int = Field(default=5, ge=0)
    """Orphans returned in one sweep: a mistake of many is seen before it is carried out; 0 returns none ever."""
    history_retention: Span = timedelta(days=90)
    """How long the history of a finished life is kept."""
    breaker_list_shrink_share: float = Field(default=0.1, gt=0, le=1)
    """A list that lost more than this share of the devices, unasked, is not believed; hardware fails one by one."""
    breaker_list_shrink_devices: int = Field(default=5, ge=0)
    """A loss of no more than this many devices is believed, unless nothing is left; below it 10 % is no evidence."""
    breaker_list_confirmation: Span = timedelta(minutes=10)
    """How long lists must miss the same devices before they are believed; longer than most hiccups of an API."""
    breaker_wasted_purchases_per_hour: int = Field(default=10, ge=1)
    """So many devices of a class may fail before they serve, and one more for ten that join; a device bills an hour."""
    breaker_unasked_deletions_per_hour: int = Field(default=10, ge=1)
    """So many devices go back that no Machine's deletion asked for; a crash leaves one or two, never ten."""
    breaker_unhealthy_share: float = Field(default=0.2, gt=0, le=1)
    """With more of the Nodes unhealthy than this, at least three, health condemns nobody: that is a broken network."""
    leader_elect: bool = True
    """Whether to lead only while holding the Lease `machine-controller`, as the Go controller does."""
    leader_elect_lease_duration: Span = timedelta(seconds=15)
    """How long a lease lasts without renewal; the contract's default."""
    leader_elect_renew_deadline: Span = timedelta(seconds=10)
    """How long the leader goes on without having renewed; the contract's default."""
    leader_elect_retry_period: Span = timedelta(seconds=2)
    """How often the lease is tried or renewed; the contract's default."""
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """The least severe line that is logged: DEBUG, INFO, WARNING or ERROR."""
    log_format: str = Field(default="text", pattern="^(text|json)$")
    """`text` for people or `json` for programs."""

    @model_validator(mode="after")
    def _check_together(self) -> "Settings":
        if self.target_kubeconfig == "none" and not self.control_kubeconfig:
            raise ValueError("target-kubeconfig is none, so control-kubeconfig must name the cluster of the Machines")
        if self.orphan_age < self.visibility_window:
            raise ValueError("orphan-age must not be less than visibility-window: a list may lag that long")
        if not self.leader_elect_retry_period < self.leader_elect_renew_deadline < self.leader_elect_lease_duration:
            raise ValueError("leader election needs retry-period < renew-deadline < lease-duration")
        return self


def load(flags: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """Answer the settings: flags that were given (not None), else the environment, else the defaults.

    Raises ConfigurationError that names everything that is wrong at once.
    """
    variables = os.environ if environment is None else environment
    known = Settings.model_fields
    given: dict[str, Any] = {}
    for name, value in variables.items():
        if name.startswith(PREFIX) and not _SERVICE_LINK.fullmatch(f"{name}={value}"):
            given[name.removeprefix(PREFIX).lower()] = value
    given |= {name: value for name, value in flags.items() if value is not None}
    unknown = sorted(name for name in given if name not in known)
    if unknown:
        listed = ", ".join(f"{PREFIX}{name.upper()}" for name in unknown)
        raise ConfigurationError(f"unknown setting {listed}; `machine-engine serve --help` lists the known ones")
    try:
        return Settings(**given)
    except ValidationError as wrong:
        raise ConfigurationError("; ".join(_told(fault) for fault in wrong.errors())) from None


def _told(fault: Any) -> str:
    name = "-".join(str(part) for part in fault["loc"]).replace("_", "-")
    text = str(fault["msg"]).removeprefix("Value error, ")
    if not name:
        return text
    value = "" if name == "database" else f" (given: {str(fault['input'])[:60]!r})"
    return f"--{name}: {text}{value}"
