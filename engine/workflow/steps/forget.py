"""Deleting/forget-node and /finalize: the Node object goes, then our finalizer; the history stays."""

from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER
from engine.workflow.step import Advance, Context, Decision, DeleteNode, DropFinalizer, Effected, Wait


class ForgetNode:
    """Have the Node object deleted, if there is one."""

    def decide(self, context: Context) -> Decision:
        """Answer the deletion of the Node, or that there is none."""
        if context.has_target and context.node is not None:
            name = context.node.name
            then = Advance(trigger=Trigger.NODE_FORGOTTEN, note=f"node {name} was deleted")
            return DeleteNode(node=context.node, then=then)
        return Advance(trigger=Trigger.NODE_FORGOTTEN, note="there is no node")

    def absorb(self, context: Context, done: Effected) -> Decision:  # noqa: ARG002 - this step has no effects at the cloud
        """Answer that nothing follows: this step has no effects at the cloud."""
        return Wait(until=context.now)


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
