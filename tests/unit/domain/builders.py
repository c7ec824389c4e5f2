"""Valid records; a test states only what differs."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.domain.history import fold
from engine.domain.ids import MachineUid
from engine.domain.lifecycle import START, move
from engine.domain.machine import HistoryEntry, MachineRecord
from engine.domain.states import Place
from engine.domain.triggers import Trigger

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
UID = MachineUid("5c1d7a2e-0000-4000-8000-000000000001")


def record(**different: Any) -> MachineRecord:
    """A Machine that was just admitted."""
    plain: dict[str, Any] = {
        "uid": UID,
        "namespace": "shoot",
        "name": "worker-1",
        "place": START,
        "version": 1,
        "created_at": NOON,
        "admitted_at": NOON,
        "place_since": NOON,
        "operation_at": NOON + timedelta(seconds=1),
    }
    return MachineRecord(**plain | different)


def history(*triggers: Trigger) -> list[HistoryEntry]:
    """A history with these triggers in order, each from where the last one led."""
    entries: list[HistoryEntry] = []
    for number, trigger in enumerate(triggers, start=1):
        source = fold(entries)
        target = move(source, trigger) if source else START
        entries.append(entry(number, trigger, source, target))
    return entries


def entry(version: int, trigger: str, source: Place | None, target: Place) -> HistoryEntry:
    """One line of the history of `UID`."""
    at = NOON + timedelta(seconds=version)
    return HistoryEntry(uid=UID, version=version, at=at, trigger=trigger, source=source, target=target)


def names(values: Iterable[object]) -> list[str]:
    """What each value is called, for test ids."""
    return [str(value) for value in values]
