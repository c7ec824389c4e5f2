"""Whether a complete list is believed: one that lost much without anybody's asking is not, until others confirm it.

What a disbelieved list shows is true; what it misses proves nothing. So it is told as the older list with what the new
one adds, dated like the older one: no step takes it for a proof that a device is gone or was never bought.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from engine.clock import Clock
from engine.domain.breakers import WINDOW, Breaker, Doubt, confirmed, doubted, missed, shrank
from engine.domain.ids import AccountKey, DeviceId
from engine.domain.outcome import Code, Problem, problem
from engine.domain.triggers import Trigger
from engine.ports.provider import Cloud
from engine.ports.store import HistoryFilter, Store
from engine.workflow.breakers import Breakers
from engine.workflow.inventory import Snapshot, snapshot_of

RETURNS_MAX = 20_000  # returns within the window that are read at once; more than a cloud lets go in an hour
_RETURNS = frozenset({str(Trigger.RELEASE_ACCEPTED), str(Trigger.DUPLICATE_FOUND), str(Trigger.DEVICE_LOST)})
_LONG_AGO = -1e9  # monotonic: older than anything that a step waits for


@dataclass(frozen=True, slots=True, kw_only=True)
class Disbelief:
    """What may be told of a list that is not believed, and why it is not."""

    told: Snapshot
    problem: Problem


class Belief:
    """Judges the lists of each account in turn; one thread at a time for each account."""

    def __init__(self, *, clock: Clock, store: Store, breakers: Breakers) -> None:
        self._clock = clock
        self._store = store
        self._breakers = breakers
        self._doubts: dict[AccountKey, Doubt] = {}

    def remembered(self, cloud: Cloud) -> Snapshot:
        """Answer what earlier processes were shown of this account last, as a list that proves nothing."""
        known = [each.device for each in self._store.devices(account=cloud.account) if each.gone_at is None]
        return snapshot_of(cloud, known, started=_LONG_AGO, finished_at=self._clock.now())

    def judge(self, cloud: Cloud, seen: Snapshot, before: Snapshot) -> Disbelief | None:
        """Answer None when the list is believed."""
        shown, limits = seen.devices.keys(), self._breakers.limits
        lost = missed(before.devices, shown)
        if shrank(len(lost), before=len(before.devices), shown=len(shown), limits=limits):
            lost -= self._returned()
        if not shrank(len(lost), before=len(before.devices), shown=len(shown), limits=limits):
            self._believe(seen.account, "the list shows the devices again, or their return was asked for")
            return None
        if self._breakers.take_trust(seen.account):
            self._believe(seen.account, "an operator ordered it")
            return None
        return self._doubt(cloud, seen, before, lost)

    def retain(self, accounts: Collection[AccountKey]) -> None:
        """Forget the accounts that are not listed any more."""
        for account in [each for each in self._doubts if each not in accounts]:
            self._believe(account, "the account is not listed any more")

    def _doubt(self, cloud: Cloud, seen: Snapshot, before: Snapshot, lost: frozenset[DeviceId]) -> Disbelief | None:
        now, account = self._clock.monotonic(), seen.account
        doubt = doubted(self._doubts.get(account), lost, seen.devices.keys(), now)
        span = self._breakers.limits.list_confirmation
        if confirmed(doubt, now, self._breakers.limits):
            self._believe(account, f"{doubt.lists} lists over {span} miss the same devices; they are believed")
            return None
        self._doubts[account] = doubt
        why = _why(account, len(lost), len(before.devices), span)
        self._breakers.open(Breaker.LIST_SHRANK, why, scope=account)
        merged = {**before.devices, **seen.devices}
        told = snapshot_of(cloud, list(merged.values()), started=before.started, finished_at=before.finished_at)
        return Disbelief(told=told, problem=problem(Code.UNAVAILABLE, why))

    def _believe(self, account: AccountKey, how: str) -> None:
        self._doubts.pop(account, None)
        self._breakers.close(Breaker.LIST_SHRANK, how, scope=account)

    def _returned(self) -> frozenset[DeviceId]:
        """Answer the devices that the engine returned within the window, or that are proven gone already."""
        since = self._clock.now() - WINDOW
        wanted = HistoryFilter(since=since, triggers=_RETURNS, limit=RETURNS_MAX)
        return frozenset(each.device_id for each in self._store.history(wanted) if each.device_id)


def _why(account: AccountKey, lost: int, before: int, span: timedelta) -> str:
    return (
        f"the list of account {account} misses {lost} of {before} devices that nobody asked to delete, so it is not "
        f"believed before lists over {span} confirm it; look at the cloud's console and status page"
    )
