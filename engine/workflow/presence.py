"""What every step with a device asks: whether it is still there, and whether there is one too many."""

from datetime import datetime, timedelta

from engine.domain.device import Device, DeviceState
from engine.domain.ids import DeviceId
from engine.domain.intents import IntentResult
from engine.domain.machine import Release
from engine.domain.outcome import Code, problem
from engine.domain.triggers import Trigger
from engine.ports.provider import AccessDeniedError, DeviceNotFoundError, OutcomeUnknownError, ProviderRefusal
from engine.ports.store import Resolution
from engine.workflow.attempts import failed, next_attempt, resolution
from engine.workflow.doubt import held
from engine.workflow.step import Advance, Context, Effected, ExamineDevice, Outcome, ReleaseDevice, Remember, Wait

_LOOK_AGAIN_AFTER = timedelta(minutes=1)  # a device that a list misses and a GET shows: the list lags, do not hammer


def surplus(context: Context) -> ReleaseDevice | None:
    """Answer the return of a second device of this Machine, if the list shows one that is not on its way back."""
    if next_attempt(context) or not context.may_delete:
        return None
    for device in held(context):
        if device.device_id != context.record.device_id and not _leaving(context, device):
            return ReleaseDevice(device_id=device.device_id)
    return None


def _leaving(context: Context, device: Device) -> bool:
    release = context.record.release_of(device.device_id)
    if release is None or release.accepted_at is None:
        return device.state is DeviceState.RELEASING
    patience = release.accepted_at + context.policy.release_repeat
    return device.state is DeviceState.RELEASING or context.now <= patience


def missing(context: Context) -> ExamineDevice | None:
    """Answer a look at the recorded device when complete lists no longer show it; a list alone proves nothing."""
    device_id, due = context.record.device_id, look_due(context)
    return ExamineDevice(device_id=device_id) if device_id and due and due <= context.now else None


def look_due(context: Context) -> datetime | None:
    """Answer from when on a recorded device that complete lists do not show may be looked at; None if they show it."""
    record, shown = context.record, context.device
    if context.snapshot is None or record.device_id is None or (shown is not None and shown.exists):
        return None
    # At the very end of the window a list may still be right to miss it, hence the millisecond.
    settled = record.place_since + context.policy.visibility_window + timedelta(milliseconds=1)
    return max(settled, next_attempt(context) or settled)


def examined(context: Context, outcome: Outcome) -> Advance | Remember | Wait:
    """Answer what a look at a missing device comes to."""
    record = context.record
    if record.device_id and proves_gone(context, record.device_id, outcome):
        gone = Release(device_id=record.device_id, accepted_at=context.now, gone_at=context.now)
        text = f"device {record.device_id} is gone from the cloud although nobody returned it"
        fault = problem(Code.NOT_FOUND, f"{text}; delete the machine to have it replaced")
        return Advance(
            trigger=Trigger.DEVICE_LOST,
            note=text,
            problem=fault,
            changes={"releases": with_release(context, gone)},
            device_id=record.device_id,
        )
    return unproven(context, outcome)


def unproven(context: Context, outcome: Outcome) -> Advance | Remember:
    """Answer when to look again at a device that lists miss and that is not proven gone."""
    later = context.now + _LOOK_AGAIN_AFTER
    if isinstance(outcome, ProviderRefusal):
        return failed(context, outcome.problem, retry_at=later)
    seen = {"problem": None, "attempts": 0, "retry_at": later, "due_at": later, "inputs": context.binding.inputs}
    return Remember(changes=seen)


def proves_gone(context: Context, device_id: DeviceId, outcome: Outcome) -> bool:
    """Answer whether a look at a device that complete lists miss proves that it is gone.

    A failed on-demand device is moved out of the account and answers 403. So does any device to a key that lost its
    rights, or that belongs to another project. So a 403 counts only when this very account was shown the device
    before, and is given complete lists without it all the time between a first 403 and one minutes later: then it is
    the device that went, and not the right.
    """
    if isinstance(outcome, DeviceNotFoundError):
        return True
    denied = context.denied_since.get(device_id)
    if not isinstance(outcome, AccessDeniedError) or denied is None or context.list_problem:
        return False
    settled = denied + context.policy.vanished_after.total_seconds()
    return device_id in context.shown_before and context.listed_since(settled)


def with_release(context: Context, release: Release) -> tuple[Release, ...]:
    """Answer the returns of this machine with this one among them."""
    others = [each for each in context.record.releases if each.device_id != release.device_id]
    return (*others, release)


def surplus_released(context: Context, device_id: DeviceId, done: Effected) -> Advance | Remember:
    """Answer what the return of a second device comes to."""
    record, outcome = context.record, done.outcome
    resolved = release_resolution(context, done)
    if isinstance(outcome, ProviderRefusal) and not isinstance(outcome, DeviceNotFoundError):
        later = context.now + context.policy.busy_retry
        return failed(context, outcome.problem, retry_at=later, resolved=resolved)
    release = Release(device_id=device_id, accepted_at=context.now)
    return Advance(
        trigger=Trigger.DUPLICATE_FOUND,
        note=f"the cloud held a second device {device_id}; it was given back, {record.device_id} is kept",
        changes={"releases": with_release(context, release)},
        resolved=resolved,
        device_id=device_id,
    )


def release_resolution(context: Context, done: Effected) -> tuple[Resolution, ...]:
    """Answer what became of an intended return: it is harmless to repeat, so a lost answer needs no search."""
    if done.intent is None:
        return ()
    if not isinstance(done.outcome, ProviderRefusal) or isinstance(done.outcome, DeviceNotFoundError):
        return (resolution(context, done.intent, IntentResult.DONE),)
    unknown = isinstance(done.outcome, OutcomeUnknownError)
    result = IntentResult.REPEATED if unknown else IntentResult.REFUSED
    return (resolution(context, done.intent, result, done.outcome.problem),)
