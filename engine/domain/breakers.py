"""When to stop and ask: what looks more like a mistake, of ours or of the cloud's, than like the world.

Four breakers, each a pure decision over what is given; who keeps the state must not be known here.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from engine.domain.device import Device, DeviceState
from engine.domain.ids import DeviceId
from engine.domain.machine import HistoryEntry
from engine.domain.states import PROVISIONING_INSTALL, PROVISIONING_JOIN
from engine.domain.triggers import Trigger

WINDOW: Final = timedelta(hours=1)
"""Over which purchases and deletions are counted."""
JOIN_PATIENCE: Final = timedelta(minutes=5)
"""A Node joins within two minutes of its device; who deletes a Machine sooner changed his mind, later he gave it up."""
CONFIRMING_LISTS_MIN: Final = 3
"""So many complete lists in a row must miss the same devices, however long the confirmation span is."""
EMPTY_LOSS_MIN: Final = 2
"""A list that lost everything is doubted from two devices on; one alone is an everyday act in the console."""
UNHEALTHY_MIN: Final = 3
"""Fewer unhealthy Nodes are single faults, whatever share of a small cluster they are."""
JOINED_PER_FAILURE: Final = 10
"""Of so many machines that join, one more may fail: one in ten is far more than hardware does by itself."""

_LEAVES_BY_ITSELF = frozenset({DeviceState.RELEASING, DeviceState.FAILED, DeviceState.GONE})
_BOUGHT = frozenset({PROVISIONING_INSTALL, PROVISIONING_JOIN})
_GIVEN_UP = frozenset({Trigger.DEVICE_FAILED, Trigger.DEVICE_LOST, Trigger.CREATION_TIMED_OUT})


class Breaker(StrEnum):
    """The four breakers; the spelling is that of metrics, Events and the operator's annotation."""

    LIST_SHRANK = "list-shrank"
    """A complete list misses many devices that nobody asked to delete: it is not believed."""
    WASTED_PURCHASES = "wasted-purchases"
    """Devices of a class fail before they serve: no more are bought for it."""
    UNASKED_DELETIONS = "unasked-deletions"
    """Many devices were given back that no Machine's deletion asked for: no more are."""
    UNHEALTHY_NODES = "unhealthy-nodes"
    """So many Nodes are unhealthy at once that it is no matter of single machines: none is judged by its health."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From when on a breaker opens."""

    list_shrink_share: float = 0.1
    list_shrink_devices: int = 5
    list_confirmation: timedelta = timedelta(minutes=10)
    wasted_purchases_per_hour: int = 10
    unasked_deletions_per_hour: int = 10
    unhealthy_share: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Lists that are not believed: since when, how many in a row, and what they miss. `since` is monotonic."""

    since: float
    lists: int
    missed: frozenset[DeviceId]


def missed(before: Mapping[DeviceId, Device], shown: Collection[DeviceId]) -> frozenset[DeviceId]:
    """Answer the devices that a list misses although none of them was seen on its way out."""
    left = (each for key, each in before.items() if key not in shown)
    return frozenset(each.device_id for each in left if each.state not in _LEAVES_BY_ITSELF)


def shrank(lost: int, *, before: int, shown: int, limits: Limits) -> bool:
    """Answer whether a list lost too much to be believed at once."""
    if shown == 0 and lost >= EMPTY_LOSS_MIN:
        return True
    return lost > max(limits.list_shrink_devices, limits.list_shrink_share * before)


def doubted(doubt: Doubt | None, lost: frozenset[DeviceId], shown: Collection[DeviceId], now: float) -> Doubt:
    """Answer the doubt after one more list that lost these; a device that came back starts the confirmation anew."""
    if doubt is None or any(each in shown for each in doubt.missed):
        return Doubt(since=now, lists=1, missed=lost)
    return Doubt(since=doubt.since, lists=doubt.lists + 1, missed=lost)


def confirmed(doubt: Doubt, now: float, limits: Limits) -> bool:
    """Answer whether lists have missed the same devices for so long that they are believed."""
    long_enough = now - doubt.since >= limits.list_confirmation.total_seconds()
    return long_enough and doubt.lists >= CONFIRMING_LISTS_MIN


def wasted(entry: HistoryEntry, up_at: datetime | None) -> bool:
    """Answer whether this line tells the end of a purchase that never served.

    `up_at` is when the device came up, None when that is not known. A Machine that is deleted while its device is
    installed, or soon after, was a change of mind and no waste.
    """
    if entry.source not in _BOUGHT:
        return False
    if entry.trigger == Trigger.DELETION_REQUESTED and entry.source == PROVISIONING_JOIN:
        return up_at is None or entry.at - up_at >= JOIN_PATIENCE
    return entry.trigger in _GIVEN_UP


def too_many_wasted(failed: int, joined: int, limits: Limits) -> bool:
    """Answer whether so many purchases were wasted, beside those that came to serve, that buying must stop."""
    return failed >= limits.wasted_purchases_per_hour + joined // JOINED_PER_FAILURE


def too_many_unhealthy(unhealthy: int, *, serving: int, limits: Limits) -> bool:
    """Answer whether the share of unhealthy machines among those that serve is no matter of single machines."""
    return unhealthy >= UNHEALTHY_MIN and unhealthy > limits.unhealthy_share * serving


def orders_to_close(text: str) -> tuple[frozenset[Breaker], tuple[str, ...]]:
    """Answer which breakers an operator's annotation names, and which of its words name none.

    Names are separated by commas; what follows a `=` only makes the value a new one.
    """
    names = [part.partition("=")[0].strip() for part in text.split(",")]
    known = {str(each): each for each in Breaker}
    unknown = tuple(name for name in names if name and name not in known)
    return frozenset(known[name] for name in names if name in known), unknown
