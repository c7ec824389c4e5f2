"""The table from place to step, and what comes before any step: the wish for deletion and the loss of the object."""

from typing import Final

from engine.domain.outcome import Code, problem
from engine.domain.states import (
    ACTIVE_HEALTHY,
    ACTIVE_UNHEALTHY,
    DELETING_FINALIZE,
    DELETING_FORGET_NODE,
    DELETING_RELEASE,
    FAILED_HALT,
    PENDING_VALIDATE,
    PENDING_WAIT_CAPACITY,
    PROVISIONING_INSTALL,
    PROVISIONING_JOIN,
    PROVISIONING_ORDER,
    Place,
    State,
)
from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER, RETRY_ANNOTATION
from engine.ports.cluster import MachinePatch
from engine.workflow.step import Advance, Context, Decision, Effected, PatchMachine, Step, Wait
from engine.workflow.steps.forget import Finalize, ForgetNode
from engine.workflow.steps.halt import Halt
from engine.workflow.steps.install import Install
from engine.workflow.steps.order import AwaitCapacity, OrderDevice
from engine.workflow.steps.release import ReleaseDevices
from engine.workflow.steps.serve import Serve
from engine.workflow.steps.validate import Validate

PROGRAM: Final[dict[Place, Step]] = {
    PENDING_VALIDATE: Validate(),
    PENDING_WAIT_CAPACITY: AwaitCapacity(),
    PROVISIONING_ORDER: OrderDevice(),
    PROVISIONING_INSTALL: Install(),
    PROVISIONING_JOIN: Install(),
    ACTIVE_HEALTHY: Serve(),
    ACTIVE_UNHEALTHY: Serve(),
    FAILED_HALT: Halt(),
    DELETING_RELEASE: ReleaseDevices(),
    DELETING_FORGET_NODE: ForgetNode(),
    DELETING_FINALIZE: Finalize(),
}
"""Every place of a life that is not over, and the step that works there."""


def decide(context: Context) -> Decision:
    """Answer what to do now: obey a deletion, doubt a missing object, else the step of the place."""
    if context.record.finished:
        return _restored(context) or Wait(until=None)
    before = _deletion(context) or _absence(context) or _unprotected(context)
    return before or PROGRAM[context.record.place].decide(context)


def absorb(context: Context, done: Effected) -> Decision:
    """Answer what an effect at the cloud comes to at the place of the machine."""
    return PROGRAM[context.record.place].absorb(context, done)


def _restored(context: Context) -> Advance | None:
    """A watch that lags shows an object for a while after its end; one that stays needs somebody who minds it.

    Nothing is bought for it by itself: who brought it back decides.
    """
    if context.back_for < context.policy.object_restored_after:
        return None
    text = "the Machine object is there although its life was over and everything had been returned"
    help_text = f"delete it to have it replaced, or annotate it with {RETRY_ANNOTATION} to have a device ordered"
    fault = problem(Code.NOT_FOUND, f"{text}; {help_text}")
    return Advance(trigger=Trigger.OBJECT_RESTORED, note=text, problem=fault)


def _deletion(context: Context) -> Advance | None:
    machine = context.machine
    if machine is None or machine.deletion_requested_at is None or context.record.state is State.DELETING:
        return None
    return Advance(trigger=Trigger.DELETION_REQUESTED, note="the Machine object is to be deleted")


def _unprotected(context: Context) -> PatchMachine | None:
    """A finalizer that somebody stripped is put back: without it the object could go, and its device bill on."""
    machine = context.machine
    safe = machine is None or MACHINE_FINALIZER in machine.finalizers
    if safe or context.record.state in {State.PENDING, State.DELETING}:
        return None
    return PatchMachine(patch=MachinePatch(add_finalizer=True))


def _absence(context: Context) -> Decision | None:
    """An object that is missing proves little: a cache may lag, a backup may be on its way."""
    if context.machine is not None or context.record.state in {State.DELETING, State.FAILED}:
        return None
    left = context.lost_after - context.absent_for
    if left.total_seconds() > 0:
        return Wait(until=context.now + left)
    held = f"device {context.record.device_id} may still bill" if context.record.device_id else "no device is known"
    text = f"the Machine object vanished without a deletion; {held}"
    fault = problem(Code.NOT_FOUND, f"{text}; look at the cloud's console")
    return Advance(trigger=Trigger.OBJECT_LOST, note=text, problem=fault)
