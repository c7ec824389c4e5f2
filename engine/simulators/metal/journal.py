"""What truly happened, whoever was told: the ground truth that tests and the demo compare the engine with."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

ENTRIES_MAX = 100_000
"""Entries that are kept; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened to a device: created, active, failed, deleted (its bill ended) or gone."""

    number: int
    at: datetime
    what: str
    device: str
    hostname: str
    tags: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device as it is at this moment, to be looked at from outside."""

    id: str
    hostname: str
    project: str
    state: str
    tags: tuple[str, ...]
    plan: str
    metro: str
    operating_system: str
    userdata: str
    reservation: str | None
    public_address: str | None
    private_address: str | None
    created_at: datetime
    active_at: datetime | None
    ended_at: datetime | None

    def billed_at(self, instant: datetime) -> bool:
        """Whether it cost money then: from the order until the delete or until it vanished."""
        return self.created_at <= instant and (self.ended_at is None or instant < self.ended_at)


class Journal:
    """Entries in the order in which they happened, and the number of calls."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """Requests by operation, those that were refused or lost among them."""
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_MAX)
        self._recorded = 0

    def record(
        self, at: datetime, what: str, device: str, hostname: str, tags: tuple[str, ...], note: str = ""
    ) -> None:
        """Add an entry."""
        self._recorded += 1
        self._entries.append(
            Entry(number=self._recorded, at=at, what=what, device=device, hostname=hostname, tags=tags, note=note)
        )

    def entries(self, *, after: int = 0, what: str | None = None) -> list[Entry]:
        """Answer the entries with a higher number, of one kind if it is named."""
        return [entry for entry in self._entries if entry.number > after and what in {None, entry.what}]


def most_at_once(views: Iterable[DeviceView], *, tag_prefix: str) -> dict[str, int]:
    """Answer for each tag with the prefix how many devices with it were billed at one time at most."""
    changes: dict[str, list[tuple[datetime, int]]] = {}
    for view in views:
        for tag in set(view.tags):
            if tag.startswith(tag_prefix):
                changes.setdefault(tag, []).append((view.created_at, 1))
                if view.ended_at:
                    changes[tag].append((view.ended_at, -1))
    return {tag: _peak(sorted(found)) for tag, found in changes.items()}


def _peak(changes: list[tuple[datetime, int]]) -> int:
    # Sorted, an end comes before a beginning of the same instant: a successor ordered then does not overlap.
    level = peak = 0
    for _, change in changes:
        level += change
        peak = max(peak, level)
    return peak
