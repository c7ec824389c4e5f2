"""The controller stands still, or its wall clock jumps by an hour, while Machines come, stay and go."""

import time
from functools import partial
from pathlib import Path

import pytest

from engine.simulators.metal import FaultKind, FaultRule, Operation
from tests.acceptance.programs import eventually
from tests.live.stage import BRIEF_LEASE, LEASE_SECONDS, SOAK, LiveStage, freeze, stories_of, thaw

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(300)]

SHIFTED = Path(__file__).with_name("shifted.py")
HOUR = 3600
CLAIM_SECONDS_MAX = 120.0  # A claim lasts ninety seconds without a commit, and is looked for every ten.
# Longer than the visibility window of three seconds and a lease; in the soak longer than a claim, too.
PAUSE_SECONDS = 100.0 if SOAK else 2 * LEASE_SECONDS
# A jump counts as time that passed, so a Machine on its way needs a timeout that is longer.
PATIENT = {"machine_creation_timeout": "2h", "sync_period": "3s"}
GIVEN_UP = frozenset({"creation-timed-out", "device-lost", "object-lost"})


def shift(clock: Path, seconds: int) -> None:
    """The controller's wall clock is wrong by this from now on."""
    later = clock.with_suffix(".new")
    later.write_text(str(seconds), "utf-8")
    later.rename(clock)


def test_f19_clock_that_jumps_by_an_hour_fails_and_doubles_nobody(stage: LiveStage) -> None:
    """Machines that come, wait, stay and go while the clock jumps, and jumps back, arrive; none is doubled."""
    clock = stage.folder / "clock"
    shift(clock, 0)
    controller = stage.controller(**PATIENT)
    controller.program = (SHIFTED, clock)
    controller.start()
    stage.make_machines("stays-1", "goes-1", "goes-2")
    stage.await_phase("Running", "stays-1", "goes-1", "goes-2")
    for seconds, number in ((HOUR, 1), (0, 2)):
        coming, waiting, later, going = (f"{each}-{number}" for each in ("comes", "waits", "later", "goes"))
        stage.make_machines(coming)
        eventually(partial(stage.devices_of, coming))
        stage.metal.faults.add(FaultRule(kind=FaultKind.THROTTLED, operation=Operation.CREATE))
        stage.make_machines(waiting)
        stage.await_message(waiting, "429")

        shift(clock, seconds)

        stage.be_honest()
        stage.make_machines(later)
        stage.delete_machines(going)
        stage.await_phase("Running", "stays-1", coming, waiting, later)
        stage.await_gone(going)
    assert len(stage.metal.history()) == 9
    assert not GIVEN_UP & set(stories_of(controller.database))
    stage.balance(controller)


def test_f19_controller_that_stood_still_goes_on_as_if_nothing_had_been(stage: LiveStage) -> None:
    """A pause longer than the lease and the visibility window fails nobody, and nothing is bought twice."""
    controller = stage.controller(**BRIEF_LEASE).start()
    stage.make_machines("still-1", "still-2")
    stage.await_phase("Running", "still-1", "still-2")
    stage.metal.faults.add(FaultRule(kind=FaultKind.SLOW, operation=Operation.CREATE, seconds=1.0))
    coming = ("moving-1", "moving-2", "moving-3")
    stage.make_machines(*coming)
    eventually(lambda: stage.metal.journal.calls[Operation.CREATE] >= len(coming))

    freeze(controller)
    stage.delete_machines("still-2")
    time.sleep(PAUSE_SECONDS)  # Not a wait for a fact: the length of the pause is the point.
    thaw(controller)

    stage.await_phase("Running", "still-1", *coming, seconds_max=CLAIM_SECONDS_MAX)
    stage.await_gone("still-2", seconds_max=CLAIM_SECONDS_MAX)
    assert len(stage.metal.history()) == 2 + len(coming)
    assert controller.running()
    assert not GIVEN_UP & set(stories_of(controller.database))
    stage.balance(controller)
