"""Pending/validate: whether this Machine may buy a device, and whether the cloud holds one for it already."""

from datetime import timedelta

from engine.domain.device import Device
from engine.domain.outcome import Code, Problem, problem
from engine.domain.triggers import Trigger
from engine.domain.wanted import MACHINE_FINALIZER, NODE_LABEL, PRIORITY_ANNOTATION, PRIORITY_DEFAULT, MachineObject
from engine.ports.cluster import MachinePatch
from engine.ports.provider import Cloud
from engine.workflow.attempts import failed, paused, timed_out
from engine.workflow.doubt import device_changes, held, listed_after
from engine.workflow.step import Advance, Awaited, Context, Decision, Effected, PatchMachine, Wait

_CLASS_PROTECTION_WAIT = timedelta(seconds=2)  # the class is protected by a job; its change wakes us sooner
_NAME_LENGTH_MAX = 63  # a label value holds 63 characters, and the label `node` carries the name


class Validate:
    """Protect the object, check the order, and look for a device before any is bought."""

    def decide(self, context: Context) -> Decision:
        """Answer the first thing that is missing, or that the machine may buy."""
        machine = context.machine
        if machine is None:
            return Wait(until=None)
        patch = _protection(context, machine)
        if patch:
            return PatchMachine(patch=patch)
        fault = _name_fault(context) or context.binding.fault
        cloud = context.binding.cloud
        if fault or cloud is None:
            return self._refuse(context, machine, fault)
        if machine.provider_id and not _named_is_gone(context, machine):
            return _adopt_named(context, machine) or _foreign_provider_id(context, machine)
        return paused(context) or self._look(context, machine, cloud)

    def absorb(self, context: Context, done: Effected) -> Decision:  # noqa: ARG002 - this step has no effects at the cloud
        """Answer that nothing follows: this step has no effects at the cloud."""
        return Wait(until=context.now)

    def _refuse(self, context: Context, machine: MachineObject, fault: Problem | None) -> Decision:
        # One that names its device was created long ago; a Secret that is missing now must not have it replaced.
        if context.now >= context.deadline and not machine.provider_id:
            return timed_out(context, "it could not be ordered")
        return paused(context) or failed(context, fault or problem(Code.INTERNAL, "no account and no reason"))

    def _look(self, context: Context, machine: MachineObject, cloud: Cloud) -> Decision:
        if context.now >= context.deadline:
            return timed_out(context, "it could not be ordered")
        if context.binding.class_object and MACHINE_FINALIZER not in context.binding.class_object.finalizers:
            return Wait(until=context.now + _CLASS_PROTECTION_WAIT)
        if context.snapshot is None:
            if context.list_problem:
                return failed(context, context.list_problem)
            return Wait(until=None, awaited=Awaited.NEXT_LIST)
        device = _existing(context, machine, cloud)
        if device:
            return _adopt(context, device)
        return _window_left(context) or Advance(
            trigger=Trigger.VALIDATED,
            note=f"the order is valid and the cloud holds no device of it: {_told(cloud)}{_warned(context)}",
            changes={"class_name": machine.class_name},
        )


def _protection(context: Context, machine: MachineObject) -> MachinePatch | None:
    labels: dict[str, str] = {}
    if context.has_target and NODE_LABEL not in machine.labels and len(machine.name) <= _NAME_LENGTH_MAX:
        labels = {NODE_LABEL: machine.name}
    annotations = {} if PRIORITY_ANNOTATION in machine.annotations else {PRIORITY_ANNOTATION: PRIORITY_DEFAULT}
    protected = MACHINE_FINALIZER in machine.finalizers
    if protected and not labels and not annotations:
        return None
    return MachinePatch(add_finalizer=not protected, labels=labels, annotations=annotations)


def _name_fault(context: Context) -> Problem | None:
    provider = context.binding.provider
    fault = provider.hostname_fault(context.record.name) if provider else None
    return problem(Code.INVALID_ARGUMENT, f"machine {context.record.name}: {fault}") if fault else None


def _named_is_gone(context: Context, machine: MachineObject) -> bool:
    """Whether spec.providerID names the device of a former try, which is proven gone."""
    provider = context.binding.provider
    device_id = provider.device_id(machine.provider_id) if provider else None
    return device_id is not None and context.record.proven_gone(device_id)


def _adopt_named(context: Context, machine: MachineObject) -> Decision | None:
    provider = context.binding.provider
    device_id = provider.device_id(machine.provider_id) if provider else None
    if device_id is None or context.is_foreign(device_id):
        return None
    return Advance(
        trigger=Trigger.DEVICE_ADOPTED,
        note=f"spec.providerID names device {device_id}; it is taken over, nothing was bought",
        changes={
            "device_id": device_id,
            "provider_id": machine.provider_id,
            "node_name": machine.labels.get(NODE_LABEL, machine.name) if context.has_target else "",
        },
        device_id=device_id,
    )


def _foreign_provider_id(context: Context, machine: MachineObject) -> Decision:
    text = (
        f"machine {machine.name}: spec.providerID {machine.provider_id!r} names no device of this cloud and Machine; "
        f"correct it, or remove it to have a device ordered"
    )
    return paused(context) or failed(context, problem(Code.INVALID_ARGUMENT, text))


def _existing(context: Context, machine: MachineObject, cloud: Cloud) -> Device | None:
    tagged = held(context)
    if tagged:
        return tagged[0]
    alike = context.snapshot.untagged.get(machine.name, ()) if context.snapshot else ()
    matching = [device for device in alike if device.exists and cloud.resembles(device, hostname=machine.name)]
    return min(matching, key=lambda each: (str(each.created_at or ""), each.device_id)) if matching else None


def _adopt(context: Context, device: Device) -> Advance:
    return Advance(
        trigger=Trigger.DEVICE_ADOPTED,
        note=f"the cloud holds device {device.device_id} of this machine already; it is adopted, nothing was bought",
        changes=device_changes(context, device),
        device_id=device.device_id,
    )


def _window_left(context: Context) -> Wait | None:
    """Somebody may have bought for this Machine just before we came: a young device may not be listed yet."""
    window = context.policy.visibility_window.total_seconds()
    if not context.record.taken_over or context.listed_since(context.started + window):
        return None
    return listed_after(context, context.started + window)


def _told(cloud: Cloud) -> str:
    return ", ".join(f"{key} {value}" for key, value in cloud.summary.items())


def _warned(context: Context) -> str:
    provider, found = context.binding.provider, context.binding.class_object
    if provider is None or found is None or found.provider_spec is None:
        return ""
    return "".join(f"; warning: {each}" for each in provider.warnings(found.provider_spec))
