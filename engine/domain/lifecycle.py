"""The one table of a machine's life, built with `transitions` and checked when it is imported.

The library holds the table and answers where a trigger leads; it holds no models and runs no callbacks, because a side
effect in a callback would happen before the commit that makes it true. This module must not know what any step does.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

from transitions import Machine, MachineError

from engine.domain.states import (
    ACTIVE_HEALTHY,
    ACTIVE_UNHEALTHY,
    DELETED_REST,
    DELETING_FINALIZE,
    DELETING_FORGET_NODE,
    DELETING_RELEASE,
    FAILED_HALT,
    PENDING_VALIDATE,
    PENDING_WAIT_CAPACITY,
    PLACES,
    PROVISIONING_INSTALL,
    PROVISIONING_JOIN,
    PROVISIONING_ORDER,
    Place,
    State,
)
from engine.domain.triggers import Trigger
from engine.errors import EngineError


class IllegalMoveError(EngineError):
    """The table has no such move: the caller is wrong, and nothing is written."""


class Edge(NamedTuple):
    """One row of the table: the trigger leads from any of the sources to the target; no target means "stay"."""

    trigger: Trigger
    sources: tuple[Place, ...]
    target: Place | None


START: Final = PENDING_VALIDATE
"""Where every life begins, with the trigger `Trigger.ADMITTED`."""

_WANTING = (PENDING_VALIDATE, PENDING_WAIT_CAPACITY, PROVISIONING_ORDER)
_BOUGHT = (PROVISIONING_INSTALL, PROVISIONING_JOIN)
_SERVING = (ACTIVE_HEALTHY, ACTIVE_UNHEALTHY)
_LEAVING = (DELETING_RELEASE, DELETING_FORGET_NODE, DELETING_FINALIZE)

EDGES: Final[tuple[Edge, ...]] = (
    Edge(Trigger.VALIDATED, (PENDING_VALIDATE,), PROVISIONING_ORDER),
    Edge(Trigger.DEVICE_ORDERED, (PROVISIONING_ORDER,), PROVISIONING_INSTALL),
    Edge(Trigger.ORDER_RESOLVED, (PROVISIONING_ORDER, FAILED_HALT, DELETING_RELEASE), None),
    Edge(Trigger.DEVICE_ADOPTED, _WANTING, PROVISIONING_INSTALL),
    Edge(Trigger.CAPACITY_REFUSED, (PROVISIONING_ORDER,), PENDING_WAIT_CAPACITY),
    Edge(Trigger.CAPACITY_AWAITED, (PENDING_WAIT_CAPACITY,), PROVISIONING_ORDER),
    Edge(Trigger.DEVICE_ACTIVATED, (PROVISIONING_INSTALL,), PROVISIONING_JOIN),
    Edge(Trigger.DEVICE_READIED, _BOUGHT, ACTIVE_HEALTHY),
    Edge(Trigger.NODE_JOINED, _BOUGHT, ACTIVE_HEALTHY),
    Edge(Trigger.NODE_REPORTED, _SERVING, None),
    Edge(Trigger.HEALTH_LOST, (ACTIVE_HEALTHY,), ACTIVE_UNHEALTHY),
    Edge(Trigger.HEALTH_REGAINED, (ACTIVE_UNHEALTHY,), ACTIVE_HEALTHY),
    Edge(Trigger.ATTEMPT_FAILED, (*_WANTING, *_BOUGHT, *_SERVING, FAILED_HALT, *_LEAVING), None),
    Edge(Trigger.DEVICE_FAILED, _BOUGHT, FAILED_HALT),
    Edge(Trigger.DEVICE_LOST, (*_BOUGHT, *_SERVING), FAILED_HALT),
    Edge(Trigger.CREATION_TIMED_OUT, (*_WANTING, *_BOUGHT), FAILED_HALT),
    Edge(Trigger.OBJECT_LOST, (*_WANTING, *_BOUGHT, *_SERVING), FAILED_HALT),
    Edge(Trigger.RECOVERED, (FAILED_HALT,), ACTIVE_HEALTHY),
    Edge(Trigger.RETRIED, (FAILED_HALT,), PENDING_VALIDATE),
    Edge(Trigger.DELETION_REQUESTED, (*_WANTING, *_BOUGHT, *_SERVING, FAILED_HALT), DELETING_RELEASE),
    Edge(Trigger.RELEASE_ACCEPTED, (*_BOUGHT, *_SERVING, FAILED_HALT, DELETING_RELEASE), None),
    Edge(Trigger.DUPLICATE_FOUND, (*_BOUGHT, *_SERVING), None),
    Edge(Trigger.DEVICE_GONE, (DELETING_RELEASE,), DELETING_FORGET_NODE),
    Edge(Trigger.NODE_FORGOTTEN, (DELETING_FORGET_NODE,), DELETING_FINALIZE),
    Edge(Trigger.FINALIZED, (*_LEAVING, FAILED_HALT), DELETED_REST),
    Edge(Trigger.OBJECT_RESTORED, (DELETED_REST,), FAILED_HALT),
)
"""The whole table. A life that never bought anything may end from any step of its deletion."""


class _Cursor:
    """The least that the library needs to know of a machine: where it stands."""

    __slots__ = ("state",)

    def __init__(self, state: str) -> None:
        self.state = state


def _build() -> Machine:
    table = Machine(
        model=None,
        states=[str(place) for place in PLACES],
        initial=str(START),
        auto_transitions=False,
        send_event=True,
    )
    for edge in EDGES:
        target = "=" if edge.target is None else str(edge.target)
        table.add_transition(edge.trigger.value, [str(place) for place in edge.sources], target)
    return table


_TABLE: Final = _build()
_BY_NAME: Final = {str(place): place for place in PLACES}


@cache  # the table never changes, and asking `transitions` costs a hundred times a look into a dictionary
def move(place: Place, trigger: Trigger) -> Place:
    """Answer where the trigger leads from this place.

    Raises IllegalMoveError when the table has no such row.
    """
    cursor = _Cursor(str(place))
    try:
        _TABLE.events[trigger.value].trigger(cursor)
    except (MachineError, KeyError) as refused:
        raise IllegalMoveError(f"no move {trigger} from {place}") from refused
    return _BY_NAME[cursor.state]


def triggers_from(place: Place) -> frozenset[Trigger]:
    """Answer the triggers that the table knows for this place."""
    return frozenset(Trigger(name) for name in _TABLE.get_triggers(str(place)))


def faults_of(edges: Iterable[Edge], places: Iterable[Place], start: Place, final: State) -> list[str]:
    """Answer what is wrong with a table, in words: unknown places, shadowed rows, unreachable places, dead ends.

    `transitions` accepts all of these when it builds its table, hence this check of our own.
    """
    edges, known = tuple(edges), set(places)
    reached = _closure(start, edges)
    faults = [f"unknown place {place}" for place in sorted(_mentioned(edges) - known)]
    faults += [f"shadowed row: {trigger} from {place}" for trigger, place in _repeated(edges)]
    faults += [f"unreachable place {place}" for place in sorted(known - reached)]
    for place in sorted(known):
        if not any(seen.state is final for seen in _closure(place, edges)):
            faults.append(f"dead end: nothing leads from {place} to {final}")
    return faults


def _mentioned(edges: tuple[Edge, ...]) -> set[Place]:
    return {place for edge in edges for place in (*edge.sources, *([edge.target] if edge.target else []))}


def _repeated(edges: tuple[Edge, ...]) -> list[tuple[Trigger, Place]]:
    pairs = [(edge.trigger, place) for edge in edges for place in edge.sources]
    return sorted({pair for pair in pairs if pairs.count(pair) > 1})


def _closure(start: Place, edges: tuple[Edge, ...]) -> set[Place]:
    reached, fresh = {start}, [start]
    while fresh:
        place = fresh.pop()
        targets = {edge.target for edge in edges if place in edge.sources and edge.target}
        fresh.extend(targets - reached)
        reached |= targets
    return reached


_FAULTS: Final = faults_of(EDGES, PLACES, START, State.DELETED)
if _FAULTS:
    raise IllegalMoveError("the table of lives is broken: " + "; ".join(_FAULTS))
