"""Which classes waste what they buy: a count of each, and whether it may buy freely, one at a time, or not at all.

Not safe from threads by itself; whoever holds it has the lock.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import ClassVar, Final

from engine.domain.breakers import WINDOW, Limits, too_many_wasted, wasted
from engine.domain.ids import MachineUid
from engine.domain.machine import HistoryEntry
from engine.domain.states import State
from engine.domain.triggers import Trigger
from engine.workflow.rate import Rate

_TRY_SECONDS: Final = timedelta(minutes=2).total_seconds()
_SERVES: Final = frozenset({Trigger.NODE_JOINED, Trigger.DEVICE_READIED})
_ENDS: Final = frozenset(
    {Trigger.DEVICE_FAILED, Trigger.DEVICE_LOST, Trigger.CREATION_TIMED_OUT, Trigger.DELETION_REQUESTED}
)
_BUYS: Final = frozenset({Trigger.DEVICE_ORDERED, Trigger.DEVICE_ADOPTED})
_BUYING: Final = frozenset({State.PENDING, State.PROVISIONING})


class Gate(Enum):
    """What a class may buy."""

    CLOSED = "closed"
    """Whatever is wanted: the breaker is closed."""
    TRIAL = "trial"
    """One device at a time, until one serves."""
    OPEN = "open"
    """Nothing: the breaker is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a machine may buy, and how the gate of its class stands."""

    admitted: bool
    gate: Gate


@dataclass(slots=True)
class _Class:
    wasted: Rate = field(default_factory=lambda: Rate(WINDOW))
    joined: Rate = field(default_factory=lambda: Rate(WINDOW))
    gate: Gate = Gate.CLOSED
    trying: MachineUid | None = None
    trying_until: float = 0.0


class Purchases:
    """The purchases of each class that came to nothing, and what follows from them."""

    TRIGGERS: ClassVar = frozenset(
        {str(each) for each in (*_SERVES, *_ENDS, Trigger.DEVICE_ACTIVATED, Trigger.DUPLICATE_FOUND)}
    )
    """The lines of history that count."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._classes: dict[str, _Class] = {}
        self._up: dict[MachineUid, datetime] = {}

    def note(self, class_name: str, entry: HistoryEntry, at: float) -> bool:
        """Count one line of history; answer whether it tells of a device that was given back unasked."""
        if entry.trigger == Trigger.DEVICE_ACTIVATED:
            self._up[entry.uid] = entry.at
        held = self._classes.setdefault(class_name, _Class())
        if entry.trigger in _BUYS and held.trying == entry.uid:
            held.trying_until = at + WINDOW.total_seconds()
        if entry.trigger in _SERVES:
            held.joined.add(at)
            if held.gate is Gate.TRIAL:
                held.gate, held.trying = Gate.CLOSED, None
        if wasted(entry, self._up.get(entry.uid)):
            held.wasted.add(at)
        if entry.target.state not in _BUYING:
            self._up.pop(entry.uid, None)
            if held.trying == entry.uid:
                held.trying = None
        return entry.trigger == Trigger.DUPLICATE_FOUND

    def doubt(self) -> None:
        """After a restart, a class that wasted half of what it may begins with one device at a time."""
        for held in self._classes.values():
            if held.wasted.size and 2 * held.wasted.size >= self._limits.wasted_purchases_per_hour:
                held.gate = Gate.TRIAL

    def changes(self, now: float) -> Iterator[tuple[str, Gate]]:
        """Yield the classes whose breaker opened or closed, having changed their gates."""
        for name, held in self._classes.items():
            too_many = too_many_wasted(held.wasted.count(now), held.joined.count(now), self._limits)
            if too_many and held.gate is not Gate.OPEN:
                held.gate = Gate.OPEN
                yield name, held.gate
            elif not too_many and held.gate is Gate.OPEN:
                held.gate, held.trying = Gate.TRIAL, None
                yield name, held.gate

    def admit(self, class_name: str, uid: MachineUid, now: float) -> Verdict:
        """Answer whether this machine may buy; on trial, a machine that may holds the place of the one that tries."""
        held = self._classes.get(class_name)
        if held is None or held.gate is not Gate.TRIAL:
            gate = held.gate if held else Gate.CLOSED
            return Verdict(admitted=gate is Gate.CLOSED, gate=gate)
        if held.trying not in {None, uid} and now < held.trying_until:
            return Verdict(admitted=False, gate=held.gate)
        held.trying, held.trying_until = uid, now + _TRY_SECONDS
        return Verdict(admitted=True, gate=held.gate)

    def wasted(self, class_name: str) -> int:
        """Answer how many purchases of this class came to nothing, as counted last."""
        held = self._classes.get(class_name)
        return held.wasted.size if held else 0

    def forgive(self) -> None:
        """Forget what was wasted, and let every class buy freely."""
        for held in self._classes.values():
            held.wasted.clear()
            held.gate, held.trying = Gate.CLOSED, None
