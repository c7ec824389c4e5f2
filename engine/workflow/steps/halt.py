"""Failed/halt: given up, with the reason; watch for a recovery, an operator's retry, or the end of the object."""

from collections.abc import Mapping
from typing import Any

from engine.domain.device import DeviceState
from engine.domain.machine import Release
from engine.domain.triggers import Trigger
from engine.domain.wanted import RETRY_ANNOTATION
from engine.workflow.attempts import next_attempt
from engine.workflow.doubt import never_bought, resolve
from engine.workflow.presence import missing, proves_gone, unproven, with_release
from engine.workflow.step import Advance, Awaited, Context, Decision, Effected, ExamineDevice, Wait


class Halt:
    """Do nothing by itself; a failed machine never buys."""

    def decide(self, context: Context) -> Decision:
        """Answer a recovery, an obeyed retry, the end of a life without a device, or the wait."""
        if context.machine is None:
            return _unresolved(context) or _vanished(context) or Wait(until=next_attempt(context))
        return _retried(context) or _recovered(context) or Wait(until=None)

    def absorb(self, context: Context, done: Effected) -> Decision:
        """Answer what a look at the device of an object that is gone comes to."""
        device_id = context.record.device_id
        if context.machine or device_id is None or not isinstance(done.effect, ExamineDevice):
            return Wait(until=None)
        if not proves_gone(context, device_id, done.outcome):
            return unproven(context, done.outcome)
        gone = Release(device_id=device_id, accepted_at=context.now, gone_at=context.now)
        return _ended(f"device {device_id} too", {"releases": with_release(context, gone)})


def _unresolved(context: Context) -> Decision | None:
    """A purchase in doubt does not end with the object: whoever gives up must know what there is to return."""
    if context.open_order is None or context.absent_for < context.lost_after:
        return None
    return resolve(context, context.open_order)


def _vanished(context: Context) -> Advance | ExamineDevice | Wait | None:
    """Without its object a machine waits for its device to go: by a person, or as an orphan.

    Returning it is not this step's to decide; that it is gone, by whomever, must be proven like any return.
    """
    record = context.record
    if context.absent_for < context.lost_after:
        return None
    if any(device.exists for device in context.own_devices):
        return None
    if record.device_id is None:
        return None if record.provider_id else _without_device(context)
    if record.proven_gone(record.device_id):
        return _ended(f"device {record.device_id} too")
    return missing(context)


def _without_device(context: Context) -> Advance | Wait:
    """A record that this process did not begin may have forgotten a device: only a list can tell."""
    if never_bought(context) or context.listed_since(context.started):
        return _ended("nothing was bought for it")
    return Wait(until=None, awaited=Awaited.NEXT_LIST)


def _ended(what: str, changes: Mapping[str, Any] | None = None) -> Advance:
    return Advance(trigger=Trigger.FINALIZED, note=f"the Machine object is gone, and {what}", changes=changes or {})


def _retried(context: Context) -> Advance | None:
    machine = context.machine
    mark = machine.annotations.get(RETRY_ANNOTATION, "") if machine else ""
    if not mark or mark == context.record.retry_mark:
        return None
    return Advance(
        trigger=Trigger.RETRIED,
        note=f"an operator asked for another try ({RETRY_ANNOTATION}={mark[:40]})",
        problem=context.record.problem,
        changes={"retry_mark": mark, "created_at": context.now, "device_id": None, "provider_id": ""},
    )


def _recovered(context: Context) -> Advance | None:
    """A kubelet may call its Node Ready for a while after its device went, and after nobody wants it any more."""
    node, device_id = context.node, context.record.device_id
    if context.machine is None or device_id is None or context.record.proven_gone(device_id):
        return None
    if not context.has_target:
        return _serves_again(context)
    if node is None or not node.ready:
        return None
    return Advance(
        trigger=Trigger.RECOVERED,
        note=f"node {node.name} is Ready after all",
        changes={"node_name": node.name, "conditions": node.conditions},
    )


def _serves_again(context: Context) -> Advance | None:
    """Without a target cluster the device is all there is: one that is up serves."""
    device = context.device
    if device is None or device.state is not DeviceState.ACTIVE:
        return None
    return Advance(
        trigger=Trigger.RECOVERED,
        note=f"device {device.device_id} is up after all",
        changes={"addresses": device.addresses},
        device_id=device.device_id,
    )
