"""Active/healthy and /unhealthy: the machine serves; its device and its Node are watched."""

from engine.domain.machine import NodeCondition
from engine.domain.states import Step as StepName
from engine.domain.triggers import Trigger
from engine.workflow.attempts import next_attempt
from engine.workflow.presence import examined, look_due, missing, surplus, surplus_released
from engine.workflow.step import Advance, Context, Decision, Effected, ReleaseDevice, Wait


class Serve:
    """Notice a device that is lost, and a Node that changes."""

    def decide(self, context: Context) -> Decision:
        """Answer the news, or the wait for it."""
        news = surplus(context) or missing(context) or _node_news(context)
        return news or Wait(until=look_due(context) or next_attempt(context))

    def absorb(self, context: Context, done: Effected) -> Decision:
        """Answer what a look at the device, or the return of a second one, comes to."""
        if isinstance(done.effect, ReleaseDevice):
            return surplus_released(context, done.effect.device_id, done)
        return examined(context, done.outcome)


def _node_news(context: Context) -> Advance | None:
    if not context.has_target:
        return None
    node, record = context.node, context.record
    conditions = node.conditions if node else record.conditions
    changes = {"conditions": conditions}
    healthy = record.place.step is StepName.HEALTHY
    if healthy and not (node and node.ready):
        why = f"node {node.name} is not Ready" if node else f"node {record.node_name} is gone"
        return Advance(trigger=Trigger.HEALTH_LOST, note=why, changes=changes)
    if not healthy and node and node.ready:
        return Advance(trigger=Trigger.HEALTH_REGAINED, note=f"node {node.name} is Ready again", changes=changes)
    if _significant(record.conditions, conditions):
        return Advance(trigger=Trigger.NODE_REPORTED, note="the node's conditions changed", changes=changes)
    return None


def _significant(before: tuple[NodeCondition, ...], after: tuple[NodeCondition, ...]) -> bool:
    """Only a type that comes or goes, or a status that flips, is news; heartbeats are not (contract, 2.5)."""
    return {(each.type, each.status) for each in before} != {(each.type, each.status) for each in after}
