"""What a failed attempt comes to: what is remembered, when the next is due, whether it is worth a line of history."""

from datetime import datetime, timedelta

from engine.domain.intents import Intent, IntentResult
from engine.domain.outcome import Code, Problem, alike, problem
from engine.domain.triggers import Trigger
from engine.ports.provider import DeviceBusyError, ProviderRefusal, ThrottledError
from engine.ports.store import Resolution
from engine.workflow.step import Advance, Context, Remember, Wait

_PAUSE_AT_LEAST = timedelta(minutes=5)  # more than any fixed wait of a step; a cloud that asks for more is asked again


def failed(
    context: Context, fault: Problem, *, retry_at: datetime | None = None, resolved: tuple[Resolution, ...] = ()
) -> Advance | Remember:
    """Answer the commit for an attempt that did not succeed; the same problem twice in a row is one line of history."""
    record, fault = context.record, _located(context, fault)
    attempts = record.attempts + 1
    due = retry_at or context.now + _backoff(context)
    changes = {"attempts": attempts, "retry_at": due, "inputs": context.binding.inputs, "due_at": due}
    if record.problem and alike(record.problem, fault):
        return Remember(changes=changes, resolved=resolved)
    return Advance(
        trigger=Trigger.ATTEMPT_FAILED, note=fault.message, problem=fault, changes=changes, resolved=resolved
    )


def refused(context: Context, refusal: ProviderRefusal, resolved: tuple[Resolution, ...] = ()) -> Advance | Remember:
    """Answer the commit for a refusal by the cloud, with the wait that it deserves."""
    retry_at: datetime | None = None
    if isinstance(refusal, ThrottledError) and refusal.retry_at:
        # A cloud that names one second, for an hour, to everybody must not have everybody ask each second.
        retry_at = max(refusal.retry_at, context.now + _backoff(context))
    if isinstance(refusal, DeviceBusyError):
        retry_at = context.now + context.policy.busy_retry
    return failed(context, refusal.problem, retry_at=retry_at, resolved=resolved)


def _longest_pause(context: Context) -> timedelta:
    policy = context.policy
    return max(2 * policy.backoff.longest, policy.capacity_retry, policy.busy_retry, _PAUSE_AT_LEAST)


def _backoff(context: Context) -> timedelta:
    return context.policy.backoff.wait(key=context.record.uid, attempt=context.record.attempts + 1)


def paused(context: Context) -> Wait | None:
    """Answer the wait that is left after a failed attempt; None when it is over or the inputs changed since."""
    retry_at = next_attempt(context)
    return Wait(until=retry_at) if retry_at and context.record.inputs == context.binding.inputs else None


def next_attempt(context: Context) -> datetime | None:
    """Answer until when nothing is to be asked of the cloud after the last attempt; None when that is over.

    A clock that was ahead when the instant was written, and was put right, must not make anybody wait for it.
    """
    retry_at = context.record.retry_at
    if retry_at is None or not context.now < retry_at <= context.now + _longest_pause(context):
        return None
    return retry_at


def timed_out(context: Context, waited_for: str) -> Advance:
    """Answer the end of a creation that took too long; the last problem, if any, is the better explanation."""
    text = f"machine {context.record.name}: {waited_for} within the creation timeout of {context.creation_timeout}"
    last = context.record.problem
    fault = last or problem(Code.DEADLINE_EXCEEDED, f"{text}; look at the device's console and its userdata")
    return Advance(trigger=Trigger.CREATION_TIMED_OUT, note=text, problem=fault)


def _located(context: Context, fault: Problem) -> Problem:
    """A cloud that denies access knows no Secrets; the user who must mend one wants to know which."""
    binding = context.binding
    if fault.code is not Code.PERMISSION_DENIED or not binding.secret_name or binding.class_object is None:
        return fault
    return problem(
        fault.code, f"{fault.message} (MachineClass {binding.class_object.name} with Secret {binding.secret_name})"
    )


def resolution(context: Context, intent: Intent, result: IntentResult, fault: Problem | None = None) -> Resolution:
    """Answer the result of an intent as of now."""
    return Resolution(intent_id=intent.intent_id, result=result, at=context.now, problem=fault)
