"""Kills at the worst moments: between a purchase and its record, at every step of a deletion, and many at random.

`KILLS` says how many random ones; `make soak-live KILLS=200` is what a release needs.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from engine.simulators.metal import FaultKind, FaultRule, Operation
from tests.acceptance.programs import ControllerProcess, eventually
from tests.controlplane.plane import ControlPlane
from tests.live.stage import SOAK, LiveStage, stories_of

KILLS = int(os.environ.get("KILLS", "8"))
SECONDS_A_KILL_MAX = 20.0  # with everything that a kill takes and leaves behind, on a machine with two busy cores

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(240 + KILLS * SECONDS_A_KILL_MAX)]

WAVE = 3
KILL_SECONDS_MAX = 1.2  # after it was started: from reading its settings to the middle of its talk with the cloud
OUTAGE_EVERY = 5  # kills, the API server is restarted beside one
LOST_LEASE = 3
REST_SECONDS_MAX = 120.0
STUMBLES = (
    FaultRule(kind=FaultKind.LATENCY, seconds=0.1),
    FaultRule(kind=FaultKind.LOST_BEFORE, share=0.05),
    FaultRule(kind=FaultKind.LOST_AFTER, share=0.05),
    FaultRule(kind=FaultKind.THROTTLED, share=0.05),
    FaultRule(kind=FaultKind.STALE_LIST, seconds=2.0),
)
STORM = FaultRule(kind=FaultKind.THROTTLED, share=0.7)
STORM_SHARE = 0.25  # of the waves meet one
READY_SHARE = 0.8  # of the kills hit a controller that had finished its start
CALLING_SHARE = 0.6  # of the kills hit a controller amid its calls to the cloud
CALLS_MAX = 12
CALL_SECONDS = 0.15  # one answer of the cloud, and a moment
BEGIN_SHARE = 0.5  # of the outages begin when the controller is at work already, and not while it starts
EARLY_SHARE = 0.5  # of the kills beside an outage come before its end


def at_once(fact: Callable[[], object], *, seconds_max: float = 45.0) -> None:
    """The fact is true since hardly more than a millisecond."""
    ends = time.monotonic() + seconds_max
    while not fact():
        assert time.monotonic() < ends
        time.sleep(0.001)  # finer than `eventually`: the moment is the point


def test_f01_kill_between_purchase_and_record_buys_nothing_twice(stage: LiveStage) -> None:
    """The controller dies as soon as the cloud has bought and before the answer is there; the server is adopted."""
    controller = stage.controller()
    stage.metal.faults.add(FaultRule(kind=FaultKind.SLOW, operation=Operation.CREATE, seconds=0.3))
    names = [f"bought-{number}" for number in range(4)]
    for name in names:
        stage.make_machines(name)
        controller.start(ready=False)
        at_once(partial(bought, stage, name))
        controller.kill()
    controller.start()
    stage.await_phase("Running", *names)
    assert len(stage.metal.history()) == len(names)
    triggers = stories_of(controller.database)
    # Otherwise nothing was proven: each kill has to leave an order in doubt.
    assert triggers["order-resolved"] + triggers["device-adopted"] == len(names)
    stage.balance(controller)


def bought(stage: LiveStage, name: str) -> bool:
    """Whether the cloud has written down a purchase under this name."""
    return any(each.hostname == name for each in stage.metal.journal.entries(what="created"))


def moments(stage: LiveStage, name: str) -> Iterator[Callable[[], object]]:
    """What is true of a Machine at each step of its way up."""
    yield lambda: True
    yield lambda: stage.user.get("machines", name)["metadata"].get("finalizers")
    for states in ({"queued", "provisioning", "active"}, {"provisioning", "active"}, {"active"}):
        yield partial(stands, stage, name, states)
    yield lambda: name in stage.joiner.nodes
    yield lambda: stage.phases().get(name) == "Running"


def stands(stage: LiveStage, name: str, states: set[str]) -> bool:
    """Whether the device of this name is in one of the states."""
    return any(each.state in states for each in stage.devices_of(name))


@pytest.mark.parametrize("killed", [False, True])
def test_f13_machine_that_is_deleted_on_its_way_up_leaves_nothing(stage: LiveStage, *, killed: bool) -> None:
    """Deleted at any step of its way up, with or without a kill just then, a Machine leaves no server and no Node."""
    controller = stage.controller().start()
    for number in range(0, 7, 2 if killed and not SOAK else 1):
        name = f"early-{number}"
        stage.make_machines(name)
        at_once(list(moments(stage, name))[number])
        stage.delete_machines(name)
        if killed:
            controller.kill()
            controller.start(ready=False)
    stage.await_gone(seconds_max=90)
    assert stage.nodes() == set()
    stage.balance(controller)


@pytest.mark.parametrize("seed", [int(os.environ.get("SEED", "20261124"))])
def test_f06_many_kills_in_coming_and_going_waves_show_nowhere(
    stage: LiveStage, controlplane: ControlPlane, seed: int
) -> None:
    """However often it is killed while Machines come and go and everything else fails too, the books balance.

    The cloud loses answers, throttles in storms and shows stale lists, and the API server is restarted again and again.
    """
    chance, controller, outages = random.Random(seed), stage.controller(), 0
    wanted: list[str] = []
    for kill in range(KILLS):
        stage.metal.faults.replace([*STUMBLES, *[STORM for _ in range(chance.random() < STORM_SHARE)]])
        coming = [f"wave-{kill}-{number}" for number in range(WAVE)]
        going = [wanted.pop(chance.randrange(len(wanted))) for _ in range(WAVE) if len(wanted) > 2 * WAVE]
        wanted += coming
        stage.make_machines(*coming)
        if kill % OUTAGE_EVERY == OUTAGE_EVERY // 2:
            stage.delete_machines(*going)
            die_in_an_outage(controlplane, controller, chance)
            outages += 1
        else:
            live_and_die(stage, controller, chance, partial(stage.delete_machines, *going))
    stage.metal.faults.replace(STUMBLES)
    controller.start()
    stage.await_phase("Running", *wanted, seconds_max=REST_SECONDS_MAX)
    # Those that leave may still be leaving: their returns wait for their turn after the storms.
    eventually(lambda: set(stage.machines()) == set(wanted), seconds_max=REST_SECONDS_MAX)
    assert sorted(each.hostname for each in stage.metal.billing()) == sorted(wanted)
    told = tally(stage, controller)
    stage.balance(controller)
    assert outages or KILLS < OUTAGE_EVERY
    print(f"\n{KILLS} kills in {KILLS} waves of {WAVE} machines, {outages} restarts of the API server, {told}")


def live_and_die(
    stage: LiveStage, controller: ControllerProcess, chance: random.Random, meanwhile: Callable[[], object]
) -> None:
    """The controller is started, does something or nothing, and is killed at a random moment or after some calls."""
    calls = stage.metal.journal.calls
    controller.start(ready=chance.random() < READY_SHARE)
    meanwhile()
    if chance.random() < CALLING_SHARE:
        wanted = calls.total() + chance.randint(1, CALLS_MAX)
        at_once(lambda: calls.total() >= wanted)
        time.sleep(chance.uniform(0, CALL_SECONDS))  # Not a wait for a fact: the moment is the point.
    else:
        time.sleep(chance.uniform(0, KILL_SECONDS_MAX))  # As above.
    assert controller.running(), controller.told()[-2000:]
    controller.kill()


def die_in_an_outage(controlplane: ControlPlane, controller: ControllerProcess, chance: random.Random) -> None:
    """The controller is killed while the API server is away, or soon after it has come back; then it is there."""
    begins, early = chance.random() < BEGIN_SHARE, chance.random() < EARLY_SHARE
    controller.start(ready=begins)
    controlplane.stop_apiserver()
    time.sleep(chance.uniform(0, KILL_SECONDS_MAX))  # Not a wait for a fact: the moment is the point.
    if early:
        controller.kill()
    controlplane.start_apiserver()
    time.sleep(chance.uniform(0, KILL_SECONDS_MAX))  # As above.
    # Whoever cannot renew its Lease in an outage ends by itself, which is as good as a kill.
    assert early or controller.running() or controller.exit_code() == LOST_LEASE, controller.told()[-2000:]
    controller.kill()


def tally(stage: LiveStage, controller: ControllerProcess) -> str:
    """What happened, in numbers."""
    stories, calls = stories_of(controller.database), stage.metal.journal.calls
    numbers = {
        "servers": len(stage.metal.history()),
        "cloud calls": calls.total(),
        "lost answers": stage.answers["lost"],
        "throttled calls": stage.answers["429"],
        "orders in doubt": stories["order-resolved"] + stories["device-adopted"],
        "duplicates": stories["duplicate-found"],
        "transitions": stories.total(),
    }
    return ", ".join(f"{count} {what}" for what, count in numbers.items())


def test_killed_controller_was_really_running(stage: LiveStage) -> None:
    """A controller is ready well within the time after which it is killed at the latest, or nothing was proven."""
    controller = stage.controller()
    began = time.monotonic()
    controller.start()
    assert time.monotonic() - began < 10 * KILL_SECONDS_MAX
    eventually(lambda: controller.fetch("/readyz")[0] == 200)
    stage.balance(controller)
