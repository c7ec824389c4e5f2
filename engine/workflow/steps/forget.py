"""Deleting/forget-node and /finalize: the Node object goes, then our finalizer; the history stays."""

from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER, NodeObject
from engine.workflow.step import Advance, Context, Decision, DeleteNode, DropFinalizer, Effected, Wait


class ForgetNode:
    """Have the Node object deleted, if there is one."""

    def decide(self, context: Context) -> Decision:
        """Answer the deletion of the Node, or that there is none."""
        node = _own_node(context)
        if node is not None:
            then = Advance(trigger=Trigger.NODE_FORGOTTEN, note=f"node {node.name} was deleted")
            return DeleteNode(node=node, then=then)
        return Advance(trigger=Trigger.NODE_FORGOTTEN, note="there is no node")

    def absorb(self, context: Context, done: Effected) -> Decision:  # noqa: ARG002 - this step has no effects at the cloud
        """Answer that nothing follows: this step has no effects at the cloud."""
        return Wait(until=context.now)


def _own_node(context: Context) -> NodeObject | None:
    """Answer the Node of one of this machine's devices.

    A name alone proves little: a successor may have it, while this record came back with a backup. So a machine that
    never had a device has no Node, and one without its object must find the device in the Node's providerID.
    """
    record, node = context.record, context.node
    devices = [record.device_id, *(release.device_id for release in record.releases)]
    known = [each for each in devices if each]
    if node is None or not context.has_target or not known:
        return None
    if not node.provider_id:
        return node if context.machine else None
    return node if any(node.provider_id.endswith(each) for each in known) else None


class Finalize:
    """Let the Machine object go."""

    def decide(self, context: Context) -> Decision:
        """Answer the removal of our finalizer, or that it is off."""
        then = Advance(trigger=Trigger.FINALIZED, note="everything was returned; the Machine object may go")
        if context.machine is None or MACHINE_FINALIZER not in context.machine.finalizers:
            return then
        return DropFinalizer(machine=context.machine, then=then)

    def absorb(self, context: Context, done: Effected) -> Decision:  # noqa: ARG002 - this step has no effects at the cloud
        """Answer that nothing follows: this step has no effects at the cloud."""
        return Wait(until=context.now)
