"""Failed/halt: given up, with the reason; watch for a recovery, an operator's retry, or the end of the object."""

from engine.domain.device import DeviceState
from engine.domain.triggers import Trigger
from engine.domain.wanted import RETRY_ANNOTATION
from engine.workflow.step import Advance, Context, Decision, Effected, Wait


class Halt:
    """Do nothing by itself; a failed machine never buys."""

    def decide(self, context: Context) -> Decision:
        """Answer a recovery, an obeyed retry, the end of a life without a device, or the wait."""
        return _vanished(context) or _retried(context) or _recovered(context) or Wait(until=None)

    def absorb(self, context: Context, done: Effected) -> Decision:  # noqa: ARG002 - this step has no effects at the cloud
        """Answer that nothing follows: this step has no effects at the cloud."""
        return Wait(until=None)


def _vanished(context: Context) -> Advance | None:
    record = context.record
    nothing_bought = record.device_id is None and context.open_order is None and not record.provider_id
    long_gone = context.absent_for >= context.policy.object_lost_after
    if context.machine is None and long_gone and nothing_bought:
        return Advance(trigger=Trigger.FINALIZED, note="the Machine object is gone and nothing was bought for it")
    return None


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
