"""When a list is doubted, a purchase was wasted, and Nodes are too many to be ill by themselves."""

from datetime import UTC, datetime, timedelta

import pytest

from engine.domain.breakers import (
    JOIN_PATIENCE,
    Breaker,
    Doubt,
    Limits,
    confirmed,
    doubted,
    missed,
    orders_to_close,
    shrank,
    too_many_unhealthy,
    too_many_wasted,
    wasted,
)
from engine.domain.device import Device, DeviceState
from engine.domain.ids import DeviceId, MachineUid
from engine.domain.machine import HistoryEntry
from engine.domain.states import ACTIVE_HEALTHY, DELETING_RELEASE, PROVISIONING_INSTALL, PROVISIONING_JOIN, Place
from engine.domain.triggers import Trigger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = Limits()
A, B = DeviceId("a"), DeviceId("b")


def device(key: DeviceId, state: DeviceState = DeviceState.ACTIVE) -> Device:
    """A device in this state."""
    return Device(device_id=key, provider_id=key, hostname=key, state=state, state_text=state)


def entry(trigger: Trigger, source: Place) -> HistoryEntry:
    """A line of history at noon."""
    return HistoryEntry(
        uid=MachineUid("u"), version=2, at=NOON, trigger=trigger, source=source, target=DELETING_RELEASE
    )


@pytest.mark.parametrize("state", [DeviceState.RELEASING, DeviceState.FAILED, DeviceState.GONE])
def test_a_device_that_was_seen_on_its_way_out_is_not_missed(state: DeviceState) -> None:
    """Only what was there to stay is missed."""
    assert missed({A: device(A), B: device(B, state)}, set()) == {A}
    assert missed({A: device(A)}, {A}) == frozenset()


@pytest.mark.parametrize(
    ("lost", "before", "shown", "doubtful"),
    [
        (5, 20, 15, False),
        (6, 20, 14, True),
        (100, 1000, 900, False),
        (101, 1000, 899, True),
        (1, 1, 0, False),
        (2, 2, 0, True),
        (0, 0, 0, False),
    ],
)
def test_more_than_five_devices_and_a_tenth_of_them_are_too_many(
    lost: int, before: int, shown: int, *, doubtful: bool
) -> None:
    """The greater of the two counts, and a list that lost everything is doubted from two devices on."""
    assert shrank(lost, before=before, shown=shown, limits=LIMITS) is doubtful


def test_lists_that_keep_missing_the_same_are_confirmed_by_time_and_number() -> None:
    """Neither a long time with two lists nor three lists in a short time is enough."""
    span = LIMITS.list_confirmation.total_seconds()
    first = doubted(None, frozenset({A}), {B}, 0.0)
    second = doubted(first, frozenset({A, B}), set(), span)
    assert not confirmed(second, span, LIMITS)
    third = doubted(second, frozenset({A, B}), set(), span)
    assert confirmed(third, span, LIMITS)
    assert not confirmed(third, span - 1, LIMITS)


def test_a_device_that_comes_back_starts_the_confirmation_anew() -> None:
    """A list that shows what an earlier one missed makes liars of both; one that was returned meanwhile does not."""
    doubt = Doubt(since=0.0, lists=7, missed=frozenset({A, B}))
    assert doubted(doubt, frozenset({B}), {A}, 9.0) == Doubt(since=9.0, lists=1, missed=frozenset({B}))
    assert doubted(doubt, frozenset({B}), set(), 9.0) == Doubt(since=0.0, lists=8, missed=frozenset({B}))


@pytest.mark.parametrize("trigger", [Trigger.DEVICE_FAILED, Trigger.DEVICE_LOST, Trigger.CREATION_TIMED_OUT])
def test_a_device_that_fails_before_it_serves_is_wasted(trigger: Trigger) -> None:
    """One that served and failed then was none."""
    assert wasted(entry(trigger, PROVISIONING_INSTALL), None)
    assert wasted(entry(trigger, PROVISIONING_JOIN), NOON)
    assert not wasted(entry(trigger, ACTIVE_HEALTHY), None)


def test_a_machine_that_is_given_up_is_wasted_and_a_change_of_mind_is_not() -> None:
    """Who deletes it long after its device came up had waited in vain for the Node."""
    given_up = entry(Trigger.DELETION_REQUESTED, PROVISIONING_JOIN)
    assert wasted(given_up, NOON - JOIN_PATIENCE)
    assert wasted(given_up, None)
    assert not wasted(given_up, NOON - JOIN_PATIENCE + timedelta(seconds=1))
    assert not wasted(entry(Trigger.DELETION_REQUESTED, PROVISIONING_INSTALL), None)


def test_a_wave_may_waste_one_device_in_ten_more() -> None:
    """Ten failures stop a class that serves nothing, and not a wave of a thousand."""
    assert too_many_wasted(10, 0, LIMITS)
    assert not too_many_wasted(9, 0, LIMITS)
    assert not too_many_wasted(109, 1000, LIMITS)
    assert too_many_wasted(110, 1000, LIMITS)


def test_a_fifth_of_the_nodes_and_at_least_three_are_too_many() -> None:
    """Two of three are single faults; exactly a fifth is not more than a fifth."""
    assert not too_many_unhealthy(2, serving=3, limits=LIMITS)
    assert too_many_unhealthy(3, serving=14, limits=LIMITS)
    assert not too_many_unhealthy(3, serving=15, limits=LIMITS)


def test_an_order_names_breakers_and_may_carry_a_mark() -> None:
    """Names are separated by commas, marks follow a sign, and what names no breaker is answered."""
    named, unknown = orders_to_close("list-shrank=2, unhealthy-nodes,,fuse=1")
    assert named == {Breaker.LIST_SHRANK, Breaker.UNHEALTHY_NODES}
    assert unknown == ("fuse",)
