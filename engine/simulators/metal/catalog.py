"""What is for sale and where: plans, metros, operating systems, projects with their keys, stock and reservations.

Ids are derived from names, so that they are the same in every run.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from engine.simulators.metal.settings import (
    PROJECT_ID,
    SSH_KEY_ID,
    MetalSettings,
    MetroSettings,
    PlanSettings,
    ReservationSettings,
)

PREFIX = "/metal/v1"
"""The path under which the API lives; every `href` starts with it."""


def named_uuid(*names: str) -> str:
    """Answer the UUID that belongs to these names."""
    return str(uuid5(NAMESPACE_URL, "/".join(names)))


def href(*parts: str) -> dict[str, str]:
    """Answer a reference to something in the API."""
    return {"href": "/".join((PREFIX, *parts))}


@dataclass(slots=True, kw_only=True)
class SshKey:
    """A public key of a project."""

    id: str
    project: str
    label: str
    key: str
    tags: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Reservation:
    """A reserved server; it holds its device until the wipe that follows the deletion is over."""

    id: str
    project: str
    plan: str
    metro: str
    created_at: datetime
    device: str | None = None

    @property
    def provisionable(self) -> bool:
        """Whether a device can be ordered on it now."""
        return self.device is None


class Stock:
    """How many on-demand servers there are, and how many of them are taken."""

    def __init__(self, settings: MetalSettings) -> None:
        self._exist = dict(settings.capacity)
        self._default = settings.capacity_default
        self._taken: Counter[str] = Counter()

    def free(self, metro: str, plan: str) -> int:
        """Answer how many can be ordered now."""
        shelf = f"{metro}/{plan}"
        return max(0, self._exist.get(shelf, self._default) - self._taken[shelf])

    def resize(self, metro: str, plan: str, servers: int) -> None:
        """Let that many servers exist; those that are taken stay so."""
        self._exist[f"{metro}/{plan}"] = servers

    def take(self, metro: str, plan: str) -> None:
        """Take one from the shelf."""
        self._taken[f"{metro}/{plan}"] += 1

    def give_back(self, metro: str, plan: str) -> None:
        """Put one back."""
        self._taken[f"{metro}/{plan}"] -= 1

    def sizes(self) -> dict[str, int]:
        """Answer how many exist, where that was ever said."""
        return dict(self._exist)


class Catalog:
    """The settings with ids, by slug and code."""

    def __init__(self, settings: MetalSettings, now: datetime) -> None:
        self.opened_at = now
        self.plans = {plan.slug: plan for plan in settings.plans}
        self.metros = {metro.code: metro for metro in settings.metros}
        self.operating_systems = dict(settings.operating_systems)
        self.projects = {project.id: project for project in settings.projects}
        self.stock = Stock(settings)
        self.ssh_keys = _ssh_keys(settings)
        self.reservations = _reservations(settings, now)
        self._plan_ids = {named_uuid("plan", slug): slug for slug in self.plans}
        self._metro_ids = {named_uuid("metro", code): code for code in self.metros}
        self._facilities = {metro.facility: metro.code for metro in settings.metros}

    def plan(self, slug_or_id: str) -> PlanSettings | None:
        """Answer the plan of this slug or id."""
        return self.plans.get(self._plan_ids.get(slug_or_id, slug_or_id))

    def metro(self, code_or_id: str) -> MetroSettings | None:
        """Answer the metro of this code or id."""
        return self.metros.get(self._metro_ids.get(code_or_id, code_or_id).lower())

    def metro_of_facility(self, facility: str) -> MetroSettings | None:
        """Answer the metro in which this facility stands."""
        return self.metros.get(self._facilities.get(facility, ""))

    def sold(self, plan: PlanSettings, metro: str) -> bool:
        """Answer whether the plan is sold in the metro at all."""
        return metro in self.metros and (not plan.metros or metro in plan.metros)

    def keys_of(self, project: str) -> list[SshKey]:
        """Answer the SSH keys of a project."""
        return [key for key in self.ssh_keys.values() if key.project == project]

    def reservations_of(self, project: str) -> list[Reservation]:
        """Answer the reserved servers of a project."""
        return [reservation for reservation in self.reservations.values() if reservation.project == project]


def _ssh_keys(settings: MetalSettings) -> dict[str, SshKey]:
    keys = [
        SshKey(
            id=SSH_KEY_ID if number == 0 and project.id == PROJECT_ID else named_uuid("ssh-key", project.id, label),
            project=project.id,
            label=label,
            key=f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAISIMULATED {label}",
        )
        for project in settings.projects
        for number, label in enumerate(project.ssh_keys)
    ]
    return {key.id: key for key in keys}


def _reservations(settings: MetalSettings, now: datetime) -> dict[str, Reservation]:
    made = [
        Reservation(
            id=reservation_id,
            project=group.project,
            plan=group.plan,
            metro=group.metro,
            created_at=now,
        )
        for group in settings.reservations
        for reservation_id in group.ids or _made_up(group)
    ]
    return {reservation.id: reservation for reservation in made}


def _made_up(group: ReservationSettings) -> list[str]:
    shelf = (group.project, group.metro, group.plan)
    return [named_uuid("reservation", *shelf, str(number)) for number in range(group.count)]
