"""What the watches of one simulated cluster have shown so far, and all the ways in which that is not the truth.

A watch can lag, lose events, go back to an older state, or answer that nothing is there; a writer still reads its own
words at once, as the answers to its writes tell it.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from engine.clock import Clock
from engine.domain.wanted import ClassObject, MachineObject, NodeObject, SecretObject
from engine.ports.cluster import Kind

Thing = MachineObject | ClassObject | SecretObject | NodeObject
Things = dict[Kind, dict[str, Thing]]

REWIND_MAX = timedelta(minutes=10)
"""How far a watch can go back; older changes are kept as their result only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One change at the API server; without a thing, the object of this uid ended."""

    at: datetime
    kind: Kind
    name: str
    uid: str
    thing: Thing | None


class Watch:
    """Objects by kind and name as a reader sees them; `tell` is called for each change that becomes visible."""

    def __init__(self, *, clock: Clock, tell: Callable[[Kind, str, bool], None]) -> None:
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
        self._shown = _nothing()
        self._names: dict[str, str] = {}
        self._buried: set[str] = set()
        """Uids whose end a writer knows before the watch tells it: late news do not bring them back."""
        self._under_way: deque[tuple[datetime, Happened]] = deque()
        self._past: deque[Happened] = deque()
        self._long_ago = _nothing()

    def shown(self, kind: Kind) -> Mapping[str, Thing]:
        """Answer what is shown of a kind, by name."""
        return self._shown[kind]

    def shown_by_uid(self, kind: Kind, uid: str) -> Thing | None:
        """Answer the object with this uid."""
        found = self._shown[kind].get(self._names.get(uid, ""))
        return found if found and found.uid == uid else None

    def note(self, happened: Happened, *, own: bool) -> None:
        """Take note of a change at the API server: the writer's own is visible at once, that of others in time."""
        self._names[happened.uid] = happened.name
        self._keep(happened)
        if happened.thing is not None:
            # A backup may bring back an object that had ended, with the uid that it had.
            self._buried.discard(happened.uid)
        elif own:
            self._buried.add(happened.uid)
        if own or not (self.lag or self.deaf or self._under_way):
            self._show(happened)
        elif not self.deaf:
            self._under_way.append((self._due(happened), happened))

    def answer(self, kind: Kind, thing: Thing) -> None:
        """Show what the answer to a write tells of an object that is shown: a reader learns that much at once."""
        held = self._shown[kind].get(thing.name)
        if held is not None and held.uid == thing.uid:
            self._show(Happened(at=self._clock.now(), kind=kind, name=thing.name, uid=thing.uid, thing=thing))

    def deliver(self) -> None:
        """Show what has been under way long enough."""
        while self._under_way and self._under_way[0][0] <= self._clock.now():
            self._show(self._under_way.popleft()[1])

    def relist(self, truth: Mapping[Kind, Mapping[str, Thing]]) -> None:
        """Show everything as it is, as a watch that begins anew does."""
        self._under_way.clear()
        self._buried.clear()
        self._turn_to(
            {
                kind: {name: thing for name, thing in held.items() if not self._is_hidden(kind, name)}
                for kind, held in truth.items()
            }
        )

    def rewind(self, span: timedelta) -> None:
        """Show everything as it was: the reader is connected to an API server that is behind by this span.

        It stays behind: what happened since comes again, so much later.
        """
        then = self._clock.now() - span
        self.lag = span
        before = {kind: dict(things) for kind, things in self._long_ago.items()}
        for each in self._past:
            if each.at <= then:
                _apply(before, each)
        self._under_way = deque((each.at + span, each) for each in self._past if each.at > then)
        self._buried.clear()
        self._turn_to(before)

    def forget(self) -> None:
        """Show nothing, and tell nobody: the reader is gone."""
        self._under_way.clear()
        self._buried.clear()
        self._shown = _nothing()

    def _due(self, happened: Happened) -> datetime:
        """A watch that lags less than it did still tells everything in order."""
        due = happened.at + self.lag
        return max(due, self._under_way[-1][0]) if self._under_way else due

    def _turn_to(self, shown: Things) -> None:
        before, self._shown = self._shown, shown
        gone = ((kind, name) for kind, name in _keys(before) if name not in shown[kind])
        for kind, name in list(chain(_keys(shown), gone)):
            self._announce(kind, name)

    def _show(self, happened: Happened) -> None:
        kind, name, thing = happened.kind, happened.name, happened.thing
        held = self._shown[kind].get(name)
        if thing is None:
            if held is not None and held.uid == happened.uid:
                del self._shown[kind][name]
                self._announce(kind, name)
            return
        outdated = held is not None and int(held.resource_version) >= int(thing.resource_version)
        if not (outdated or thing.uid in self._buried or self._is_hidden(kind, name)):
            self._shown[kind][name] = thing
            self._announce(kind, name)

    def _is_hidden(self, kind: Kind, name: str) -> bool:
        return bool(self.hidden) and (kind in self.hidden or (kind, name) in self.hidden)

    def _announce(self, kind: Kind, name: str) -> None:
        if not self.mute:
            self._tell(kind, name, name not in self._shown[kind])

    def _keep(self, happened: Happened) -> None:
        self._past.append(happened)
        while self._past[0].at < happened.at - REWIND_MAX:
            _apply(self._long_ago, self._past.popleft())


def _nothing() -> Things:
    return {kind: {} for kind in Kind}


def _keys(things: Things) -> Iterator[tuple[Kind, str]]:
    return ((kind, name) for kind, held in things.items() for name in held)


def _apply(things: Things, happened: Happened) -> None:
    if happened.thing is None:
        things[happened.kind].pop(happened.name, None)
    else:
        things[happened.kind][happened.name] = happened.thing
