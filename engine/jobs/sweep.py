"""Compare complete lists with everybody who may own a device; quarantine what nobody owns, and return it at last.

A return is written down before it is asked for, and is over when it is proven: a 404 by id, and absence from a complete
list that began after the cloud had accepted it. Nothing is returned while what Kubernetes shows may be incomplete.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from engine.clock import Clock
from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.domain.orphans import Orphan, OrphanState
from engine.logs import logger
from engine.metrics import ORPHAN_COST, ORPHANS
from engine.ports.cluster import Cluster
from engine.ports.provider import Cloud, DeviceNotFoundError, ProviderRefusal
from engine.ports.store import Store
from engine.reconcile.orphans import Comparison, OrphanPolicy, Stray, Verdict, Watch, judge, orphaned
from engine.workflow.binding import Bindings
from engine.workflow.inventory import Inventory, Snapshot

log = logger(__name__)


@dataclass(slots=True, kw_only=True)
class SweepOrphans:
    """Looks for devices that nobody owns; `turn` is safe to repeat, from one thread at a time."""

    clock: Clock
    store: Store
    cluster: Cluster
    bindings: Bindings
    inventory: Inventory
    policy: OrphanPolicy
    period: timedelta
    """Between sweeps; the first comes with the first complete lists."""
    may_delete: Callable[[], bool] = lambda: True
    """Whether deletions are allowed now, such as by a breaker."""
    on_return: Callable[[], None] = lambda: None
    """Told of each return that is asked for, before it is."""
    _watched: dict[DeviceId, Watch] = field(default_factory=dict, init=False)
    _compared: dict[AccountKey, float] = field(default_factory=dict, init=False)
    _swept_at: float = field(default=-1e9, init=False)

    def turn(self) -> None:
        """When a sweep is due, compare the accounts that were listed since the last one."""
        if not self.cluster.synced() or self.clock.monotonic() - self._swept_at < self.period.total_seconds():
            return
        clouds = self._clouds()
        known = {orphan.device_id: orphan for orphan in self.store.orphans()}
        seen = self._compare(clouds, known)
        if not seen.listed:
            return
        verdict = judge(seen, self.policy)
        self._keep(seen, verdict)
        for orphan in verdict.missed:
            self._prove(clouds[orphan.account][0], orphan)
        for orphan in verdict.returned:
            self._return(clouds[orphan.account][0], orphan)
        self._tell()

    def _clouds(self) -> dict[AccountKey, list[Cloud]]:
        """Only a class without a mistake knows the cluster's tag, and so which devices are this cluster's."""
        clouds: dict[AccountKey, list[Cloud]] = {}
        for each in self.cluster.machine_classes():
            cloud = self.bindings.of_class(each.name).cloud
            if cloud:
                clouds.setdefault(cloud.account, []).append(cloud)
        return clouds

    def _compare(self, clouds: Mapping[AccountKey, list[Cloud]], known: Mapping[DeviceId, Orphan]) -> Comparison:
        # The records come last: a machine that goes is gone from the cache before its record says so.
        snapshots = [snapshot for account in clouds if (snapshot := self._news(account))]
        shown = [machine.uid for machine in self.cluster.machines()]
        # Nobody here can tell whether a machine that only a newer program understands needs its device.
        machines = frozenset([*shown, *(parked.uid for parked in self.store.parked())])
        missing = {uid for snapshot in snapshots for uid in snapshot.by_owner if uid not in machines}
        named = missing | {orphan.uid for orphan in known.values()}
        records = {uid: record for uid in sorted(missing) if (record := self.store.get(uid))}
        return Comparison(
            strays=[stray for each in snapshots for stray in _strays(each, clouds[each.account], named)],
            listed={each.account: each.started for each in snapshots},
            machines=machines,
            records=records,
            orphans=known,
            watched=self._watched,
            now=self.clock.now(),
            monotonic=self.clock.monotonic(),
            held_back=self._held_back(shown),
            named=self._named(),
        )

    def _named(self) -> frozenset[DeviceId]:
        """A backup may bring Machines back under new uids, with the devices of the old ones in their specs."""
        return frozenset(DeviceId(each.provider_id.rsplit("/", 1)[-1]) for each in self.cluster.machines())

    def _news(self, account: AccountKey) -> Snapshot | None:
        snapshot = self.inventory.snapshot(account)
        return snapshot if snapshot and snapshot.started > self._compared.get(account, -1.0) else None

    def _held_back(self, machines: Iterable[MachineUid]) -> str:
        unreadable = self.cluster.unreadable
        if unreadable:
            kind, name = unreadable[0]
            return f"{len(unreadable)} objects of the cluster cannot be read, such as {kind} {name}"
        if not machines:
            return "Kubernetes shows no Machine at all, which may as well be an answer that is wrong"
        return "" if self.may_delete() else "a breaker holds deletions back"

    def _keep(self, seen: Comparison, verdict: Verdict) -> None:
        """Write down what was found, then remember it: what is not committed counts for no later decision."""
        gone = (*verdict.owned, *verdict.forgotten)
        if verdict.found or verdict.kept or gone:
            self.store.record_orphans(seen=(*verdict.found, *verdict.kept), forgotten=gone)
        self._compared |= seen.listed
        self._swept_at = seen.monotonic
        for orphan in (*verdict.found, *verdict.kept):
            held = self._watched.get(orphan.device_id) or Watch(since=seen.monotonic, lists=0)
            self._watched[orphan.device_id] = replace(held, lists=held.lists + 1)
        for device_id in gone:
            self._watched.pop(device_id, None)
        _say(seen, verdict)

    def _return(self, cloud: Cloud, orphan: Orphan) -> None:
        """Ask for one device to be taken back; whoever became its owner meanwhile keeps it."""
        if not self.may_delete():
            return
        intended = replace(orphan, state=OrphanState.RELEASING, intended_at=self.clock.now())
        self.store.record_orphans(seen=[intended])
        if self._owned(orphan.uid) or orphan.device_id in self._named():
            log.info("an orphan found its owner at the last moment", device=orphan.device_id, machine=orphan.uid)
            return
        self.on_return()
        refusal = _refusal(cloud, orphan.device_id)
        if refusal:
            log.warning("an orphan could not be returned", device=orphan.device_id, reason=str(refusal))
            return
        accepted = replace(intended, accepted_at=self.clock.now())
        watch = self._watched[orphan.device_id]
        self._watched[orphan.device_id] = replace(watch, accepted=self.clock.monotonic())
        self.store.record_orphans(seen=[accepted])
        log.warning("an orphan was returned", device=orphan.device_id, hostname=orphan.hostname, reason=orphan.reason)

    def _owned(self, uid: MachineUid) -> bool:
        machines = {uid} if self.cluster.machine(uid) else set()
        return not self.cluster.synced() or orphaned(uid, machines=machines, record=self.store.get(uid)) is None

    def _prove(self, cloud: Cloud, orphan: Orphan) -> None:
        """A list that misses a device proves nothing; only the cloud's word about this very device does."""
        try:
            cloud.device(orphan.device_id)
        except DeviceNotFoundError:
            gone = replace(orphan, state=OrphanState.GONE, gone_at=self.clock.now())
            self.store.record_orphans(seen=[gone])
            self._watched.pop(orphan.device_id, None)
            log.info("an orphan is gone", device=orphan.device_id, hostname=orphan.hostname)
        except ProviderRefusal as refusal:
            log.info("nobody knows whether an orphan is gone", device=orphan.device_id, reason=str(refusal))

    def _tell(self) -> None:
        known = self.store.orphans()
        for state in OrphanState:
            ORPHANS.labels(state=state.value).set(sum(each.state is state for each in known))
        ORPHAN_COST.set(sum(each.price_per_hour or 0.0 for each in known if each.billing))


def _refusal(cloud: Cloud, device_id: DeviceId) -> ProviderRefusal | None:
    """Ask for the return; what is not there any more needs none, and is proven gone by a later list."""
    try:
        cloud.release(device_id)
    except DeviceNotFoundError:
        return None
    except ProviderRefusal as refusal:
        return refusal
    return None


def _strays(snapshot: Snapshot, clouds: Iterable[Cloud], named: Iterable[MachineUid]) -> list[Stray]:
    """Answer the devices of these Machines that carry the cluster tag of a class without a mistake."""
    held = [(uid, device) for uid in sorted(named) for device in snapshot.by_owner.get(uid, ())]
    return [
        Stray(account=snapshot.account, device=device, uid=uid)
        for uid, device in held
        if device.exists and any(cloud.owner(device) == uid for cloud in clouds)
    ]


def _say(seen: Comparison, verdict: Verdict) -> None:
    for orphan in verdict.found:
        log.warning(
            "a device that nobody owns is in quarantine",
            device=orphan.device_id,
            hostname=orphan.hostname,
            plan=orphan.plan,
            price_per_hour=orphan.price_per_hour,
            reason=orphan.reason,
        )
    for device_id in verdict.owned:
        log.info("an orphan has an owner again; its quarantine is lifted", device=device_id)
    if seen.held_back and verdict.kept:
        log.warning("orphans are kept for now", reason=seen.held_back, orphans=len(verdict.kept))
