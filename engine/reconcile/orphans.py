"""Which devices nobody owns, what to do about each, and when one may be returned.

A device with a tag of ours costs money whether or not somebody remembers it, and a device that somebody does remember
must never be returned by mistake. So nothing follows from one comparison: a device without an owner is quarantined, and
only after a while, and after several lists and caches that agree, may it go; a few at a time.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from engine.domain.device import Device, DeviceState
from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.domain.machine import MachineRecord
from engine.domain.orphans import Orphan, OrphanState
from engine.domain.states import State

SIGHTINGS_MIN = 2  # complete lists, each compared with synced caches; one of either may be wrong
_NAMED = "; it is kept while another Machine names it in its spec.providerID"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanPolicy:
    """When an orphan may be returned."""

    age: timedelta = timedelta(hours=1)
    """How long this process must have known it, by its monotonic clock, and the database by the wall clock."""
    releases_max: int = 5
    """Returns that are asked for in one sweep."""
    repeat: timedelta = timedelta(minutes=5)
    """A device that is still held this long after its return was accepted is asked for again."""
    keep_gone: timedelta = timedelta(days=90)
    """How long it is remembered that an orphan was returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A device on a complete list that carries a tag of ours, and the Machine that the tag names."""

    account: AccountKey
    device: Device
    uid: MachineUid


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What this process itself knows of an orphan; a restart forgets it and waits longer."""

    since: float
    """Monotonic seconds when it was first found without an owner."""
    lists: int
    """Complete lists that showed it since, each one newer than the last, while no cache showed its Machine."""
    accepted: float | None = None
    """Monotonic seconds when the cloud accepted its return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that one sweep looks at, at one instant."""

    strays: Sequence[Stray]
    """The devices that such lists show; a list is compared once, so each comparison is one more sighting."""
    listed: Mapping[AccountKey, float]
    """The accounts that were listed since the last comparison, and when the list began, in monotonic seconds."""
    machines: Collection[MachineUid]
    """Every Machine that Kubernetes shows, and those that are parked."""
    records: Mapping[MachineUid, MachineRecord]
    """The records of the machines that strays and orphans name."""
    orphans: Mapping[DeviceId, Orphan]
    """What is known of orphans already."""
    watched: Mapping[DeviceId, Watch]
    now: datetime
    monotonic: float
    held_back: str = ""
    """Why nothing may be returned now, in words."""
    named: Collection[DeviceId] = ()
    """The devices that a Machine of another uid names in its spec.providerID: somebody counts on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What follows from a comparison; each part is safe to repeat."""

    found: tuple[Orphan, ...] = ()
    """Devices that are in quarantine from now on."""
    kept: tuple[Orphan, ...] = ()
    """Orphans that were seen again."""
    owned: tuple[DeviceId, ...] = ()
    """Orphans that have an owner again: the quarantine is lifted."""
    forgotten: tuple[DeviceId, ...] = ()
    """Orphans that went so long ago that nobody asks for them any more."""
    returned: tuple[Orphan, ...] = ()
    """Orphans whose return is to be asked for."""
    missed: tuple[Orphan, ...] = ()
    """Orphans that a complete list no longer shows: a look by id must prove that they are gone."""


@dataclass(slots=True)
class _Draft:
    found: list[Orphan] = field(default_factory=list)
    kept: list[Orphan] = field(default_factory=list)
    owned: list[DeviceId] = field(default_factory=list)
    forgotten: list[DeviceId] = field(default_factory=list)
    due: list[Orphan] = field(default_factory=list)
    missed: list[Orphan] = field(default_factory=list)


def judge(seen: Comparison, policy: OrphanPolicy) -> Verdict:
    """Answer what to do about every device that nobody owns, the longest known first."""
    draft = _Draft()
    strays = {stray.device.device_id: stray for stray in seen.strays}
    for stray in strays.values():
        _judge_stray(seen, policy, stray, draft)
    for orphan in seen.orphans.values():
        if orphan.device_id not in strays:
            _judge_missing(seen, policy, orphan, draft)
    due = sorted(draft.due, key=lambda each: (each.first_seen_at, each.device_id))
    return Verdict(
        found=tuple(draft.found),
        kept=tuple(draft.kept),
        owned=tuple(draft.owned),
        forgotten=tuple(draft.forgotten),
        returned=() if seen.held_back else tuple(due[: policy.releases_max]),
        missed=tuple(draft.missed),
    )


def orphaned(uid: MachineUid, *, machines: Collection[MachineUid], record: MachineRecord | None) -> str | None:
    """Answer why nobody owns the devices of this Machine, in words; None when somebody may."""
    if uid in machines:
        return None
    if record is None:
        return f"neither Kubernetes nor the database knows Machine {uid}"
    if record.finished:
        return f"the life of Machine {record.name} ended at {record.place_since:%Y-%m-%d %H:%M:%S}"
    if record.state is State.FAILED:
        return f"the Machine object {record.name} vanished although its device was never returned"
    return None


def _judge_stray(seen: Comparison, policy: OrphanPolicy, stray: Stray, draft: _Draft) -> None:
    device_id = stray.device.device_id
    known = seen.orphans.get(device_id)
    reason = orphaned(stray.uid, machines=seen.machines, record=seen.records.get(stray.uid))
    if reason is None:
        # Once the cloud has accepted a return, an owner cannot take it back: the row tells where the device went.
        if known and (known.accepted_at is None or known.state is OrphanState.GONE):
            draft.owned.append(device_id)
        return
    if known is None or known.state is OrphanState.GONE:
        if stray.device.state is not DeviceState.RELEASING:
            draft.found.append(_quarantined(stray, reason, seen.now))
        return
    reason += _NAMED if device_id in seen.named else ""
    kept = replace(known, account=stray.account, reason=reason, last_seen_at=seen.now, sightings=known.sightings + 1)
    draft.kept.append(kept)
    watch = seen.watched.get(device_id)
    ripe = may_return(kept, watch, policy, now=seen.now, monotonic=seen.monotonic)
    if ripe and device_id not in seen.named and _is_held(kept, stray.device, policy, seen.now):
        draft.due.append(kept)


def may_return(orphan: Orphan, watch: Watch | None, policy: OrphanPolicy, *, now: datetime, monotonic: float) -> bool:
    """Answer whether an orphan is old enough, and was seen often enough, to be returned.

    A wall clock that jumps must not make it old, and a database that was restored may tell old tales; so this process
    must have watched it for the whole age itself. Hence nothing is returned sooner than that after a start.
    """
    if watch is None or watch.lists < SIGHTINGS_MIN or orphan.sightings < SIGHTINGS_MIN:
        return False
    return monotonic - watch.since > policy.age.total_seconds() and now - orphan.first_seen_at > policy.age


def _is_held(orphan: Orphan, device: Device, policy: OrphanPolicy, now: datetime) -> bool:
    if device.state is DeviceState.RELEASING:
        return False
    return orphan.accepted_at is None or now - orphan.accepted_at > policy.repeat


def _judge_missing(seen: Comparison, policy: OrphanPolicy, orphan: Orphan, draft: _Draft) -> None:
    if orphan.state is OrphanState.GONE:
        if orphan.gone_at and seen.now - orphan.gone_at > policy.keep_gone:
            draft.forgotten.append(orphan.device_id)
        return
    listed = seen.listed.get(orphan.account)
    watch = seen.watched.get(orphan.device_id)
    accepted = watch.accepted if watch else None
    if listed is not None and (accepted is None or listed > accepted):
        draft.missed.append(orphan)


def _quarantined(stray: Stray, reason: str, now: datetime) -> Orphan:
    device = stray.device
    return Orphan(
        device_id=device.device_id,
        account=stray.account,
        uid=stray.uid,
        hostname=device.hostname,
        plan=device.plan,
        region=device.region,
        price_per_hour=device.price_per_hour,
        reason=reason,
        first_seen_at=now,
        last_seen_at=now,
    )
