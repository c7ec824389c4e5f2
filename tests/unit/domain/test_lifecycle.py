"""The table of lives, against a drawing of it that was made independently."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.lifecycle import EDGES, START, Edge, IllegalMoveError, faults_of, move, triggers_from
from engine.domain.states import DELETED_REST, PLACES, Place, State, Step
from engine.domain.triggers import Trigger

BEFORE_PURCHASE = "Pending/validate Pending/wait-capacity Provisioning/order"
BOUGHT = "Provisioning/install Provisioning/join"
SERVING = "Active/healthy Active/unhealthy"
HALTED = "Failed/halt"
LEAVING = "Deleting/release Deleting/forget-node Deleting/finalize"

# trigger | from any of | to, or "stays"
DRAWN = f"""
validated           | Pending/validate                                       | Provisioning/order
device-ordered      | Provisioning/order                                     | Provisioning/install
order-resolved      | Provisioning/order Failed/halt Deleting/release        | stays
device-adopted      | {BEFORE_PURCHASE}                                      | Provisioning/install
capacity-refused    | Provisioning/order                                     | Pending/wait-capacity
capacity-awaited    | Pending/wait-capacity                                  | Provisioning/order
device-activated    | Provisioning/install                                   | Provisioning/join
device-readied      | {BOUGHT}                                               | Active/healthy
node-joined         | {BOUGHT}                                               | Active/healthy
node-reported       | {SERVING}                                              | stays
health-lost         | Active/healthy                                         | Active/unhealthy
health-regained     | Active/unhealthy                                       | Active/healthy
attempt-failed      | {BEFORE_PURCHASE} {BOUGHT} {SERVING} {HALTED} {LEAVING}| stays
device-failed       | {BOUGHT}                                               | Failed/halt
device-lost         | {BOUGHT} {SERVING}                                     | Failed/halt
creation-timed-out  | {BEFORE_PURCHASE} {BOUGHT}                             | Failed/halt
object-lost         | {BEFORE_PURCHASE} {BOUGHT} {SERVING}                   | Failed/halt
recovered           | Failed/halt                                            | Active/healthy
retried             | Failed/halt                                            | Pending/validate
deletion-requested  | {BEFORE_PURCHASE} {BOUGHT} {SERVING} {HALTED}          | Deleting/release
release-accepted    | {BOUGHT} {SERVING} {HALTED} Deleting/release           | stays
duplicate-found     | {BOUGHT} {SERVING}                                     | stays
device-gone         | Deleting/release                                       | Deleting/forget-node
node-forgotten      | Deleting/forget-node                                   | Deleting/finalize
finalized           | {LEAVING} {HALTED}                                     | Deleted/rest
object-restored     | Deleted/rest                                           | Failed/halt
"""


def drawn_moves() -> dict[tuple[str, str], str]:
    """From place and trigger to the place where the drawing leads."""
    moves = {}
    for line in DRAWN.strip().splitlines():
        trigger, sources, target = (part.strip() for part in line.split("|"))
        for source in sources.split():
            moves[source, trigger] = source if target == "stays" else target
    return moves


MOVES = drawn_moves()


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("trigger", Trigger)
def test_move_leads_where_the_drawing_leads(place: Place, trigger: Trigger) -> None:
    """Every place answers every trigger as drawn: with the drawn place, or with a refusal."""
    target = MOVES.get((str(place), trigger.value))

    if target is None:
        with pytest.raises(IllegalMoveError, match=f"no move {trigger} from {place}"):
            move(place, trigger)
    else:
        assert str(move(place, trigger)) == target


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_triggers_from_place_are_the_drawn_ones(place: Place) -> None:
    """The console offers exactly what the table allows."""
    assert triggers_from(place) == {Trigger(trigger) for source, trigger in MOVES if source == str(place)}


def test_admission_moves_nothing() -> None:
    """A life begins once: no place knows the admission as a move."""
    assert all(Trigger.ADMITTED not in triggers_from(place) for place in PLACES)


def test_every_place_but_the_last_may_be_told_to_delete_or_is_deleting() -> None:
    """A deletion is never refused: each unfinished place knows it, or is on its way out already."""
    for place in PLACES:
        deletable = Trigger.DELETION_REQUESTED in triggers_from(place)
        assert deletable != (place.state in {State.DELETING, State.DELETED})


def test_finished_life_knows_the_return_of_its_object_only() -> None:
    """Nothing else happens to a machine whose life is over."""
    assert triggers_from(DELETED_REST) == {Trigger.OBJECT_RESTORED}


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(Trigger), max_size=40))
def test_no_walk_leaves_the_table(walk: list[Trigger]) -> None:
    """Whatever triggers arrive, a machine stands at a known place, and never leaves its deletion but forwards."""
    place = START
    for trigger in walk:
        was = place
        if trigger in triggers_from(place):
            place = move(place, trigger)
        assert place in PLACES
        assert was.state is not State.DELETING or place.state in {State.DELETING, State.DELETED}


A, B, C, END = (Place(State.PENDING, step) for step in (Step.VALIDATE, Step.ORDER, Step.JOIN, Step.REST))
LAST = Place(State.DELETED, Step.REST)


def test_faults_of_the_real_table_are_none() -> None:
    """The table that the engine runs has no fault."""
    assert faults_of(EDGES, PLACES, START, State.DELETED) == []


@pytest.mark.parametrize(
    ("edges", "places", "fault"),
    [
        pytest.param([Edge(Trigger.VALIDATED, (A,), LAST)], [A], f"unknown place {LAST}", id="unknown target"),
        pytest.param([Edge(Trigger.VALIDATED, (A, B), LAST)], [A, LAST], f"unknown place {B}", id="unknown source"),
        pytest.param(
            [Edge(Trigger.VALIDATED, (A,), LAST), Edge(Trigger.VALIDATED, (A,), B), Edge(Trigger.RETRIED, (B,), LAST)],
            [A, B, LAST],
            f"shadowed row: validated from {A}",
            id="two rows for one trigger",
        ),
        pytest.param(
            [Edge(Trigger.VALIDATED, (A, A), LAST)], [A, LAST], f"shadowed row: validated from {A}", id="source twice"
        ),
        pytest.param(
            [Edge(Trigger.VALIDATED, (A,), LAST), Edge(Trigger.RETRIED, (B,), LAST)],
            [A, B, LAST],
            f"unreachable place {B}",
            id="unreachable",
        ),
        pytest.param(
            [Edge(Trigger.VALIDATED, (A,), LAST), Edge(Trigger.RETRIED, (A,), B), Edge(Trigger.RECOVERED, (B,), None)],
            [A, B, LAST],
            f"dead end: nothing leads from {B} to Deleted",
            id="dead end that only stays",
        ),
    ],
)
def test_faults_of_names_each_kind_of_fault(edges: list[Edge], places: list[Place], fault: str) -> None:
    """A broken table is described in words, and by the one fault that it has."""
    assert faults_of(edges, places, A, State.DELETED) == [fault]


def test_faults_of_table_with_many_faults_names_all() -> None:
    """One look at a broken table shows everything that is wrong with it."""
    edges = [Edge(Trigger.VALIDATED, (A,), B), Edge(Trigger.RETRIED, (C,), END)]

    faults = faults_of(edges, [A, B, C, LAST], A, State.DELETED)

    assert {fault.split(" place ")[0].split(":")[0] for fault in faults} == {"unknown", "unreachable", "dead end"}
