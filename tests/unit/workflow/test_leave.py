"""Deletion and loss of the object, each branch of the pure steps."""

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.domain.device import DeviceState
from engine.domain.ids import DeviceId
from engine.domain.intents import IntentResult
from engine.domain.machine import MachineRecord, Release
from engine.domain.states import (
    ACTIVE_HEALTHY,
    DELETED_REST,
    DELETING_FINALIZE,
    DELETING_FORGET_NODE,
    DELETING_RELEASE,
    FAILED_HALT,
    PLACES,
    PROVISIONING_ORDER,
)
from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER
from engine.ports.provider import AccessDeniedError, DeviceBusyError, DeviceNotFoundError, UnavailableError
from engine.workflow.binding import Binding
from engine.workflow.program import PROGRAM, absorb, decide
from engine.workflow.step import (
    Accepted,
    Advance,
    Awaited,
    Context,
    DeleteNode,
    DropFinalizer,
    Effected,
    ExamineDevice,
    Held,
    HoldReservation,
    PatchMachine,
    ReleaseDevice,
    Remember,
    Wait,
)
from engine.workflow.steps.forget import Finalize, ForgetNode
from engine.workflow.steps.release import ReleaseDevices
from tests.unit.workflow.builders import (
    FAULT,
    MONOTONIC,
    NO_ACCOUNT,
    NOON,
    ONE,
    OTHER_UID,
    POLICY,
    STARTED,
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

LEAVING = record(DELETING_RELEASE, device_id=ONE, orders=1)
ACCEPTED = replace(LEAVING, releases=(Release(device_id=ONE, accepted_at=NOON),))
GONE = replace(LEAVING, releases=(Release(device_id=ONE, accepted_at=NOON, gone_at=NOON),))
LIST_AWAITED = Wait(until=None, awaited=Awaited.NEXT_LIST)


def leave(seen: Context) -> object:
    return ReleaseDevices().decide(seen)


def trigger_of(decision: object) -> Trigger:
    assert isinstance(decision, Advance), decision
    return decision.trigger


def test_an_order_in_doubt_is_resolved_first() -> None:
    """What may have been bought must be known before it can be returned."""
    doubt = context(replace(LEAVING, device_id=None), open_order=order(), doubt_since=MONOTONIC)
    assert isinstance(leave(doubt), Wait)


def test_what_never_bought_has_nothing_to_return() -> None:
    """Without an account, too; but an order, a former controller or a providerID is reason to look."""
    plain = context(record(DELETING_RELEASE), binding=NO_ACCOUNT, shown=None)
    assert trigger_of(leave(plain)) is Trigger.DEVICE_GONE
    for different in (
        {"record": record(DELETING_RELEASE, orders=1)},
        {"record": record(DELETING_RELEASE, taken_over=True)},
        {"machine": machine(provider_id=f"equinixmetal://da/{ONE}")},
    ):
        assert trigger_of(leave(replace(plain, **different))) is Trigger.ATTEMPT_FAILED
    waiting = record(DELETING_RELEASE, orders=1, retry_at=NOON + timedelta(minutes=9), inputs=NO_ACCOUNT.inputs)
    assert leave(replace(plain, record=waiting)) == Wait(until=waiting.retry_at)
    unknown = replace(plain, record=record(DELETING_RELEASE, orders=1), binding=Binding(inputs="x"))
    assert trigger_of(leave(unknown)) is Trigger.ATTEMPT_FAILED


@pytest.mark.parametrize(
    ("of", "seen", "expected"),
    [
        (LEAVING, (), ONE),
        (replace(LEAVING, device_id=None), (device(TWO),), TWO),
        (ACCEPTED, (device(TWO),), TWO),
        (replace(LEAVING, device_id=None, releases=(Release(device_id=TWO),)), (), TWO),
    ],
    ids=["recorded", "tagged", "tagged beside a returned one", "asked for before"],
)
def test_every_device_is_returned(of: MachineRecord, seen: tuple[object, ...], expected: DeviceId) -> None:
    """Wherever its name is known from."""
    assert leave(context(of, shown=seen)) == ReleaseDevice(device_id=expected)  # type: ignore[arg-type]  # devices


def test_what_others_named_is_seen_before_it_is_returned() -> None:
    """The device in the providerID is returned when a list shows that it is nobody else's."""
    named = context(
        replace(LEAVING, device_id=None, taken_over=True),
        machine=machine(provider_id=f"equinixmetal://da/{TWO}"),
        shown=None,
    )
    assert leave(named) == LIST_AWAITED
    assert trigger_of(leave(replace(named, list_problem=FAULT))) is Trigger.ATTEMPT_FAILED
    assert leave(replace(named, snapshot=snapshot(device(TWO, owner=None)))) == ReleaseDevice(device_id=TWO)
    foreign = leave(replace(named, snapshot=snapshot(device(TWO, owner=OTHER_UID), started=MONOTONIC)))
    assert trigger_of(foreign) is Trigger.DEVICE_GONE


def test_a_device_of_the_go_controller_is_returned() -> None:
    """For a machine that was taken over and names no device, one that looks like its own is."""
    alike = device(TWO, owner=None)
    taken_over = record(DELETING_RELEASE, taken_over=True)
    assert leave(context(taken_over, shown=[alike])) == ReleaseDevice(device_id=TWO)
    other = device(TWO, owner=None, tags=())
    assert trigger_of(leave(context(taken_over, shown=[other]))) is Trigger.DEVICE_GONE
    assert trigger_of(leave(context(taken_over, shown=[replace(alike, state=DeviceState.GONE)]))) is Trigger.DEVICE_GONE


def test_a_return_is_proven_by_a_list_that_is_younger() -> None:
    """A list that began before the return was accepted, or before this process, says nothing."""
    seen = context(ACCEPTED, released_since={ONE: MONOTONIC})
    assert leave(seen) == LIST_AWAITED
    assert trigger_of(leave(replace(seen, list_problem=FAULT))) is Trigger.ATTEMPT_FAILED
    assert leave(replace(seen, snapshot=snapshot(started=MONOTONIC + 1))) == ExamineDevice(device_id=ONE)
    restarted = context(ACCEPTED, snapshot=snapshot(started=STARTED))
    assert leave(restarted) == LIST_AWAITED


def test_a_return_is_proven_by_list_and_look() -> None:
    """Absence from the list leads to a look; only both end it."""
    assert leave(context(ACCEPTED)) == ExamineDevice(device_id=ONE)
    assert trigger_of(leave(context(GONE))) is Trigger.DEVICE_GONE
    assert isinstance(leave(context(GONE, shown=[device()])), Wait), "a list that shows it outweighs an older 404"


def test_a_device_that_stays_is_asked_for_again() -> None:
    """After a while, and not when it is visibly on its way."""
    here = context(ACCEPTED, shown=[device()])
    assert leave(here) == Wait(until=here.now + POLICY.release_repeat, awaited=Awaited.CHANGE)
    long = later(here, POLICY.release_repeat)
    assert leave(long) == ReleaseDevice(device_id=ONE)
    wiped = replace(long, snapshot=snapshot(device(state=DeviceState.RELEASING)))
    assert isinstance(leave(wiped), Wait)


def test_a_take_over_in_deletion_waits_out_the_window() -> None:
    """Somebody may have bought just before we came."""
    taken_over = record(DELETING_RELEASE, taken_over=True)
    early = context(taken_over, started=MONOTONIC - 10)
    assert isinstance(leave(early), Wait)
    assert trigger_of(leave(context(taken_over))) is Trigger.DEVICE_GONE
    known = context(replace(GONE, taken_over=True), started=MONOTONIC - 10)
    assert trigger_of(leave(known)) is Trigger.DEVICE_GONE


def test_a_failed_attempt_is_waited_for() -> None:
    """Nothing is asked before its time."""
    waiting = replace(LEAVING, retry_at=NOON + timedelta(minutes=5), inputs="v1")
    assert leave(context(waiting)) == Wait(until=waiting.retry_at)


def returned(outcome: object) -> Advance | Remember:
    """What a return comes to."""
    done = Effected(effect=ReleaseDevice(device_id=ONE), outcome=outcome, intent=release())  # type: ignore[arg-type]  # any outcome
    decision = ReleaseDevices().absorb(context(LEAVING), done)
    assert isinstance(decision, Advance | Remember)
    return decision


def test_an_accepted_return_is_no_proof() -> None:
    """It is recorded as accepted; a 404 is recorded as gone, and both are done."""
    accepted, gone = returned(Accepted()), returned(DeviceNotFoundError("404"))
    assert accepted.changes["releases"] == (Release(device_id=ONE, accepted_at=NOON + timedelta(minutes=1)),)
    assert gone.changes["releases"][0].gone_at
    assert [each.result for each in (*accepted.resolved, *gone.resolved)] == [IntentResult.DONE] * 2


@pytest.mark.parametrize("refusal", [AccessDeniedError("403"), UnavailableError("500"), DeviceBusyError("422")])
def test_a_refused_return_is_tried_again(refusal: UnavailableError) -> None:
    """Nothing is taken for gone."""
    decision = returned(refusal)
    assert "releases" not in decision.changes
    assert decision.changes["retry_at"] > NOON
    assert [each.result for each in decision.resolved] == [IntentResult.REFUSED]


def looked(outcome: object, of: MachineRecord = ACCEPTED) -> object:
    """What a look comes to."""
    done = Effected(effect=ExamineDevice(device_id=ONE), outcome=outcome)  # type: ignore[arg-type]  # any outcome
    return ReleaseDevices().absorb(context(of), done)


def test_a_look_proves_a_device_gone_or_nothing() -> None:
    """A 404 is recorded; a device that answers is looked at again soon; an error and a 403 prove nothing."""
    gone = looked(DeviceNotFoundError("404"))
    assert isinstance(gone, Remember)
    assert gone.changes["releases"][0].gone_at
    unasked = looked(DeviceNotFoundError("404"), of=LEAVING)
    assert isinstance(unasked, Remember)
    assert unasked.changes["releases"][0].accepted_at
    there = looked(device())
    assert isinstance(there, Remember)
    assert there.changes["retry_at"] == NOON + timedelta(seconds=65)
    for refusal in (AccessDeniedError("403"), UnavailableError("500")):
        decision = looked(refusal)
        assert trigger_of(decision) is Trigger.ATTEMPT_FAILED


def test_what_is_no_return_is_looked_at_again() -> None:
    """A hold does not belong here."""
    done = Effected(effect=HoldReservation(wanted=[]), outcome=Held(reservation_id=None))
    assert isinstance(ReleaseDevices().absorb(context(LEAVING), done), Wait)


def test_the_node_goes_after_the_device() -> None:
    """It is deleted when there is one and a target cluster."""
    of = record(DELETING_FORGET_NODE, device_id=ONE)
    assert isinstance(ForgetNode().decide(context(of, node=node())), DeleteNode)
    assert trigger_of(ForgetNode().decide(context(of))) is Trigger.NODE_FORGOTTEN
    assert trigger_of(ForgetNode().decide(context(of, node=node(), has_target=False))) is Trigger.NODE_FORGOTTEN


def test_the_node_of_a_successor_stays() -> None:
    """A name may be used again: a machine without a device has no Node, and one without its object must find its id."""
    never = record(DELETING_FORGET_NODE)
    assert trigger_of(ForgetNode().decide(context(never, node=node()))) is Trigger.NODE_FORGOTTEN
    of = record(DELETING_FORGET_NODE, releases=(Release(device_id=ONE, accepted_at=NOON),))
    vanished = context(of, machine=None, node=node())
    assert trigger_of(ForgetNode().decide(vanished)) is Trigger.NODE_FORGOTTEN
    for provider_id, own in ((f"equinixmetal://da/{ONE}", True), (f"equinixmetal://da/{TWO}", False)):
        decision = ForgetNode().decide(replace(vanished, node=node(provider_id=provider_id)))
        assert isinstance(decision, DeleteNode) == own


def test_the_finalizer_goes_last() -> None:
    """When it is there; an object without it, or without itself, may go."""
    of = record(DELETING_FINALIZE)
    assert isinstance(Finalize().decide(context(of)), DropFinalizer)
    assert trigger_of(Finalize().decide(context(of, machine=machine(finalizers=("other",))))) is Trigger.FINALIZED
    assert trigger_of(Finalize().decide(context(of, machine=None))) is Trigger.FINALIZED


@pytest.mark.parametrize("step", [ForgetNode(), Finalize()], ids=["forget-node", "finalize"])
def test_a_step_without_effects_absorbs_nothing(step: ForgetNode) -> None:
    """It looks again."""
    assert isinstance(step.absorb(context(), Effected(effect=ReleaseDevice(device_id=ONE), outcome=Accepted())), Wait)


def test_every_place_of_a_life_has_its_step() -> None:
    """The program covers the table."""
    assert set(PROGRAM) == set(PLACES) - {DELETED_REST}


def test_a_wish_for_deletion_comes_before_any_step() -> None:
    """From every place but the deletion's own."""
    doomed = machine(deletion_requested_at=NOON, finalizers=(MACHINE_FINALIZER,))
    assert trigger_of(decide(context(record(ACTIVE_HEALTHY), machine=doomed))) is Trigger.DELETION_REQUESTED
    assert trigger_of(decide(context(record(DELETING_RELEASE), machine=doomed))) is Trigger.DEVICE_GONE
    assert decide(context(record(DELETED_REST), machine=doomed)) == Wait(until=None)


def test_an_object_that_stays_after_the_end_of_its_life_is_back() -> None:
    """Not at once, for watches lag; it fails with the reason, and nothing is bought or returned for it."""
    over, after = record(DELETED_REST), POLICY.object_restored_after
    assert decide(context(over, back_for=after - timedelta(seconds=1))) == Wait(until=None)
    decision = decide(context(over, back_for=after))
    assert trigger_of(decision) is Trigger.OBJECT_RESTORED
    assert isinstance(decision, Advance)
    assert decision.problem
    assert "delete it to have it replaced" in decision.problem.message


def test_a_finalizer_that_was_stripped_is_put_back() -> None:
    """Without it the object could go and its device bill on; a deletion and a beginning have their own order."""
    bare = machine(finalizers=())
    decision = decide(context(record(ACTIVE_HEALTHY, device_id=ONE), machine=bare))
    assert isinstance(decision, PatchMachine)
    assert decision.patch.add_finalizer
    assert not isinstance(decide(context(record(DELETING_RELEASE), machine=bare)), PatchMachine)


@pytest.mark.parametrize("of", [record(ACTIVE_HEALTHY, device_id=ONE), record(PROVISIONING_ORDER)])
def test_a_missing_object_is_doubted_first(of: MachineRecord) -> None:
    """It is waited for, and only then called lost; nothing is deleted."""
    waiting = decide(context(of, machine=None, absent_for=timedelta(minutes=1)))
    assert waiting == Wait(until=NOON + timedelta(minutes=1) + POLICY.object_lost_after - timedelta(minutes=1))
    assert trigger_of(decide(context(of, machine=None, absent_for=POLICY.object_lost_after))) is Trigger.OBJECT_LOST
    longer = context(of, machine=None, none_shown=True, absent_for=POLICY.object_lost_after)
    assert isinstance(decide(longer), Wait), "an answer without any Machine is doubted for longer"
    longest = replace(longer, absent_for=POLICY.objects_lost_after)
    assert trigger_of(decide(longest)) is Trigger.OBJECT_LOST


def test_a_failed_or_leaving_machine_needs_no_object() -> None:
    """Their steps go on without it."""
    assert decide(context(record(FAILED_HALT, device_id=ONE), machine=None)) == Wait(until=None)
    assert trigger_of(decide(context(record(DELETING_FINALIZE), machine=None))) is Trigger.FINALIZED


def test_the_step_of_the_place_absorbs() -> None:
    """An outcome goes to the step that asked."""
    decision = absorb(
        context(LEAVING), Effected(effect=ReleaseDevice(device_id=ONE), outcome=Accepted(), intent=release())
    )
    assert trigger_of(decision) is Trigger.RELEASE_ACCEPTED
