"""What the watches of one simulated cluster have shown so far, and all the ways in which that is not the truth.

A watch can lag, lose events, go back to an older state, or answer that nothing is there. What a reader makes of it is
the production cache's doing: here are only the lists, the events and the answers that it is fed with.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from engine.clock import Clock
from engine.cluster.cache import Cache, Change
from engine.cluster.nodes import node_cache
from engine.domain.wanted import ClassObject, MachineObject, NodeObject, SecretObject
from engine.ports.cluster import Kind

Thing = MachineObject | ClassObject | SecretObject | NodeObject
Things = dict[Kind, dict[str, Thing]]

REWIND_MAX = timedelta(minutes=10)
"""How far a watch can go back; older changes are kept as their result only."""


class Answer(Enum):
    """What the answer to a write tells its writer at once."""

    NOTHING = "nothing"
    """The writer is somebody else, or is not shown the object."""
    OPEN = "open"
    """The object as it is now, with whatever others did to it meanwhile."""
    GUARDED = "guarded"
    """The same, for a write that named the version it began with: nobody did anything meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One change at the API server; without a thing, the object of this uid ended."""

    at: datetime
    version: int
    """The API server's count of changes."""
    kind: Kind
    name: str
    uid: str
    thing: Thing | None


class Watch:
    """Feeds a cache for each kind; `tell` is called for each change that a listener should hear of."""

    def __init__(self, *, clock: Clock, tell: Callable[[Kind, Change], None]) -> None:
        self.lag = timedelta(0)
        """How long a change takes to become readable; a writer sees its own at once."""
        self.deaf = False
        """Whether changes are lost on the way: only a list shows them."""
        self.mute = False
        """Whether changes become readable and nobody is told."""
        self.hidden: Collection[Kind | tuple[Kind, str]] = ()
        """Whole kinds, or single objects by kind and name, that no list and no event shows."""
        self._clock = clock
        self._tell = tell
        self._caches = _empty()
        self._under_way: deque[tuple[datetime, Happened]] = deque()
        self._past: deque[Happened] = deque()
        self._long_ago: Things = {kind: {} for kind in Kind}
        self._long_ago_version = 0

    def shown(self, kind: Kind, name: str) -> Thing | None:
        """Answer the object of this name."""
        found: Thing | None = self._caches[kind].get(name)
        return found

    def shown_by_key(self, kind: Kind, key: str) -> Thing | None:
        """Answer the object with this second key: the uid, of a Node the device at the end of its providerID."""
        found: Thing | None = self._caches[kind].find(key)
        return found

    def all_shown(self, kind: Kind) -> Sequence[Thing]:
        """Answer every object of a kind."""
        return self._caches[kind].all()

    def note(self, happened: Happened, answer: Answer) -> None:
        """Take note of a change at the API server: its writer is answered at once, its event comes in time."""
        self._keep(happened)
        if answer is not Answer.NOTHING:
            self._answer(happened, guarded=answer is Answer.GUARDED)
        if not (self.lag or self.deaf or self._under_way):
            self._show(happened)
        elif not self.deaf:
            self._under_way.append((self._due(happened), happened))

    def answer(self, kind: Kind, thing: Thing) -> None:
        """Answer a read, or a write that changed nothing."""
        self._caches[kind].answer(thing, guarded=False)

    def deliver(self) -> None:
        """Show what has been under way long enough."""
        while self._under_way and self._under_way[0][0] <= self._clock.now():
            self._show(self._under_way.popleft()[1])

    def relist(self, truth: Mapping[Kind, Mapping[str, Thing]], version: int) -> None:
        """List everything as it is, as a watch that begins anew does."""
        self._under_way.clear()
        self._list(truth, version)

    def rewind(self, span: timedelta) -> None:
        """List everything as it was: the reader is connected to an API server that is behind by this span.

        It stays behind: what happened since comes again, so much later.
        """
        then = self._clock.now() - span
        self.lag = span
        before = {kind: dict(things) for kind, things in self._long_ago.items()}
        version = self._long_ago_version
        for each in self._past:
            if each.at <= then:
                version = _apply(before, each)
        self._under_way = deque((each.at + span, each) for each in self._past if each.at > then)
        self._list(before, version)

    def forget(self) -> None:
        """Show nothing, and tell nobody: the reader is gone."""
        self._under_way.clear()
        self._caches = _empty()

    def _due(self, happened: Happened) -> datetime:
        """A watch that lags less than it did still tells everything in order."""
        due = happened.at + self.lag
        return max(due, self._under_way[-1][0]) if self._under_way else due

    def _answer(self, happened: Happened, *, guarded: bool) -> None:
        cache = self._caches[happened.kind]
        if happened.thing is None:
            cache.bury(happened.name, happened.uid)
        else:
            cache.answer(happened.thing, guarded=guarded)

    def _list(self, things: Mapping[Kind, Mapping[str, Thing]], version: int) -> None:
        for kind, held in things.items():
            found = {name: thing for name, thing in held.items() if not self._is_hidden(kind, name)}
            for change in self._caches[kind].replace(found, version=str(version), unreadable=()):
                self._announce(kind, change)

    def _show(self, happened: Happened) -> None:
        cache = self._caches[happened.kind]
        if happened.thing is None:
            self._announce(happened.kind, cache.drop(happened.name, happened.uid))
        elif not self._is_hidden(happened.kind, happened.name):
            self._announce(happened.kind, cache.apply(happened.thing))

    def _is_hidden(self, kind: Kind, name: str) -> bool:
        return bool(self.hidden) and (kind in self.hidden or (kind, name) in self.hidden)

    def _announce(self, kind: Kind, change: Change | None) -> None:
        if change and not self.mute:
            self._tell(kind, change)

    def _keep(self, happened: Happened) -> None:
        self._past.append(happened)
        while self._past[0].at < happened.at - REWIND_MAX:
            self._long_ago_version = _apply(self._long_ago, self._past.popleft())


def _empty() -> dict[Kind, Cache[Any]]:
    return {kind: node_cache() if kind is Kind.NODE else Cache() for kind in Kind}


def _apply(things: Things, happened: Happened) -> int:
    if happened.thing is None:
        things[happened.kind].pop(happened.name, None)
    else:
        things[happened.kind][happened.name] = happened.thing
    return happened.version
