"""What happens to the machines, as the store tells it: each line of history once, in its order."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.clock import Clock
from engine.domain.ids import MachineUid
from engine.domain.machine import HistoryEntry, MachineFilter
from engine.ports.store import HistoryFilter, Store

_LOOK_BACK = timedelta(seconds=10)  # an entry carries the instant before its commit, so it may come a little late
ENTRIES_MAX = 5_000  # in one look: more than a wave of machines writes in that time


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened to one machine."""

    at: datetime
    machine: str
    place: str
    story: str

    def __str__(self) -> str:
        return f"{self.at.astimezone():%H:%M:%S} {self.machine} {self.place}: {self.story}"


class Feed:
    """Tells what is new since the last look."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        records = store.find(MachineFilter())
        self._told = {record.uid: record.version for record in records}
        self._names = {record.uid: record.name for record in records}
        self._looked_at = clock.now()

    def standing(self) -> list[Happening]:
        """Answer where the machines stand whose lives go on from an earlier run."""
        now = self._clock.now()
        return [
            Happening(
                at=now,
                machine=record.name,
                place=str(record.place),
                story=f"goes on with device {record.device_id}" if record.device_id else "goes on",
            )
            for record in self._store.find(MachineFilter(unfinished_only=True))
        ]

    def news(self) -> list[Happening]:
        """Answer what happened since the last look, the oldest first."""
        now = self._clock.now()
        entries = self._store.history(HistoryFilter(since=self._looked_at - _LOOK_BACK, limit=ENTRIES_MAX))
        self._looked_at = now
        return [self._happening(entry) for entry in self._untold(entries)]

    def _untold(self, entries: Iterable[HistoryEntry]) -> list[HistoryEntry]:
        found = []
        for entry in entries:
            if entry.version > self._told.get(entry.uid, 0):
                self._told[entry.uid] = entry.version
                found.append(entry)
        return found

    def _happening(self, entry: HistoryEntry) -> Happening:
        story = entry.note
        if entry.problem and entry.problem.message not in story:
            story = f"{story} ({entry.problem.code}: {entry.problem.message})"
        return Happening(at=entry.at, machine=self._name(entry.uid), place=str(entry.target), story=story)

    def _name(self, uid: MachineUid) -> str:
        if uid not in self._names:
            record = self._store.get(uid)
            self._names[uid] = record.name if record else uid
        return self._names[uid]
