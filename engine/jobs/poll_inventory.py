"""One shared, paged list per account serves every machine of it; fast while something is expected, slow when quiet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from engine.clock import Clock
from engine.domain.device import Device
from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.errors import StoreError
from engine.logs import logger
from engine.metrics import INVENTORY_DEVICES, INVENTORY_POLLS
from engine.ports.provider import Cloud, ProviderRefusal, ThrottledError
from engine.ports.store import ObservedDevice, Store
from engine.workflow.belief import Belief, Disbelief
from engine.workflow.inventory import Inventory, Snapshot, snapshot_of

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often an account is listed."""

    fastest: timedelta = timedelta(milliseconds=500)
    """While a machine waits for news: at once, then at this interval at the fastest."""
    slower_by: float = 1.4
    """Each list without news makes the next wait this much longer …"""
    expecting_max: timedelta = timedelta(seconds=10)
    """… up to this, as long as anybody waits for news."""
    quiet: timedelta = timedelta(seconds=60)
    """When nobody waits: how soon a device that was lost or failed is noticed."""
    devices_per_second: float = 400.0
    """A long list is asked for less often: this many rows a second, which is four pages of a hundred."""


@dataclass(slots=True)
class _Beat:
    """When an account is listed next."""

    due: float = 0.0
    interval: float = 0.0
    last: float = -1e9
    polling: bool = False
    failed: bool = False


@dataclass(slots=True, kw_only=True)
class PollInventory:
    """Lists every account when its time has come, and tells the machines what changed.

    `spawn` runs a list beside the others, so that an account that answers slowly delays nobody else's.
    """

    clock: Clock
    store: Store
    inventory: Inventory
    belief: Belief
    wake: Callable[[MachineUid], None]
    cadence: Cadence
    spawn: Callable[[Callable[[], None]], object]
    _beats: dict[AccountKey, _Beat] = field(default_factory=dict, init=False)

    def turn(self) -> None:
        """List the accounts whose time has come."""
        clouds = self.inventory.clouds()
        for cloud in clouds:
            beat = self._beats.setdefault(cloud.account, _Beat())
            if not beat.polling and self.clock.monotonic() >= self._due(cloud.account, beat):
                beat.polling = True
                self.spawn(partial(self._poll, cloud, beat))
        known = {cloud.account for cloud in clouds}
        self._beats = {key: beat for key, beat in self._beats.items() if key in known}
        self.belief.retain(known)

    def _due(self, account: AccountKey, beat: _Beat) -> float:
        """A machine that begins to wait makes the list due, within the fastest; a failed list waits for its turn."""
        if beat.failed:
            return beat.due
        waiting, since = self.inventory.awaited(account)
        if waiting and since > beat.last:
            return min(beat.due, beat.last + self._floor(account))
        return beat.due if waiting else max(beat.due, beat.last + self.cadence.quiet.total_seconds())

    def _floor(self, account: AccountKey) -> float:
        snapshot = self.inventory.snapshot(account)
        rows = len(snapshot.devices) if snapshot else 0
        return max(self.cadence.fastest.total_seconds(), rows / self.cadence.devices_per_second)

    def _poll(self, cloud: Cloud, beat: _Beat) -> None:
        try:
            self._list(cloud, beat)
        finally:
            beat.polling = False

    def _list(self, cloud: Cloud, beat: _Beat) -> None:
        started = beat.last = self.clock.monotonic()
        try:
            devices = cloud.inventory()
        except ProviderRefusal as refusal:
            self._failed(cloud, beat, refusal)
            return
        beat.failed = False
        seen = snapshot_of(cloud, devices, started=started, finished_at=self.clock.now())
        before = self.inventory.snapshot(cloud.account)
        try:
            known = before or self.belief.remembered(cloud)
            disbelief = self.belief.judge(cloud, seen, known)
        except StoreError as away:
            log.warning("a list could not be judged; the next one is", account=cloud.account, reason=str(away))
            self._schedule(cloud.account, beat, news=False)
            return
        if disbelief:
            self._doubted(beat, disbelief)
        else:
            forgotten = [] if before else [key for key in known.devices if key not in seen.devices]
            self._believed(beat, seen, forgotten)

    def _believed(self, beat: _Beat, snapshot: Snapshot, forgotten: Sequence[DeviceId]) -> None:
        wake, changed, vanished = self.inventory.publish(snapshot)
        INVENTORY_POLLS.labels(result="complete").inc()
        INVENTORY_DEVICES.labels(account=snapshot.account).set(len(snapshot.devices))
        self._schedule(snapshot.account, beat, news=bool(changed or vanished))
        self._keep(snapshot, changed, [*vanished, *forgotten])
        for uid in sorted(wake):
            self.wake(uid)

    def _doubted(self, beat: _Beat, disbelief: Disbelief) -> None:
        INVENTORY_POLLS.labels(result="disbelieved").inc()
        wake, changed = self.inventory.amend(disbelief.told, disbelief.problem)
        self._schedule(disbelief.told.account, beat, news=bool(changed))
        self._keep(disbelief.told, changed, ())
        for uid in sorted(wake):
            self.wake(uid)

    def _failed(self, cloud: Cloud, beat: _Beat, refusal: ProviderRefusal) -> None:
        INVENTORY_POLLS.labels(result=refusal.code.value).inc()
        log.warning("the account could not be listed", account=cloud.account, reason=str(refusal))
        beat.failed = True
        beat.interval = min(max(beat.interval * 2, 1.0), self.cadence.quiet.total_seconds())
        beat.due = beat.last + beat.interval
        if isinstance(refusal, ThrottledError) and refusal.retry_at:
            beat.due = max(beat.due, beat.last + (refusal.retry_at - self.clock.now()).total_seconds())
        for uid in sorted(self.inventory.fail(cloud.account, refusal.problem)):
            self.wake(uid)

    def _schedule(self, account: AccountKey, beat: _Beat, *, news: bool) -> None:
        floor = self._floor(account)
        longest = max(floor, self.cadence.expecting_max.total_seconds())
        beat.interval = floor if news else min(max(beat.interval, floor) * self.cadence.slower_by, longest)
        beat.due = beat.last + beat.interval

    def _keep(self, snapshot: Snapshot, changed: Sequence[Device], vanished: Sequence[DeviceId]) -> None:
        """Record what was seen; the list is the truth, so a database that is away costs only the record."""
        at = snapshot.finished_at
        seen = [self._observed(snapshot, device, at) for device in changed]
        if not seen and not vanished:
            return
        try:
            self.store.record_devices(account=snapshot.account, seen=seen, gone=vanished, at=at)
        except StoreError as away:
            log.warning("observed devices were not recorded", reason=str(away))

    def _observed(self, snapshot: Snapshot, device: Device, at: datetime) -> ObservedDevice:
        owner = snapshot.owners.get(device.device_id) or self.inventory.owner_of(device.device_id)
        return ObservedDevice(account=snapshot.account, device=device, uid=owner, first_seen_at=at, last_seen_at=at)
