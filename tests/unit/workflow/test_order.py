"""Purchase and doubt, each branch of the pure steps."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from engine.domain.device import DeviceState
from engine.domain.intents import IntentResult
from engine.domain.outcome import Code, Problem, alike
from engine.domain.states import DELETING_RELEASE, PENDING_WAIT_CAPACITY, State
from engine.domain.triggers import Trigger
from engine.ports.provider import (
    AccessDeniedError,
    DeviceBusyError,
    InvalidRequestError,
    OutcomeUnknownError,
    OutOfCapacityError,
    ThrottledError,
    UnavailableError,
)
from engine.workflow.attempts import paused
from engine.workflow.binding import Binding
from engine.workflow.doubt import held
from engine.workflow.step import (
    Accepted,
    Advance,
    Awaited,
    Context,
    Effected,
    Held,
    HoldReservation,
    Order,
    ReleaseDevice,
    Remember,
    Wait,
)
from engine.workflow.steps.order import AwaitCapacity, OrderDevice
from engine.workflow.steps.validate import Validate
from tests.unit.workflow.builders import (
    FAULT,
    MONOTONIC,
    NO_ACCOUNT,
    NOON,
    ONE,
    OTHER_RESERVATION,
    POLICY,
    RESERVATION,
    THREE,
    TWO,
    binding,
    context,
    device,
    later,
    order,
    record,
    snapshot,
)

OVER = POLICY.creation_timeout + timedelta(seconds=1)
RESERVED: dict[str, Any] = {"reservationIDs": [RESERVATION, OTHER_RESERVATION]}


def buy(seen: Context) -> object:
    return OrderDevice().decide(seen)


def trigger_of(decision: object) -> Trigger:
    assert isinstance(decision, Advance), decision
    return decision.trigger


def test_a_wait_for_capacity_ends() -> None:
    """It ends when it is over, when the class changes, and with the creation timeout."""
    seen = context(record(PENDING_WAIT_CAPACITY, retry_at=NOON + timedelta(minutes=9), inputs="v1", problem=FAULT))
    assert AwaitCapacity().decide(seen) == Wait(until=seen.record.retry_at)
    ended = AwaitCapacity().decide(later(seen, timedelta(minutes=9)))
    assert isinstance(ended, Advance)
    assert (ended.trigger, ended.problem) == (Trigger.CAPACITY_AWAITED, FAULT)
    changed = replace(seen, record=replace(seen.record, inputs="v0"))
    assert trigger_of(AwaitCapacity().decide(changed)) is Trigger.CAPACITY_AWAITED
    assert trigger_of(AwaitCapacity().decide(later(seen, OVER))) is Trigger.CREATION_TIMED_OUT


def test_without_reservations_a_device_is_ordered_on_demand() -> None:
    """The order carries the userdata, which is not printed."""
    decision = buy(context())
    assert decision == Order(userdata="#cloud-config")
    assert "cloud-config" not in repr(decision)


def test_reservations_are_tried_first() -> None:
    """Those that refused in this round are not asked for again."""
    assert buy(context(binding=binding(**RESERVED))) == HoldReservation(wanted=[RESERVATION, OTHER_RESERVATION])
    tried = record(reservations_tried=(RESERVATION,))
    assert buy(context(tried, binding=binding(**RESERVED))) == HoldReservation(wanted=[OTHER_RESERVATION])
    tried = record(reservations_tried=(RESERVATION, OTHER_RESERVATION))
    assert buy(context(tried, binding=binding(**RESERVED))) == Order(userdata="#cloud-config")


def test_nothing_is_bought_without_account_list_or_time() -> None:
    """Each is said, or waited for."""
    assert trigger_of(buy(context(binding=NO_ACCOUNT))) is Trigger.ATTEMPT_FAILED
    assert trigger_of(buy(context(binding=Binding(inputs="x")))) is Trigger.ATTEMPT_FAILED
    assert buy(context(shown=None)) == Wait(until=None, awaited=Awaited.NEXT_LIST)
    assert trigger_of(buy(context(shown=None, list_problem=FAULT))) is Trigger.ATTEMPT_FAILED
    assert trigger_of(buy(later(context(), OVER))) is Trigger.CREATION_TIMED_OUT


def test_a_device_that_shows_up_late_is_adopted() -> None:
    """A purchase that was given up as lost is not made again when it happened after all."""
    assert trigger_of(buy(context(shown=[device()]))) is Trigger.DEVICE_ADOPTED


def test_a_failed_attempt_is_waited_for() -> None:
    """Until its time, or until class or Secret change."""
    waiting = record(retry_at=NOON + timedelta(minutes=5), inputs="v1")
    assert buy(context(waiting)) == Wait(until=waiting.retry_at)
    assert isinstance(buy(context(replace(waiting, inputs="v0"))), Order)


def absorbed(outcome: object, *, of: Order | None = None, seen: Context | None = None, intent: bool = True) -> object:
    """What the step makes of an outcome."""
    done = Effected(effect=of or Order(userdata="u"), outcome=outcome, intent=order() if intent else None)  # type: ignore[arg-type]  # any outcome
    return OrderDevice().absorb(seen or context(), done)


def test_a_hold_leads_to_an_order_on_it() -> None:
    """Without a free reservation it goes on demand, unless the class forbids that."""
    hold = HoldReservation(wanted=[RESERVATION])
    step, seen = OrderDevice(), context(binding=binding(**RESERVED))
    taken = Effected(effect=hold, outcome=Held(reservation_id=RESERVATION))
    none = Effected(effect=hold, outcome=Held(reservation_id=None))
    assert step.absorb(seen, taken) == Order(userdata="#cloud-config", reservation_id=RESERVATION)
    assert step.absorb(seen, none) == Order(userdata="#cloud-config")
    only = context(record(problem=FAULT), binding=binding(**RESERVED, reservedDevicesOnly=True))
    refusal = step.absorb(only, none)
    assert isinstance(refusal, Advance)
    assert refusal.trigger is Trigger.CAPACITY_REFUSED
    tried = step.absorb(replace(only, record=replace(only.record, reservations_tried=(RESERVATION,))), none)
    assert isinstance(tried, Advance)
    assert FAULT.message in tried.note


def test_a_device_that_was_bought_is_recorded() -> None:
    """The order is resolved as done, and the Node will have the Machine's name."""
    decision = absorbed(device(region=""))
    assert isinstance(decision, Advance)
    assert (decision.trigger, decision.changes["device_id"]) == (Trigger.DEVICE_ORDERED, ONE)
    assert [each.result for each in decision.resolved] == [IntentResult.DONE]


def test_a_lost_answer_leaves_the_order_open() -> None:
    """Nobody knows whether it was bought: the intent gets no result."""
    decision = absorbed(OutcomeUnknownError("silence"))
    assert isinstance(decision, Advance)
    assert (decision.trigger, decision.resolved) == (Trigger.ATTEMPT_FAILED, ())


@pytest.mark.parametrize(
    "refusal", [UnavailableError("x"), InvalidRequestError("x"), AccessDeniedError("x"), ThrottledError("x")]
)
def test_a_refusal_proves_that_nothing_was_bought(refusal: UnavailableError) -> None:
    """The intent is resolved as refused, and the machine waits."""
    decision = absorbed(refusal)
    assert isinstance(decision, Advance)
    assert decision.trigger is Trigger.ATTEMPT_FAILED
    assert [each.result for each in decision.resolved] == [IntentResult.REFUSED]


def test_a_throttled_machine_comes_back_when_it_was_told() -> None:
    """A wish of the cloud in the future is heeded; one in the past is not."""
    wish = NOON + timedelta(minutes=7)
    decision = absorbed(ThrottledError("slow", wish))
    assert isinstance(decision, Advance)
    assert decision.changes["retry_at"] == wish
    past = absorbed(ThrottledError("slow", NOON))
    assert isinstance(past, Advance)
    assert past.changes["retry_at"] > NOON + timedelta(minutes=1)


@pytest.mark.parametrize("refusal", [OutOfCapacityError("none"), DeviceBusyError("wiping")])
def test_a_reservation_that_refuses_is_put_aside(refusal: OutOfCapacityError) -> None:
    """The next one is tried at once."""
    decision = absorbed(refusal, of=Order(userdata="u", reservation_id=RESERVATION))
    assert isinstance(decision, Remember)
    assert decision.changes["reservations_tried"] == (RESERVATION,)


def test_no_capacity_is_waited_out() -> None:
    """On demand, a metro that is sold out sends the machine back to wait; a busy cloud is asked again soon."""
    assert trigger_of(absorbed(OutOfCapacityError("sold out"))) is Trigger.CAPACITY_REFUSED
    assert trigger_of(absorbed(DeviceBusyError("busy"))) is Trigger.ATTEMPT_FAILED


def test_what_cannot_come_back_changes_nothing() -> None:
    """An outcome that belongs to no order of ours is looked at again."""
    assert isinstance(absorbed(Accepted()), Wait)
    assert isinstance(absorbed(device(), intent=False), Wait)


def in_doubt(**different: object) -> Context:
    """An order without an answer, known for ten seconds."""
    return replace(context(open_order=order(), doubt_since=MONOTONIC - 10), **different)  # type: ignore[arg-type]  # any field


def test_a_purchase_in_doubt_is_adopted_when_it_is_seen() -> None:
    """The device that carries the tag is what came of it; in a deletion, it is known and returned."""
    found = in_doubt(snapshot=snapshot(device()))
    decision = buy(found)
    assert isinstance(decision, Advance)
    assert (decision.trigger, decision.resolved[0].device_id) == (Trigger.DEVICE_ADOPTED, ONE)
    leaving = replace(found, record=record(DELETING_RELEASE))
    assert leaving.record.state is State.DELETING
    assert trigger_of(buy(leaving)) is Trigger.ORDER_RESOLVED


def test_a_purchase_in_doubt_waits_for_the_whole_window() -> None:
    """Only a complete list that began after the visibility window proves that nothing was bought."""
    waiting = buy(in_doubt())
    assert isinstance(waiting, Wait)
    assert waiting.awaited is Awaited.CHANGE
    over = MONOTONIC - 10 + POLICY.visibility_window.total_seconds()
    at_the_end = in_doubt(monotonic=over, snapshot=snapshot(started=over))
    assert isinstance(buy(at_the_end), Wait), "a list that began at the very end of the window is too early"
    assert buy(in_doubt(monotonic=over + 1)) == Wait(until=None, awaited=Awaited.NEXT_LIST)
    never = buy(in_doubt(monotonic=over + 2, snapshot=snapshot(started=over + 1)))
    assert isinstance(never, Advance)
    assert never.trigger is Trigger.ORDER_RESOLVED
    assert never.resolved[0].result is IntentResult.NEVER_HAPPENED


def test_a_purchase_in_doubt_needs_an_account() -> None:
    """Without one it says so, and waits."""
    assert trigger_of(buy(in_doubt(binding=NO_ACCOUNT))) is Trigger.ATTEMPT_FAILED
    assert trigger_of(buy(in_doubt(binding=Binding(inputs="x")))) is Trigger.ATTEMPT_FAILED
    paused_record = record(retry_at=NOON + timedelta(minutes=9), inputs=NO_ACCOUNT.inputs)
    assert buy(in_doubt(binding=NO_ACCOUNT, record=paused_record)) == Wait(until=paused_record.retry_at)


def test_the_recorded_device_comes_first_then_the_oldest() -> None:
    """Which of two devices is kept does not depend on the order of the list; those that are gone do not count."""
    shown = [device(TWO, created_at=None), device(ONE), device(THREE, state=DeviceState.GONE)]
    assert [each.device_id for each in held(context(shown=shown))] == [ONE, TWO]
    kept = record(device_id=TWO)
    assert [each.device_id for each in held(context(kept, shown=shown))] == [TWO, ONE]


def test_the_same_problem_twice_is_one_line_of_history() -> None:
    """Ids and numbers do not make a problem new; another code or another sentence does."""
    first = absorbed(UnavailableError("request 0a1b2c3d4e failed after 3 s"))
    assert isinstance(first, Advance)
    assert first.problem
    again = absorbed(
        UnavailableError("request 99ffee00aa failed after 31 s"),
        seen=context(record(problem=first.problem, attempts=1)),
    )
    assert isinstance(again, Remember)
    assert again.changes["attempts"] == 2
    assert not alike(FAULT, Problem(code=Code.INTERNAL, message=FAULT.message))
    assert not alike(FAULT, Problem(code=FAULT.code, message="another sentence"))


def test_a_pause_that_is_over_is_none() -> None:
    """At its very instant it is over."""
    seen = context(record(retry_at=NOON + timedelta(minutes=1), inputs="v1"))
    assert paused(seen) is None


@pytest.mark.parametrize("step", [Validate(), AwaitCapacity()], ids=["validate", "await-capacity"])
def test_a_step_without_effects_absorbs_nothing(step: Validate) -> None:
    """It looks again."""
    assert isinstance(step.absorb(context(), Effected(effect=ReleaseDevice(device_id=ONE), outcome=Accepted())), Wait)
