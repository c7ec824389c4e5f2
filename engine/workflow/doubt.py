"""A purchase whose answer was lost: look for the device over the whole visibility window first."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from engine.domain.device import Device
from engine.domain.intents import Intent, IntentResult
from engine.domain.outcome import Code, problem
from engine.domain.states import State
from engine.domain.triggers import Trigger
from engine.workflow.attempts import failed, paused, resolution
from engine.workflow.step import Advance, Awaited, Context, Remember, Wait

_NO_DATE = datetime.max.replace(tzinfo=UTC)


def resolve(context: Context, order: Intent) -> Advance | Remember | Wait:
    """Answer what became of the open order, or how long to go on looking."""
    found = held(context)
    if found:
        return _bought(context, order, found)
    if context.binding.returning is None:
        why = context.binding.fault.message if context.binding.fault else "the account is unknown"
        fault = problem(Code.UNKNOWN, f"nobody knows whether a device was bought, and it cannot be looked for: {why}")
        return paused(context) or failed(context, fault)
    window = context.policy.visibility_window
    over = context.doubt_since + window.total_seconds()
    if context.listed_since(over):
        return Advance(
            trigger=Trigger.ORDER_RESOLVED,
            note=f"order {order.intent_id} never happened: complete lists over {window} show no device of it",
            resolved=(resolution(context, order, IntentResult.NEVER_HAPPENED),),
        )
    return listed_after(context, over)


def listed_after(context: Context, instant: float) -> Wait:
    """Answer the wait for a complete list that begins after this monotonic instant.

    Until then the lists come at their usual pace, and one that shows a device of this Machine wakes it.
    """
    left = instant - context.monotonic
    if left < 0:
        return Wait(until=None, awaited=Awaited.NEXT_LIST)
    # A list that begins at the very instant is too early, hence the millisecond.
    return Wait(until=context.now + timedelta(seconds=left, milliseconds=1), awaited=Awaited.CHANGE)


def never_bought(context: Context) -> bool:
    """Whether nothing can have been bought; a database that was restored from a backup has forgotten some purchases."""
    if not context.admitted_here and context.binding.returning is not None:
        return False
    named = context.machine.provider_id if context.machine else ""
    return context.record.orders == 0 and not context.record.taken_over and not named


def held(context: Context) -> Sequence[Device]:
    """Answer the devices of this Machine that the last list shows, the recorded one first, then the oldest first."""
    kept = context.record.device_id
    present = [device for device in context.own_devices if device.exists]
    return sorted(present, key=lambda each: (each.device_id != kept, each.created_at or _NO_DATE, each.device_id))


def _bought(context: Context, order: Intent, found: Sequence[Device]) -> Advance:
    device = found[0]
    given_up = context.record.state in {State.DELETING, State.FAILED}
    done = replace(resolution(context, order, IntentResult.DONE), device_id=device.device_id)
    return Advance(
        trigger=Trigger.ORDER_RESOLVED if given_up else Trigger.DEVICE_ADOPTED,
        note=f"order {order.intent_id} did happen: device {device.device_id} carries the machine's tag",
        changes=device_changes(context, device),
        resolved=(done,),
        device_id=device.device_id,
    )


def device_changes(context: Context, device: Device) -> dict[str, object]:
    """Answer the changes of the record that make this device the machine's own."""
    return {
        "device_id": device.device_id,
        "provider_id": device.provider_id,
        "node_name": context.record.name if context.has_target else "",
        "addresses": device.addresses,
        "reservations_tried": (),
    }
