"""Deleting/release: give back everything that was bought for this Machine, and prove that it is gone.

The proof is a 404 by id and absence from a complete list that began after the return was accepted; one alone is none.
"""

from dataclasses import replace
from datetime import timedelta

from engine.domain.device import DeviceState
from engine.domain.ids import DeviceId
from engine.domain.machine import Release
from engine.domain.outcome import Code, problem
from engine.domain.triggers import Trigger
from engine.ports.provider import DeviceNotFoundError, ProviderRefusal
from engine.workflow.attempts import failed, paused, refused
from engine.workflow.doubt import listed_after, never_bought, resolve
from engine.workflow.presence import proves_gone, release_resolution, with_release
from engine.workflow.step import (
    Advance,
    Awaited,
    Context,
    Decision,
    Effected,
    ExamineDevice,
    ReleaseDevice,
    Remember,
    Wait,
)

_LIST_LAGS = timedelta(seconds=5)  # a device that a list misses and a GET still shows is nearly gone


class ReleaseDevices:
    """Return every device of the machine, wherever its name is known from."""

    def decide(self, context: Context) -> Decision:
        """Answer the next device to return or to prove gone, the wait, or that nothing is left."""
        if context.open_order:
            return resolve(context, context.open_order)
        targets = _targets(context)
        if not targets and never_bought(context):
            return Advance(trigger=Trigger.DEVICE_GONE, note="nothing was bought for this machine")
        if context.binding.returning is None:
            return paused(context) or _no_account(context)
        return (
            paused(context)
            or _unseen(context, targets)
            or _unreleased(context, targets)
            or self._prove(context, targets)
        )

    def absorb(self, context: Context, done: Effected) -> Decision:
        """Answer what the cloud's word about one device comes to."""
        match done.effect:
            case ReleaseDevice(device_id=device_id):
                return _after_release(context, device_id, done)
            case ExamineDevice(device_id=device_id):
                return _after_look(context, device_id, done)
            case _:
                return Wait(until=context.now)

    def _prove(self, context: Context, targets: list[DeviceId]) -> Decision:
        since = max([context.released_since.get(each, context.started) for each in targets], default=context.started)
        if not context.listed_since(since):
            if context.list_problem:
                return failed(context, context.list_problem)
            return Wait(until=None, awaited=Awaited.NEXT_LIST)
        shown = [each for each in targets if _shown(context, each)]
        if shown:
            return _lingering(context, shown)
        unproven = [each for each in targets if _gone_at(context, each) is None]
        if unproven:
            return ExamineDevice(device_id=unproven[0])
        return _window_left(context) or Advance(
            trigger=Trigger.DEVICE_GONE,
            note=f"the cloud holds no device of this machine: {', '.join(targets) or 'none was ever found'}",
        )


def _targets(context: Context) -> list[DeviceId]:
    record, provider = context.record, context.binding.provider
    named = context.machine.provider_id if context.machine else ""
    from_spec = provider.device_id(named) if provider and named else None
    found = [device.device_id for device in context.own_devices if device.exists]
    ordered = [record.device_id, from_spec, *(release.device_id for release in record.releases), *found]
    targets = dict.fromkeys(each for each in ordered if each)
    if record.taken_over and not targets:
        targets = dict.fromkeys(_resembling(context))
    return [each for each in targets if not context.is_foreign(each)]


def _resembling(context: Context) -> list[DeviceId]:
    """An earlier controller may have died before it wrote down what it bought; its devices carry no tag of ours."""
    cloud, name = context.binding.returning, context.record.name
    alike = context.snapshot.untagged.get(name, ()) if context.snapshot else ()
    return [each.device_id for each in alike if each.exists and cloud and cloud.resembles(each, hostname=name)]


def _unseen(context: Context, targets: list[DeviceId]) -> Decision | None:
    """What another controller, or a person, called this Machine's device is looked at before it is given back."""
    record = context.record
    bought = {None if record.taken_over else record.device_id, *(release.device_id for release in record.releases)}
    if context.snapshot is not None or bought.issuperset(targets):
        return None
    if context.list_problem:
        return failed(context, context.list_problem)
    return Wait(until=None, awaited=Awaited.NEXT_LIST)


def _no_account(context: Context) -> Decision:
    why = context.binding.fault.message if context.binding.fault else "the account is unknown"
    text = f"the device cannot be returned: {why}"
    return failed(context, problem(context.binding.fault.code if context.binding.fault else Code.INTERNAL, text))


def _unreleased(context: Context, targets: list[DeviceId]) -> ReleaseDevice | None:
    for each in targets:
        release = context.record.release_of(each)
        if release is None or release.accepted_at is None:
            return ReleaseDevice(device_id=each)
    return None


def _shown(context: Context, device_id: DeviceId) -> bool:
    device = context.snapshot.devices.get(device_id) if context.snapshot else None
    return device is not None and device.exists


def _gone_at(context: Context, device_id: DeviceId) -> object | None:
    release = context.record.release_of(device_id)
    return release.gone_at if release else None


def _lingering(context: Context, shown: list[DeviceId]) -> Decision:
    """A device that stays although its return was accepted is asked for again after a while."""
    for each in shown:
        release = context.record.release_of(each)
        device = context.snapshot.devices[each] if context.snapshot else None
        leaving = device is not None and device.state is DeviceState.RELEASING
        overdue = release and release.accepted_at and release.accepted_at + context.policy.release_repeat < context.now
        if overdue and not leaving:
            return ReleaseDevice(device_id=each)
    return Wait(until=context.now + context.policy.release_repeat, awaited=Awaited.CHANGE)


def _window_left(context: Context) -> Wait | None:
    """Somebody may have bought for this Machine just before we came: a young device may not be listed yet."""
    window = context.policy.visibility_window.total_seconds()
    unsure = context.record.taken_over and context.record.device_id is None
    if not unsure or context.listed_since(context.started + window):
        return None
    return listed_after(context, context.started + window)


def _after_release(context: Context, device_id: DeviceId, done: Effected) -> Decision:
    resolved = release_resolution(context, done)
    gone = isinstance(done.outcome, DeviceNotFoundError)
    if isinstance(done.outcome, ProviderRefusal) and not gone:
        return refused(context, done.outcome, resolved)
    release = Release(device_id=device_id, accepted_at=context.now, gone_at=context.now if gone else None)
    note = f"the cloud knows no device {device_id}" if gone else f"the cloud takes device {device_id} back"
    return Advance(
        trigger=Trigger.RELEASE_ACCEPTED,
        note=note,
        changes={"releases": with_release(context, release)},
        resolved=resolved,
        device_id=device_id,
    )


def _after_look(context: Context, device_id: DeviceId, done: Effected) -> Decision:
    if proves_gone(context, device_id, done.outcome):
        known = context.record.release_of(device_id) or Release(device_id=device_id, accepted_at=context.now)
        return Remember(changes={"releases": with_release(context, replace(known, gone_at=context.now))})
    if isinstance(done.outcome, ProviderRefusal):
        return refused(context, done.outcome)
    later = context.now + _LIST_LAGS
    return Remember(changes={"retry_at": later, "due_at": later, "inputs": context.binding.inputs})
