"""Installation, service and failure, each branch of the pure steps."""

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.domain.device import DeviceState
from engine.domain.intents import IntentResult
from engine.domain.machine import NodeCondition, Release
from engine.domain.states import (
    ACTIVE_HEALTHY,
    ACTIVE_UNHEALTHY,
    FAILED_HALT,
    PROVISIONING_INSTALL,
    PROVISIONING_JOIN,
)
from engine.domain.triggers import Trigger
from engine.domain.wanted import RETRY_ANNOTATION
from engine.ports.provider import (
    AccessDeniedError,
    DeviceBusyError,
    DeviceNotFoundError,
    OutcomeUnknownError,
    ProviderRefusal,
    UnavailableError,
)
from engine.workflow.policy import Policy
from engine.workflow.presence import proves_gone
from engine.workflow.step import (
    Accepted,
    Advance,
    Awaited,
    Context,
    Effected,
    ExamineDevice,
    PatchMachine,
    ReleaseDevice,
    Remember,
    Wait,
)
from engine.workflow.steps.halt import Halt
from engine.workflow.steps.install import Install
from engine.workflow.steps.serve import Serve
from tests.unit.workflow.builders import (
    FAULT,
    MONOTONIC,
    NO_ACCOUNT,
    NOON,
    ONE,
    POLICY,
    TWO,
    context,
    device,
    later,
    machine,
    node,
    order,
    record,
    release,
    snapshot,
)

PROVIDER_ID = f"equinixmetal://da/{ONE}"
NAMED = machine(provider_id=PROVIDER_ID)
INSTALLING = record(PROVISIONING_INSTALL, device_id=ONE, provider_id=PROVIDER_ID)
JOINING = replace(INSTALLING, place=PROVISIONING_JOIN)
READY = node().conditions
SERVING = replace(INSTALLING, place=ACTIVE_HEALTHY, conditions=READY)
FAILED = replace(INSTALLING, place=FAILED_HALT)
SETTLED = timedelta(minutes=5)


def install(seen: Context) -> object:
    return Install().decide(replace(seen, machine=seen.machine and replace(seen.machine, provider_id=PROVIDER_ID)))


def serve(seen: Context) -> object:
    return Serve().decide(seen)


def halt(seen: Context) -> object:
    return Halt().decide(seen)


def trigger_of(decision: object) -> Trigger:
    assert isinstance(decision, Advance), decision
    return decision.trigger


def test_the_device_is_named_in_the_machine() -> None:
    """`spec.providerID` is written once; one that a person wrote is left alone, one of a lost device is replaced."""
    assert isinstance(Install().decide(context(INSTALLING)), PatchMachine)
    foreign = context(INSTALLING, machine=machine(provider_id=f"equinixmetal://da/{TWO}"), shown=[device()])
    assert not isinstance(Install().decide(foreign), PatchMachine)
    gone = replace(INSTALLING, releases=(Release(device_id=TWO, accepted_at=NOON, gone_at=NOON),))
    assert isinstance(Install().decide(replace(foreign, record=gone)), PatchMachine)
    assert not isinstance(Install().decide(replace(foreign, record=gone, binding=NO_ACCOUNT)), PatchMachine)
    assert isinstance(Install().decide(context(replace(INSTALLING, provider_id=""))), Wait)
    assert isinstance(Install().decide(context(INSTALLING, machine=None)), Wait)


def test_a_node_that_is_ready_has_joined() -> None:
    """Only with a target cluster, and only when it is Ready."""
    assert trigger_of(install(context(INSTALLING, node=node()))) is Trigger.NODE_JOINED
    assert isinstance(install(context(INSTALLING, node=node(ready=False))), Wait)
    assert isinstance(install(context(INSTALLING, node=node(), has_target=False)), Wait)


def test_a_device_is_watched_while_it_is_installed() -> None:
    """Active leads on, failed ends, anything else is waited for; the second time, active is no news."""
    up = context(INSTALLING, shown=[device()])
    assert trigger_of(install(up)) is Trigger.DEVICE_ACTIVATED
    assert trigger_of(install(replace(up, has_target=False))) is Trigger.DEVICE_READIED
    waiting = install(replace(up, record=JOINING))
    assert waiting == Wait(until=up.deadline, awaited=Awaited.NOTHING)
    slow = install(context(INSTALLING, shown=[device(state=DeviceState.INSTALLING)]))
    assert slow == Wait(until=up.deadline, awaited=Awaited.CHANGE)
    broken = install(context(INSTALLING, shown=[device(state=DeviceState.FAILED, state_text="failed")]))
    assert trigger_of(broken) is Trigger.DEVICE_FAILED


def test_a_creation_ends_in_time() -> None:
    """A Node that does not join within the creation timeout fails the machine; the last problem is the reason."""
    over = context(INSTALLING, shown=[device(state=DeviceState.INSTALLING)], now=NOON + POLICY.creation_timeout)
    assert trigger_of(install(over)) is Trigger.CREATION_TIMED_OUT
    blamed = install(replace(over, record=replace(INSTALLING, problem=FAULT)))
    assert isinstance(blamed, Advance)
    assert blamed.problem == FAULT


def test_a_missing_device_is_examined_when_it_must_have_shown() -> None:
    """Not before the visibility window is over, not without a list, and not while the last look is fresh."""
    gone = later(context(INSTALLING), SETTLED)
    assert install(gone) == ExamineDevice(device_id=ONE)
    assert isinstance(install(context(INSTALLING)), Wait)
    assert isinstance(install(replace(gone, snapshot=None)), Wait)
    fresh = replace(INSTALLING, retry_at=gone.now + timedelta(seconds=30))
    assert install(replace(gone, record=fresh)) == Wait(until=fresh.retry_at, awaited=Awaited.CHANGE)
    assert isinstance(install(replace(gone, record=replace(INSTALLING, device_id=None))), Wait)
    shown_as_gone = replace(gone, snapshot=snapshot(device(state=DeviceState.GONE)))
    assert install(shown_as_gone) == ExamineDevice(device_id=ONE)


@pytest.mark.parametrize("step", [Install(), Serve()], ids=["install", "serve"])
@pytest.mark.parametrize(
    ("outcome", "expected"),
    [(DeviceNotFoundError("404"), Advance), (UnavailableError("500"), Advance), (device(), Remember)],
    ids=["404", "500", "200"],
)
def test_only_a_proof_makes_a_device_lost(step: Install, outcome: ProviderRefusal, expected: type) -> None:
    """A 404 beside the lists is a proof; an error and a device that answers are looked at again in a minute."""
    seen = later(context(SERVING), SETTLED)
    decision = step.absorb(seen, Effected(effect=ExamineDevice(device_id=ONE), outcome=outcome))
    assert isinstance(decision, expected)
    lost = isinstance(outcome, DeviceNotFoundError)
    assert isinstance(decision, Advance | Remember)
    assert ("releases" in decision.changes) is lost
    assert (isinstance(decision, Advance) and decision.trigger is Trigger.DEVICE_LOST) is lost


def test_a_403_proves_a_loss_only_beside_the_right_list() -> None:
    """This account was shown the device, and was given a complete list when a first 403 was minutes ago."""
    refusal = AccessDeniedError("403")
    minutes = Policy().vanished_after.total_seconds()
    right = context(
        SERVING,
        denied_since={ONE: MONOTONIC - minutes - 2},
        shown_before=frozenset({ONE}),
        snapshot=snapshot(started=MONOTONIC - 1),
    )
    assert proves_gone(right, ONE, refusal)
    assert not proves_gone(right, ONE, UnavailableError("500"))
    assert not proves_gone(right, ONE, device())
    assert not proves_gone(replace(right, denied_since={}), ONE, refusal)
    assert not proves_gone(replace(right, shown_before=frozenset()), ONE, refusal)
    assert not proves_gone(replace(right, list_problem=FAULT), ONE, refusal)
    assert not proves_gone(replace(right, snapshot=snapshot(started=MONOTONIC - 3)), ONE, refusal)
    assert not proves_gone(replace(right, denied_since={ONE: MONOTONIC - minutes}), ONE, refusal)


@pytest.mark.parametrize("of", [INSTALLING, SERVING], ids=["install", "serve"])
def test_a_second_device_is_given_back(of: object) -> None:
    """The recorded one is kept; one that is on its way back is not asked for again before its time."""
    assert of in {INSTALLING, SERVING}
    step = Install() if of == INSTALLING else Serve()
    mine = INSTALLING if of == INSTALLING else SERVING
    seen = context(mine, machine=NAMED, shown=[device(), device(TWO)], node=node())
    ask = ReleaseDevice(device_id=TWO)
    assert step.decide(seen) == ask
    leaving = replace(seen, snapshot=snapshot(device(), device(TWO, state=DeviceState.RELEASING)))
    assert step.decide(leaving) != ask
    accepted = replace(mine, releases=(Release(device_id=TWO, accepted_at=seen.now),))
    assert step.decide(replace(seen, record=accepted)) != ask
    assert step.decide(later(replace(seen, record=accepted), POLICY.release_repeat * 2)) == ask
    paused = replace(mine, retry_at=seen.now + timedelta(seconds=1))
    assert step.decide(replace(seen, record=paused)) != ask


@pytest.mark.parametrize("step", [Install(), Serve()], ids=["install", "serve"])
def test_the_return_of_a_second_device_is_settled(step: Install) -> None:
    """Accepted or gone is done; busy is refused and tried again; a lost answer may be repeated."""
    seen = context(SERVING)

    def absorbed(outcome: object, *, intent: bool = True) -> Advance | Remember:
        done = Effected(effect=ReleaseDevice(device_id=TWO), outcome=outcome, intent=release(TWO) if intent else None)  # type: ignore[arg-type]  # any outcome
        decision = step.absorb(seen, done)
        assert isinstance(decision, Advance | Remember)
        return decision

    for outcome in (Accepted(), DeviceNotFoundError("404")):
        settled = absorbed(outcome)
        assert trigger_of(settled) is Trigger.DUPLICATE_FOUND
        assert [each.result for each in settled.resolved] == [IntentResult.DONE]
    busy = absorbed(DeviceBusyError("installing"))
    assert [each.result for each in busy.resolved] == [IntentResult.REFUSED]
    assert busy.changes["retry_at"] == seen.now + POLICY.busy_retry
    assert [each.result for each in absorbed(OutcomeUnknownError("silence")).resolved] == [IntentResult.REPEATED]
    assert absorbed(Accepted(), intent=False).resolved == ()


def test_health_follows_the_node() -> None:
    """Lost when the Node is away or not Ready, regained when it is Ready; without a target there is no health."""
    assert serve(context(SERVING, shown=[device()], node=node())) == Wait(until=None)
    assert trigger_of(serve(context(SERVING, shown=[device()], node=node(ready=False)))) is Trigger.HEALTH_LOST
    assert trigger_of(serve(context(SERVING, shown=[device()]))) is Trigger.HEALTH_LOST
    ill = replace(SERVING, place=ACTIVE_UNHEALTHY)
    assert trigger_of(serve(context(ill, shown=[device()], node=node()))) is Trigger.HEALTH_REGAINED
    assert serve(context(ill, shown=[device()])) == Wait(until=None)
    assert serve(context(SERVING, shown=[device()], has_target=False)) == Wait(until=None)


def test_only_a_flipped_condition_is_news() -> None:
    """A heartbeat is none; a new type is one."""
    beaten = tuple(replace(each, last_heartbeat_at=NOON, message="ok") for each in READY)
    assert serve(context(SERVING, shown=[device()], node=node(conditions=beaten))) == Wait(until=None)
    more = (*READY, NodeCondition(type="DiskPressure", status="False"))
    assert trigger_of(serve(context(SERVING, shown=[device()], node=node(conditions=more)))) is Trigger.NODE_REPORTED


def test_the_next_look_is_not_forgotten() -> None:
    """A serving machine whose device was looked at wakes for the next look."""
    fresh = replace(SERVING, retry_at=NOON + SETTLED + timedelta(minutes=2))
    assert serve(later(context(fresh, node=node()), SETTLED)) == Wait(until=fresh.retry_at)


@pytest.mark.parametrize("step", [Install(), Serve()])
def test_a_device_that_is_missing_early_is_looked_at_as_soon_as_it_must_have_shown(step: Install | Serve) -> None:
    """Nobody has to wake the machine at the end of the visibility window; then the device is examined."""
    awaited = isinstance(step, Install)
    missed = context(JOINING if awaited else SERVING, machine=NAMED, node=None if awaited else node())

    wait = step.decide(missed)

    assert isinstance(wait, Wait)
    assert wait.until
    assert timedelta(0) < wait.until - NOON - POLICY.visibility_window < timedelta(seconds=1)
    assert isinstance(step.decide(replace(missed, now=wait.until)), ExamineDevice)


def test_a_failed_machine_waits() -> None:
    """It never buys, and does nothing by itself."""
    assert halt(context(FAILED)) == Wait(until=None)
    assert isinstance(
        Halt().absorb(context(FAILED), Effected(effect=ExamineDevice(device_id=ONE), outcome=device())), Wait
    )


def test_an_operator_may_ask_for_another_try() -> None:
    """Each new mark is obeyed once."""
    asked = machine(annotations={RETRY_ANNOTATION: "now"})
    decision = halt(context(FAILED, machine=asked))
    assert isinstance(decision, Advance)
    assert decision.changes["retry_mark"] == "now"
    assert halt(context(replace(FAILED, retry_mark="now"), machine=asked)) == Wait(until=None)


def test_a_failed_machine_recovers_with_its_node() -> None:
    """When it is wanted, has a device that is not proven gone, and its Node is Ready."""
    well = context(FAILED, node=node())
    assert trigger_of(halt(well)) is Trigger.RECOVERED
    gone = replace(FAILED, releases=(Release(device_id=ONE, accepted_at=NOON, gone_at=NOON),))
    for different in (
        {"node": node(ready=False)},
        {"node": None},
        {"has_target": False},
        {"machine": None},
        {"record": replace(FAILED, device_id=None)},
        {"record": gone},
    ):
        assert halt(replace(well, **different)) == Wait(until=None)


def test_a_failed_machine_without_target_recovers_with_its_device() -> None:
    """Where no Node is awaited, a device that is up serves, once its Machine is wanted again."""
    up = context(FAILED, shown=[device(state=DeviceState.ACTIVE)], has_target=False)
    assert trigger_of(halt(up)) is Trigger.RECOVERED
    assert halt(replace(up, machine=None)) == Wait(until=None)
    installing = context(FAILED, shown=[device(state=DeviceState.INSTALLING)], has_target=False)
    assert halt(installing) == Wait(until=None)


def test_a_failed_machine_without_object_and_device_ends() -> None:
    """Only when the object is long gone, and nothing was bought or may have been."""
    nothing = replace(FAILED, device_id=None, provider_id="")
    ended = context(nothing, machine=None, absent_for=POLICY.object_lost_after)
    assert trigger_of(halt(ended)) is Trigger.FINALIZED
    for different in (
        {"machine": machine()},
        {"absent_for": timedelta(0)},
        {"record": FAILED},
        {"record": replace(nothing, provider_id=PROVIDER_ID)},
    ):
        assert halt(replace(ended, **different)) == Wait(until=None)


def test_a_failed_machine_without_object_looks_for_what_it_ordered() -> None:
    """A purchase in doubt is resolved before a life ends: lists over the whole window, or the device by its tag."""
    doubtful = context(
        replace(FAILED, device_id=None, provider_id=""),
        machine=None,
        absent_for=POLICY.object_lost_after,
        open_order=order(),
        doubt_since=MONOTONIC,
    )
    assert isinstance(halt(doubtful), Wait)
    assert halt(replace(doubtful, absent_for=timedelta(0))) == Wait(until=None)
    over = snapshot(started=MONOTONIC + POLICY.visibility_window.total_seconds() + 1)
    assert trigger_of(halt(replace(doubtful, snapshot=over))) is Trigger.ORDER_RESOLVED
    bought = halt(replace(doubtful, snapshot=snapshot(device(ONE))))
    assert isinstance(bought, Advance)
    assert (bought.trigger, bought.device_id) == (Trigger.ORDER_RESOLVED, ONE)
