"""What the clouds hold, as the last complete lists showed it; shared by all machines of an account.

Whether a list is new enough is measured on the monotonic clock: a wall clock that jumps must never make an old list
look like a fresh one.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from engine.domain.device import Device
from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.domain.outcome import Problem, alike
from engine.ports.provider import Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One complete list of an account: everything that it showed between `started` and its end."""

    account: AccountKey
    started: float
    """Monotonic seconds before the first request."""
    finished_at: datetime
    devices: Mapping[DeviceId, Device]
    by_owner: Mapping[MachineUid, tuple[Device, ...]]
    owners: Mapping[DeviceId, MachineUid]
    """Whose tag each device carries."""
    untagged: Mapping[str, tuple[Device, ...]]
    """Devices that carry no tag of ours, by hostname."""


def snapshot_of(cloud: Cloud, devices: Sequence[Device], *, started: float, finished_at: datetime) -> Snapshot:
    """Answer the list as a snapshot, indexed by owner and by hostname."""
    by_owner: dict[MachineUid, list[Device]] = {}
    untagged: dict[str, list[Device]] = {}
    for device in devices:
        owner = cloud.owner(device)
        if owner is None:
            untagged.setdefault(device.hostname, []).append(device)
        else:
            by_owner.setdefault(owner, []).append(device)
    return Snapshot(
        account=cloud.account,
        started=started,
        finished_at=finished_at,
        devices={device.device_id: device for device in devices},
        by_owner={owner: tuple(held) for owner, held in by_owner.items()},
        owners={device.device_id: owner for owner, held in by_owner.items() for device in held},
        untagged={hostname: tuple(held) for hostname, held in untagged.items()},
    )


@dataclass(slots=True)
class _Account:
    cloud: Cloud
    snapshot: Snapshot | None = None
    problem: Problem | None = None
    awaiting_list: set[MachineUid] = field(default_factory=set)
    awaiting_change: set[MachineUid] = field(default_factory=set)
    awaited_since: float = 0.0
    shown: set[DeviceId] = field(default_factory=set)
    recalled: bool = False


class Inventory:
    """The board on which the poll job pins its lists and from which the steps read.

    What is pinned up is never changed, only replaced, so a single look needs no lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[AccountKey, _Account] = {}
        self._owners: dict[DeviceId, MachineUid] = {}

    def register(self, cloud: Cloud) -> None:
        """Have the account of this cloud listed from now on; the newest cloud object of an account is used."""
        known = self._accounts.get(cloud.account)
        if known is not None and known.cloud is cloud:
            return
        with self._lock:
            held = self._accounts.get(cloud.account)
            if held is None:
                self._accounts[cloud.account] = _Account(cloud)
            else:
                held.cloud = cloud

    def retain(self, accounts: Iterable[AccountKey]) -> None:
        """Forget the accounts that no machine uses any more."""
        wanted = set(accounts)
        with self._lock:
            self._accounts = {key: held for key, held in self._accounts.items() if key in wanted}

    def clouds(self) -> list[Cloud]:
        """Answer one cloud per account."""
        with self._lock:
            return [held.cloud for held in self._accounts.values()]

    def snapshot(self, account: AccountKey) -> Snapshot | None:
        """Answer the last complete list, if there was one since the program started."""
        held = self._accounts.get(account)
        return held.snapshot if held else None

    def problem(self, account: AccountKey) -> Problem | None:
        """Answer why the last attempt to list failed; None when it succeeded or there was none."""
        held = self._accounts.get(account)
        return held.problem if held else None

    def own(self, device_id: DeviceId, uid: MachineUid) -> None:
        """Remember whose device this is, also when it carries no tag of ours."""
        with self._lock:
            self._owners[device_id] = uid

    def disown(self, uid: MachineUid, devices: Iterable[DeviceId]) -> None:
        """Forget the devices of a machine whose life is over."""
        with self._lock:
            for device_id in devices:
                self._owners.pop(device_id, None)
            for held in self._accounts.values():
                held.awaiting_list.discard(uid)
                held.awaiting_change.discard(uid)

    def owner_of(self, device_id: DeviceId) -> MachineUid | None:
        """Answer the machine that recorded this device."""
        with self._lock:
            return self._owners.get(device_id)

    def recall(self, account: AccountKey, devices: Iterable[DeviceId]) -> None:
        """Remember what earlier processes were shown of this account."""
        with self._lock:
            held = self._accounts.get(account)
            if held:
                held.shown.update(devices)
                held.recalled = True

    def recalls(self, account: AccountKey) -> bool:
        """Whether it is remembered what earlier processes were shown of this account."""
        with self._lock:
            held = self._accounts.get(account)
            return held is not None and held.recalled

    def was_shown(self, account: AccountKey, device_id: DeviceId) -> bool:
        """Whether a list of this account ever showed this device."""
        with self._lock:
            held = self._accounts.get(account)
            return held is not None and device_id in held.shown

    def expect(self, account: AccountKey, uid: MachineUid, *, next_list: bool, at: float) -> None:
        """Note that this machine waits: for the next complete list, or for its device to change."""
        with self._lock:
            held = self._accounts.get(account)
            if held is None:
                return
            waiting, other = held.awaiting_change, held.awaiting_list
            if next_list:
                waiting, other = other, waiting
            other.discard(uid)
            if uid not in waiting:
                waiting.add(uid)
                held.awaited_since = at

    def settle(self, account: AccountKey, uid: MachineUid) -> None:
        """Note that this machine waits for nothing at the cloud."""
        with self._lock:
            held = self._accounts.get(account)
            if held:
                held.awaiting_list.discard(uid)
                held.awaiting_change.discard(uid)

    def awaited(self, account: AccountKey) -> tuple[int, float]:
        """Answer how many machines wait for this account's list, and since when the newest of them does."""
        with self._lock:
            held = self._accounts.get(account)
            return (len(held.awaiting_list) + len(held.awaiting_change), held.awaited_since) if held else (0, 0.0)

    def publish(self, snapshot: Snapshot) -> tuple[set[MachineUid], list[Device], list[DeviceId]]:
        """Pin up a complete list; answer whom to wake, which devices are new or changed, and which vanished."""
        with self._lock:
            held = self._accounts.get(snapshot.account)
            if held is None:
                return set(), [], []
            before = held.snapshot.devices if held.snapshot else {}
            changed = [device for key, device in snapshot.devices.items() if before.get(key) != device]
            vanished = [key for key in before if key not in snapshot.devices]
            wake = set(held.awaiting_list)
            held.awaiting_list.clear()
            held.snapshot, held.problem = snapshot, None
            touched = [device.device_id for device in changed] + vanished
            held.shown.update(device.device_id for device in changed)
            wake |= {self._owners[key] for key in touched if key in self._owners}
            fresh = {device.device_id for device in changed}
            wake |= {owner for owner, devices in snapshot.by_owner.items() if fresh & {d.device_id for d in devices}}
            wake |= {owner for owner, devices in snapshot.by_owner.items() if len(devices) > 1}
        return wake, changed, vanished

    def amend(self, told: Snapshot, problem: Problem) -> tuple[set[MachineUid], list[Device]]:
        """Pin up what may be told of a list that is not believed; answer whom to wake, and what is new or changed.

        Who waits for a complete list goes on waiting, and is told once why.
        """
        with self._lock:
            held = self._accounts.get(told.account)
            if held is None:
                return set(), []
            before = held.snapshot.devices if held.snapshot else {}
            changed = [device for key, device in told.devices.items() if before.get(key) != device]
            fresh = {device.device_id for device in changed}
            held.shown.update(fresh)
            wake = {owner for owner, devices in told.by_owner.items() if fresh & {d.device_id for d in devices}}
            wake |= {self._owners[key] for key in fresh if key in self._owners}
            held.snapshot = told
        return wake | self.fail(told.account, problem), changed

    def fail(self, account: AccountKey, problem: Problem) -> set[MachineUid]:
        """Note that the list could not be had; answer who waited for it and should be told."""
        with self._lock:
            held = self._accounts.get(account)
            if held is None:
                return set()
            news = held.problem is None or not alike(held.problem, problem)
            held.problem = problem
            return set(held.awaiting_list) if news else set()
