"""A history explains a record: folding the entries gives the place where the machine stands."""

from collections.abc import Sequence

from engine.domain.lifecycle import START, IllegalMoveError, move
from engine.domain.machine import HistoryEntry
from engine.domain.states import Place
from engine.domain.triggers import Trigger

_KNOWN = frozenset(Trigger)


def fold(entries: Sequence[HistoryEntry]) -> Place | None:
    """Answer where a history ends, None for an empty one.

    Raises IllegalMoveError when it has a gap, does not begin with an admission, or contains a move that the table
    does not know.
    """
    place: Place | None = None
    for number, entry in enumerate(entries, start=1):
        if entry.version != number:
            raise IllegalMoveError(f"machine {entry.uid}: history has entry {entry.version} where {number} belongs")
        place = _follow(place, entry)
    return place


def _follow(place: Place | None, entry: HistoryEntry) -> Place:
    if place is None:
        if (entry.trigger, entry.source, entry.target) != (Trigger.ADMITTED, None, START):
            raise IllegalMoveError(f"machine {entry.uid}: history begins with {entry.trigger}, not with an admission")
        return START
    if entry.trigger not in _KNOWN:
        raise IllegalMoveError(f"machine {entry.uid}: entry {entry.version} has the unknown trigger {entry.trigger}")
    target = move(place, Trigger(entry.trigger))
    if (entry.source, entry.target) != (place, target):
        raise IllegalMoveError(f"machine {entry.uid}: entry {entry.version} claims {entry.source} to {entry.target}")
    return target
