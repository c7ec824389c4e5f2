"""The controller is killed again and again at random moments, while the cloud is slow and loses answers.

Whatever the moment: a Machine never has two servers, none is left behind, and no story has a gap.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest

from engine.domain.history import fold
from engine.domain.intents import Intent, IntentKind
from engine.domain.machine import MachineFilter, MachineRecord
from engine.domain.triggers import Trigger
from engine.ports.store import HistoryFilter
from engine.simulators.metal import FaultKind, FaultRule, Operation
from engine.store.opening import open_store
from tests.acceptance.programs import ControllerProcess, eventually
from tests.acceptance.stage import Stage

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(300)]

MACHINES = 50
SHORT_LIVES = 20
DOUBTS_MIN = 5
WAVE = 5  # wanted, or unwanted, beside each kill, so that work of every kind is under way at each of them
STARTING_SHARE = 0.2  # of the kills hit a controller that is still starting
KILL_SECONDS = 1.5  # at the latest, after it was ready: well into its talk with the cloud
IN_FLIGHT_SHARE = 0.5  # of the kills hit a controller whose orders, or returns, are on their way
LATENCY_SECONDS = 0.2
LOST_SHARE = 0.05  # before the effect, and as much after it: a tenth of all answers
LISTED_AFTER_SECONDS = 2.0  # A new device is missing in lists for so long; the visibility window is three seconds.
REST_SECONDS_MAX = 90.0

FAULTS = (
    FaultRule(kind=FaultKind.LATENCY, seconds=LATENCY_SECONDS),
    FaultRule(kind=FaultKind.LOST_BEFORE, share=LOST_SHARE),
    FaultRule(kind=FaultKind.LOST_AFTER, share=LOST_SHARE),
    FaultRule(kind=FaultKind.STALE_LIST, seconds=LISTED_AFTER_SECONDS),
)


@pytest.mark.parametrize("seed", [20261123])
def test_killed_controller_buys_nothing_twice_and_leaves_nothing(stage: Stage, seed: int) -> None:
    """Twenty kills in the life of fifty machines change nothing of what a user, a bill or an auditor sees."""
    chance = random.Random(seed)
    names = [f"kill-{number:02d}" for number in range(MACHINES)]
    controller = stage.controller()
    stage.apply(*stage.sample("machine-class.yaml", "secret.yaml"))
    stage.metal.faults.add(*FAULTS)

    for wave in waves(names):
        stage.make_machines(*wave)
        live_and_die(stage, controller, chance, Operation.CREATE)
    controller.start()
    stage.await_phase("Running", *names, seconds_max=REST_SECONDS_MAX)
    assert at_rest(stage) == dict.fromkeys(names, 1)
    assert stage.nodes() == set(names)
    unwanted_since = stage.metal.journal.entries()[-1].at
    controller.kill()

    for wave in waves(names):
        stage.delete_machines(*wave)
        live_and_die(stage, controller, chance, Operation.DELETE)
    controller.start()
    stage.await_gone(seconds_max=REST_SECONDS_MAX)
    assert controller.terminate() == 0

    stage.assert_nothing_left()
    assert stage.nodes() == set()
    assert len(stage.metal.history()) == MACHINES
    assert_nothing_returned_before(stage, unwanted_since)
    triggers = assert_stories_are_whole(controller)
    assert triggers[Trigger.FINALIZED] == triggers[Trigger.NODE_JOINED] == MACHINES
    assert triggers[Trigger.DUPLICATE_FOUND] == 0
    # Otherwise nothing was proven: kills and lost answers have to leave orders in doubt.
    assert triggers[Trigger.ORDER_RESOLVED] + triggers[Trigger.DEVICE_ADOPTED] >= DOUBTS_MIN


@pytest.mark.parametrize("seed", [7])
def test_killed_controller_returns_what_was_hardly_ordered(stage: Stage, seed: int) -> None:
    """Machines that are deleted before their servers are up leave none, whenever the controller is killed."""
    chance = random.Random(seed)
    names = [f"short-{number:02d}" for number in range(SHORT_LIVES)]
    controller = stage.controller()
    stage.apply(*stage.sample("machine-class.yaml", "secret.yaml"))
    stage.metal.faults.add(*FAULTS)

    for wave in waves(names):
        stage.make_machines(*wave)
        live_and_die(stage, controller, chance, Operation.CREATE)
        stage.delete_machines(*wave)
        live_and_die(stage, controller, chance, Operation.LIST)
    controller.start()
    stage.await_gone(seconds_max=REST_SECONDS_MAX)
    assert controller.terminate() == 0

    stage.assert_nothing_left()
    assert stage.nodes() == set()
    assert assert_stories_are_whole(controller)[Trigger.DELETION_REQUESTED] > 0


def waves(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The machines in small groups."""
    yield from (tuple(names[start : start + WAVE]) for start in range(0, len(names), WAVE))


def live_and_die(stage: Stage, controller: ControllerProcess, chance: random.Random, operation: Operation) -> None:
    """The controller runs for a while and is killed: at any moment, or while calls of one kind are under way."""
    calls = stage.metal.journal.calls
    before = calls[operation]
    controller.start(ready=chance.random() > STARTING_SHARE)
    span = KILL_SECONDS
    if chance.random() < IN_FLIGHT_SHARE:
        eventually(lambda: calls[operation] > before)
        span = LATENCY_SECONDS
    time.sleep(chance.uniform(0, span))  # Not a wait for a fact: the moment is the point.
    assert controller.running(), controller.told()[-2000:]
    controller.kill()


def at_rest(stage: Stage) -> dict[str, int]:
    """How many servers are paid for under each name."""
    return dict(Counter(device.hostname for device in stage.metal.billing()))


def assert_nothing_returned_before(stage: Stage, instant: datetime) -> None:
    """No server of a wanted machine was given back."""
    returned = stage.metal.journal.entries(what="deleted")
    assert len(returned) == MACHINES
    assert min(entry.at for entry in returned) >= instant


def assert_stories_are_whole(controller: ControllerProcess) -> Counter[str]:
    """Every history explains its record and every intent has a result; answers how often each trigger came."""
    store = open_store(controller.database, readonly=True)
    triggers: Counter[str] = Counter()
    for record in store.find(MachineFilter()):
        entries = store.history(HistoryFilter(uid=record.uid))
        assert fold(entries) == record.place
        # A Machine that went before our finalizer was on it is believed in for a while, and nothing was bought for it.
        assert record.finished or record.orders == 0
        assert len(entries) == record.version
        triggers.update(entry.trigger for entry in entries)
        assert_intents_are_told(record, store.intents(record.uid))
    store.close()
    return triggers


def assert_intents_are_told(record: MachineRecord, intents: Sequence[Intent]) -> None:
    """What was meant to be done has a result, and one purchase alone was made."""
    orders = [each for each in intents if each.kind is IntentKind.ORDER]
    assert not [each for each in intents if each.unresolved]
    assert [each.device_id for each in orders if each.device_id] == ([record.device_id] if record.device_id else [])
