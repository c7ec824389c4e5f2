"""A class on trial: whose turn it is to try, for how long, and what ends it."""

from datetime import UTC, datetime, timedelta

import pytest

from engine.domain.breakers import WINDOW, Limits
from engine.domain.ids import MachineUid
from engine.domain.machine import HistoryEntry
from engine.domain.states import (
    FAILED_HALT,
    PROVISIONING_INSTALL,
    PROVISIONING_ORDER,
    Place,
)
from engine.domain.triggers import Trigger
from engine.workflow.purchases import Gate, Purchases

ONE, TWO = MachineUid("one"), MachineUid("two")
SMALL = "small"


def told(uid: MachineUid, trigger: Trigger, source: Place, target: Place) -> HistoryEntry:
    """A line of this machine's history."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return HistoryEntry(uid=uid, version=1, at=at, trigger=trigger, source=source, target=target)


def on_trial() -> Purchases:
    """A process that begins after a class wasted a purchase, and lets one machine of it try at zero seconds."""
    purchases = Purchases(Limits(wasted_purchases_per_hour=2))
    purchases.note(SMALL, told(TWO, Trigger.DEVICE_FAILED, PROVISIONING_INSTALL, FAILED_HALT), 0.0)
    purchases.doubt()
    assert purchases.admit(SMALL, ONE, 0.0).admitted
    return purchases


@pytest.mark.parametrize("trigger", [Trigger.DEVICE_ORDERED, Trigger.DEVICE_ADOPTED])
def test_a_try_with_a_device_is_waited_for_but_not_for_ever(trigger: Trigger) -> None:
    """Bought or found again, the device has an hour to serve; then the next may try."""
    purchases = on_trial()
    purchases.note(SMALL, told(ONE, trigger, PROVISIONING_ORDER, PROVISIONING_INSTALL), 0.0)
    hour = WINDOW.total_seconds()
    assert not purchases.admit(SMALL, TWO, hour - 1).admitted
    assert purchases.admit(SMALL, TWO, hour).admitted


def test_a_try_without_a_device_is_waited_for_shortly() -> None:
    """Who may buy and does not makes room within minutes."""
    purchases = on_trial()
    assert not purchases.admit(SMALL, TWO, timedelta(minutes=1).total_seconds()).admitted
    assert purchases.admit(SMALL, TWO, timedelta(minutes=2).total_seconds()).admitted


@pytest.mark.parametrize("trigger", [Trigger.OBJECT_LOST, Trigger.CREATION_TIMED_OUT, Trigger.DEVICE_LOST])
def test_any_end_of_a_try_makes_room(trigger: Trigger) -> None:
    """Whatever ends it, the next may try at once, and the class stays on trial."""
    purchases = on_trial()
    purchases.note(SMALL, told(ONE, Trigger.DEVICE_ORDERED, PROVISIONING_ORDER, PROVISIONING_INSTALL), 0.0)
    purchases.note(SMALL, told(ONE, trigger, PROVISIONING_INSTALL, FAILED_HALT), 1.0)
    verdict = purchases.admit(SMALL, TWO, 1.0)
    assert (verdict.admitted, verdict.gate) == (True, Gate.TRIAL)
