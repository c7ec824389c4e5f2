"""Provisioning/install and /join: the device is bought; watch it come up and its Node join."""

from datetime import datetime

from engine.domain.device import DeviceState
from engine.domain.outcome import Code, problem
from engine.domain.states import Step as StepName
from engine.domain.triggers import Trigger
from engine.domain.wanted import MachineObject
from engine.ports.cluster import MachinePatch
from engine.workflow.attempts import next_attempt, timed_out
from engine.workflow.presence import examined, look_due, missing, surplus, surplus_released
from engine.workflow.step import (
    Advance,
    Awaited,
    Context,
    Decision,
    Effected,
    PatchMachine,
    ReleaseDevice,
    Wait,
)


class Install:
    """Name the device in the Machine, then wait for it to serve."""

    def decide(self, context: Context) -> Decision:
        """Answer the news about the device or its Node, or the wait for it."""
        machine = context.machine
        if machine and context.record.provider_id and _unnamed(context, machine):
            return PatchMachine(patch=MachinePatch(provider_id=context.record.provider_id))
        return (
            surplus(context)
            or _joined(context)
            or _device_news(context)
            or missing(context)
            or self._expired(context)
            or Wait(until=_until(context), awaited=_awaited(context))
        )

    def absorb(self, context: Context, done: Effected) -> Decision:
        """Answer what a look at the device, or the return of a second one, comes to."""
        if isinstance(done.effect, ReleaseDevice):
            return surplus_released(context, done.effect.device_id, done)
        return examined(context, done.outcome)

    def _expired(self, context: Context) -> Advance | None:
        return timed_out(context, "its node did not join") if context.now >= context.deadline else None


def _unnamed(context: Context, machine: MachineObject) -> bool:
    """Whether the Machine names no device, or one of a former try that is proven gone."""
    provider = context.binding.provider
    named = provider.device_id(machine.provider_id) if provider and machine.provider_id else None
    return not machine.provider_id or (named is not None and context.record.proven_gone(named))


def _joined(context: Context) -> Advance | None:
    node = context.node
    if not context.has_target or node is None or not node.ready:
        return None
    return Advance(
        trigger=Trigger.NODE_JOINED,
        note=f"node {node.name} is Ready",
        changes={"node_name": node.name, "conditions": node.conditions},
    )


def _device_news(context: Context) -> Advance | None:
    device = context.device
    if device is None:
        return None
    if device.state is DeviceState.FAILED:
        text = f"the cloud says that device {device.device_id} failed ({device.state_text})"
        fault = problem(Code.INTERNAL, f"{text}; delete the machine to have it replaced")
        return Advance(trigger=Trigger.DEVICE_FAILED, note=text, problem=fault, device_id=device.device_id)
    if device.state is not DeviceState.ACTIVE:
        return None
    changes = {"addresses": device.addresses}
    if not context.has_target:
        note = f"device {device.device_id} is up"
        return Advance(trigger=Trigger.DEVICE_READIED, note=note, changes=changes)
    if context.record.place.step is StepName.INSTALL:
        note = f"device {device.device_id} is up; its node is awaited"
        return Advance(trigger=Trigger.DEVICE_ACTIVATED, note=note, changes=changes)
    return None


def _until(context: Context) -> datetime:
    return min(context.deadline, look_due(context) or next_attempt(context) or context.deadline)


def _awaited(context: Context) -> Awaited:
    return Awaited.CHANGE if context.record.place.step is StepName.INSTALL else Awaited.NOTHING
