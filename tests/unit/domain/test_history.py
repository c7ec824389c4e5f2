"""A history explains where a machine stands, and a broken one is noticed."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.history import fold
from engine.domain.lifecycle import START, IllegalMoveError, move, triggers_from
from engine.domain.machine import HistoryEntry
from engine.domain.states import ACTIVE_HEALTHY, DELETED_REST, PROVISIONING_ORDER
from engine.domain.triggers import Trigger
from tests.unit.domain.builders import entry, history

LIFE = (
    Trigger.ADMITTED,
    Trigger.VALIDATED,
    Trigger.DEVICE_ORDERED,
    Trigger.DEVICE_ACTIVATED,
    Trigger.NODE_JOINED,
    Trigger.DELETION_REQUESTED,
    Trigger.DEVICE_GONE,
    Trigger.NODE_FORGOTTEN,
    Trigger.FINALIZED,
)


def test_fold_of_nothing_is_nowhere() -> None:
    """A machine without a history stands nowhere."""
    assert fold([]) is None


def test_fold_of_whole_life_ends_at_rest() -> None:
    """A life from admission to its finalizer ends where nothing is left but history."""
    assert fold(history(*LIFE)) == DELETED_REST
    assert fold(history(*LIFE[:5])) == ACTIVE_HEALTHY


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_fold_follows_every_walk_of_the_table(draw: st.DataObject) -> None:
    """Any walk that the table allows folds to its end, and no entry of it can be left out unnoticed."""
    walk = [Trigger.ADMITTED]
    place = START
    for _ in range(draw.draw(st.integers(min_value=0, max_value=12))):
        known = sorted(triggers_from(place))
        if not known:
            break
        walk.append(draw.draw(st.sampled_from(known)))
        place = move(place, walk[-1])
    entries = history(*walk)

    assert fold(entries) == place
    if len(entries) > 1:
        gone = draw.draw(st.integers(min_value=0, max_value=len(entries) - 2))
        with pytest.raises(IllegalMoveError):
            fold(entries[:gone] + entries[gone + 1 :])


def test_fold_of_history_with_gap_is_refused() -> None:
    """A missing version is named."""
    entries = history(*LIFE[:3])
    with pytest.raises(IllegalMoveError, match="entry 3 where 2 belongs"):
        fold([entries[0], entries[2]])


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(entry(1, Trigger.VALIDATED, START, PROVISIONING_ORDER), id="another trigger"),
        pytest.param(entry(1, Trigger.ADMITTED, None, PROVISIONING_ORDER), id="another place"),
        pytest.param(entry(1, Trigger.ADMITTED, START, START), id="a source"),
    ],
)
def test_fold_of_history_that_begins_otherwise_is_refused(first: HistoryEntry) -> None:
    """A history begins with an admission, from nowhere to the start."""
    with pytest.raises(IllegalMoveError):
        fold([first])


@pytest.mark.parametrize("trigger", [Trigger.NODE_JOINED, Trigger.ADMITTED, "melted"])
def test_fold_of_move_that_the_table_lacks_is_refused(trigger: str) -> None:
    """A trigger that the table does not know at this place, or at all, breaks the history."""
    with pytest.raises(IllegalMoveError):
        fold([*history(Trigger.ADMITTED), entry(2, trigger, START, ACTIVE_HEALTHY)])


def test_fold_of_entry_with_false_ends_is_refused() -> None:
    """An entry whose source or target is not what the table says breaks the history."""
    entries = history(*LIFE[:3])
    for wrong in (replace(entries[1], source=ACTIVE_HEALTHY), replace(entries[1], target=ACTIVE_HEALTHY)):
        with pytest.raises(IllegalMoveError, match="entry 2 claims"):
            fold([entries[0], wrong, entries[2]])
