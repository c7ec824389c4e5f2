"""Provisioning/order and Pending/wait-capacity: one purchase, made once, on reserved hardware first."""

from dataclasses import replace

from engine.domain.device import Device
from engine.domain.intents import Intent, IntentResult
from engine.domain.outcome import Code, Problem, problem
from engine.domain.triggers import Trigger
from engine.ports.provider import (
    Cloud,
    DeviceBusyError,
    OutcomeUnknownError,
    OutOfCapacityError,
    ProviderRefusal,
)
from engine.ports.store import Resolution
from engine.workflow.attempts import failed, paused, refused, resolution, timed_out
from engine.workflow.doubt import device_changes, held, resolve
from engine.workflow.step import (
    Advance,
    Awaited,
    Context,
    Decision,
    Effected,
    Held,
    HoldReservation,
    Order,
    Remember,
    Wait,
)


class AwaitCapacity:
    """Wait until it is worth asking for the hardware again."""

    def decide(self, context: Context) -> Decision:
        """Answer the end of the wait, or the wait."""
        if context.now >= context.deadline:
            return timed_out(context, "the cloud had no capacity for it")
        return paused(context) or Advance(
            trigger=Trigger.CAPACITY_AWAITED,
            note="asking for the hardware again",
            problem=context.record.problem,
        )

    def absorb(self, context: Context, done: Effected) -> Decision:  # noqa: ARG002 - this step has no effects at the cloud
        """Answer that nothing follows: this step has no effects at the cloud."""
        return Wait(until=context.now)


class OrderDevice:
    """Buy one device; a purchase in doubt is resolved before anything else."""

    def decide(self, context: Context) -> Decision:
        """Answer what stands between the machine and its device."""
        if context.open_order:
            return resolve(context, context.open_order)
        if context.now >= context.deadline:
            return timed_out(context, "no device could be ordered for it")
        cloud = context.binding.cloud
        if cloud is None:
            return paused(context) or failed(context, context.binding.fault or _no_reason())
        return _late(context) or paused(context) or self._buy(context, cloud)

    def absorb(self, context: Context, done: Effected) -> Decision:
        """Answer what the ledger's or the cloud's word comes to."""
        match done.outcome:
            case Held(reservation_id=taken):
                return _after_hold(context, taken)
            case Device() as device if done.intent:
                return _ordered(context, device, done.intent)
            case ProviderRefusal() as refusal if done.intent and isinstance(done.effect, Order):
                return _refused(context, done.effect, refusal, done.intent)
            case _:
                return Wait(until=context.now)

    def _buy(self, context: Context, cloud: Cloud) -> Decision:
        if context.order_barred:
            return failed(context, context.order_barred)
        if context.snapshot is None:
            if context.list_problem:
                return failed(context, context.list_problem)
            return Wait(until=None, awaited=Awaited.NEXT_LIST)
        untried = [each for each in cloud.reservations if each not in context.record.reservations_tried]
        if untried:
            return HoldReservation(wanted=untried)
        return _after_hold(context, None)


def _late(context: Context) -> Advance | None:
    """A purchase that was given up as lost shows up after all: adopt it instead of buying another."""
    found = held(context)
    if not found:
        return None
    device = found[0]
    return Advance(
        trigger=Trigger.DEVICE_ADOPTED,
        note=f"the cloud holds device {device.device_id} of this machine already; it is adopted, nothing was bought",
        changes=device_changes(context, device),
        device_id=device.device_id,
    )


def _after_hold(context: Context, taken: str | None) -> Decision:
    cloud = context.binding.cloud
    userdata = context.binding.userdata_for(context.record.name)
    if taken:
        return Order(userdata=userdata, reservation_id=taken)
    if cloud and cloud.reserved_only:
        return _no_capacity(context, _all_taken(context, cloud), ())
    return Order(userdata=userdata)


def _ordered(context: Context, device: Device, intent: Intent) -> Advance:
    done = replace(resolution(context, intent, IntentResult.DONE), device_id=device.device_id)
    return Advance(
        trigger=Trigger.DEVICE_ORDERED,
        note=f"device {device.device_id} was ordered as {device.hostname} in {device.region or 'its region'}",
        changes=device_changes(context, device),
        resolved=(done,),
        device_id=device.device_id,
    )


def _refused(context: Context, order: Order, refusal: ProviderRefusal, intent: Intent) -> Decision:
    if isinstance(refusal, OutcomeUnknownError):
        return Advance(trigger=Trigger.ATTEMPT_FAILED, note=str(refusal), problem=refusal.problem)
    resolved = (resolution(context, intent, IntentResult.REFUSED, refusal.problem),)
    if order.reservation_id and isinstance(refusal, OutOfCapacityError | DeviceBusyError):
        tried = (*context.record.reservations_tried, order.reservation_id)
        return Remember(changes={"reservations_tried": tried, "problem": refusal.problem}, resolved=resolved)
    if isinstance(refusal, OutOfCapacityError):
        return _no_capacity(context, refusal.problem, resolved)
    return refused(context, refusal, resolved)


def _no_capacity(context: Context, fault: Problem, resolved: tuple[Resolution, ...]) -> Advance:
    retry_at = context.now + context.policy.capacity_retry
    return Advance(
        trigger=Trigger.CAPACITY_REFUSED,
        note=fault.message,
        problem=fault,
        changes={
            "retry_at": retry_at,
            "due_at": retry_at,
            "inputs": context.binding.inputs,
            "reservations_tried": (),
        },
        resolved=resolved,
    )


def _all_taken(context: Context, cloud: Cloud) -> Problem:
    last = context.record.problem
    why = f"; the last one tried: {last.message}" if last and context.record.reservations_tried else ""
    return problem(
        Code.RESOURCE_EXHAUSTED,
        f"machine {context.record.name}: none of its {len(cloud.reservations)} hardware reservations is free; "
        f"add reservationIDs to the MachineClass, or allow on-demand hardware (reservedDevicesOnly: false){why}",
    )


def _no_reason() -> Problem:
    return problem(Code.INTERNAL, "no account and no reason")
