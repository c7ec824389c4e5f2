"""Validation, each branch of the pure step."""

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.domain.device import DeviceState
from engine.domain.machine import Release
from engine.domain.states import PENDING_VALIDATE
from engine.domain.triggers import Trigger
from engine.workflow.binding import Binding
from engine.workflow.step import (
    Advance,
    Awaited,
    Context,
    PatchMachine,
    Wait,
)
from engine.workflow.steps.validate import Validate
from tests.unit.workflow.builders import (
    FAULT,
    MONOTONIC,
    NAME,
    NO_ACCOUNT,
    NOON,
    ONE,
    OTHER_UID,
    POLICY,
    TWO,
    binding,
    context,
    device,
    later,
    machine,
    machine_class,
    record,
    snapshot,
)

NEW = record(PENDING_VALIDATE)
TAKEN_OVER = record(PENDING_VALIDATE, taken_over=True)
OVER = POLICY.creation_timeout + timedelta(seconds=1)


def validate(seen: Context) -> object:
    return Validate().decide(seen)


def trigger_of(decision: object) -> Trigger:
    assert isinstance(decision, Advance), decision
    return decision.trigger


def test_without_its_object_nothing_is_validated() -> None:
    """A Machine object that is not there is waited for."""
    assert validate(context(NEW, machine=None)) == Wait(until=None)


def test_the_object_is_protected_first() -> None:
    """Finalizer, label and annotation are set in one patch, before anything else."""
    decision = validate(context(NEW, machine=machine(finalizers=(), labels={}, annotations={}), binding=NO_ACCOUNT))
    assert isinstance(decision, PatchMachine)
    assert decision.patch.add_finalizer
    assert decision.patch.labels == {"node": NAME}
    assert list(decision.patch.annotations) == ["machinepriority.machine.sapcloud.io"]


def test_only_what_is_missing_is_patched() -> None:
    """A name that fits no label, and a world without Nodes, set no label."""
    long = machine(name="w" * 64, labels={})
    assert not isinstance(validate(context(NEW, machine=long)), PatchMachine)
    lonely = validate(context(NEW, machine=machine(labels={}, annotations={}), has_target=False))
    assert isinstance(lonely, PatchMachine)
    assert not lonely.patch.labels
    assert not lonely.patch.add_finalizer


def test_a_name_that_is_no_hostname_is_refused() -> None:
    """What the cloud could never call a device is said before it is asked."""
    decision = validate(context(replace(NEW, name="Worker_1")))
    assert trigger_of(decision) is Trigger.ATTEMPT_FAILED


def test_without_an_account_the_reason_is_told_and_time_passes() -> None:
    """The fault of class or Secret is the machine's problem, until its creation timeout is over."""
    seen = context(NEW, binding=NO_ACCOUNT)
    decision = validate(seen)
    assert isinstance(decision, Advance)
    assert decision.problem
    assert "Secret key does not exist" in decision.problem.message
    assert trigger_of(validate(later(seen, OVER))) is Trigger.CREATION_TIMED_OUT
    silent = validate(replace(seen, binding=Binding(inputs="x")))
    assert trigger_of(silent) is Trigger.ATTEMPT_FAILED


def test_a_machine_that_names_its_device_never_times_out_for_its_class() -> None:
    """A Secret that is missing at a take-over must not have a serving machine replaced."""
    seen = context(TAKEN_OVER, machine=machine(provider_id=f"equinixmetal://da/{ONE}"), binding=NO_ACCOUNT)
    assert trigger_of(validate(later(seen, 9 * OVER))) is Trigger.ATTEMPT_FAILED


def test_a_named_device_is_adopted() -> None:
    """`spec.providerID` is believed, and the label names the Node, if there are Nodes."""
    named = machine(provider_id=f"equinixmetal://da/{ONE}")
    decision = validate(context(TAKEN_OVER, machine=named, shown=None))
    assert isinstance(decision, Advance)
    assert decision.trigger is Trigger.DEVICE_ADOPTED
    assert decision.changes["node_name"] == NAME
    lonely = validate(context(TAKEN_OVER, machine=named, has_target=False))
    assert isinstance(lonely, Advance)
    assert not lonely.changes["node_name"]


@pytest.mark.parametrize("provider_id", ["aws:///eu/i-1", f"equinixmetal://da/{TWO}"])
def test_a_device_of_somebody_else_is_not_adopted(provider_id: str) -> None:
    """A providerID of another cloud, or of another Machine's device, is a problem that waits for its correction."""
    seen = context(NEW, machine=machine(provider_id=provider_id), shown=[device(TWO, owner=OTHER_UID)])
    decision = validate(seen)
    assert trigger_of(decision) is Trigger.ATTEMPT_FAILED
    waiting = replace(NEW, retry_at=seen.now + timedelta(seconds=5), inputs="v1")
    assert validate(replace(seen, record=waiting)) == Wait(until=waiting.retry_at)


def test_a_named_device_that_is_proven_gone_is_passed_over() -> None:
    """A retry after a lost device looks for another."""
    gone = replace(NEW, releases=(Release(device_id=ONE, accepted_at=NOON, gone_at=NOON),))
    seen = context(gone, machine=machine(provider_id=f"equinixmetal://da/{ONE}"))
    assert trigger_of(validate(seen)) is Trigger.VALIDATED


def test_the_class_is_protected_before_anything_is_bought() -> None:
    """An unprotected class could vanish with the only key to the device."""
    decision = validate(context(NEW, binding=binding(found=machine_class(finalizers=()))))
    assert isinstance(decision, Wait)


def test_a_list_is_awaited_before_anything_is_bought() -> None:
    """No list yet: wait; no list because of an error: that is the problem."""
    assert validate(context(NEW, shown=None)) == Wait(until=None, awaited=Awaited.NEXT_LIST)
    assert trigger_of(validate(context(NEW, shown=None, list_problem=FAULT))) is Trigger.ATTEMPT_FAILED


def test_validation_ends_with_the_creation_timeout() -> None:
    """Also a Machine that could be bought is given up when its time is over."""
    assert trigger_of(validate(later(context(NEW), OVER))) is Trigger.CREATION_TIMED_OUT


def test_a_tagged_device_is_adopted() -> None:
    """The oldest device with the Machine's tag becomes its own."""
    young = device(ONE, created_at=NOON + timedelta(minutes=1))
    decision = validate(context(NEW, shown=[young, device(TWO)]))
    assert isinstance(decision, Advance)
    assert (decision.trigger, decision.device_id) == (Trigger.DEVICE_ADOPTED, TWO)


def test_a_device_of_the_go_controller_is_adopted() -> None:
    """A device without tag, of the Machine's name and with all tags of its class, is its own; others are not."""
    strangers = [
        device(TWO, owner=None, tags=()),
        device(TWO, owner=None, state=DeviceState.GONE),
        device(TWO, owner=None, hostname="worker-2"),
    ]
    assert trigger_of(validate(context(NEW, shown=strangers))) is Trigger.VALIDATED
    assert trigger_of(validate(context(NEW, shown=[*strangers, device(ONE, owner=None)]))) is Trigger.DEVICE_ADOPTED


def test_a_machine_that_was_taken_over_waits_out_the_window() -> None:
    """Somebody may have bought a moment before we came; nothing is bought before that would be visible."""
    window = POLICY.visibility_window.total_seconds()
    early = context(TAKEN_OVER, started=MONOTONIC - 10)
    waiting = validate(early)
    assert isinstance(waiting, Wait)
    assert waiting.until
    assert waiting.awaited is Awaited.CHANGE
    assert timedelta(seconds=window - 10) <= waiting.until - early.now <= timedelta(seconds=window - 9)
    stale = replace(early, monotonic=MONOTONIC + window)
    assert validate(stale) == Wait(until=None, awaited=Awaited.NEXT_LIST)
    assert trigger_of(validate(replace(stale, snapshot=snapshot(started=MONOTONIC + window)))) is Trigger.VALIDATED


def test_a_valid_order_is_described_with_its_warnings() -> None:
    """What will be bought, and what deserves a word, stands in the history."""
    spec = machine_class().provider_spec
    assert spec is not None
    odd = machine_class(provider_spec={**spec, "metr": "da"})
    decision = validate(context(NEW, binding=binding(found=odd)))
    assert isinstance(decision, Advance)
    assert "c3.small.x86" in decision.note
    assert "warning" in decision.note
    bare = validate(context(NEW, binding=binding(found=machine_class(provider_spec=None))))
    assert isinstance(bare, Advance)
    assert "warning" not in bare.note


def test_a_take_over_gets_the_whole_creation_time() -> None:
    """A Machine that is older than its creation timeout is not given up at its take-over."""
    old = replace(TAKEN_OVER, created_at=NOON - timedelta(days=30), admitted_at=NOON)
    assert context(old).deadline == NOON + POLICY.creation_timeout
    own = context(old, machine=machine(creation_timeout=timedelta(minutes=3)))
    assert own.deadline == NOON + timedelta(minutes=3)
    assert context(replace(old, taken_over=False)).deadline < NOON
