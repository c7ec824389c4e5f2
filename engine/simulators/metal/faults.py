"""What can be made to go wrong, at run time: each rule strikes a share of the requests, or the next few.

Chance comes from the seed; a rule with a share of one needs none, so scripted faults leave the other draws alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from engine.simulators.seed import Seed


class Operation(StrEnum):
    """What a request is about, as far as a fault cares."""

    CREATE = "create"
    GET = "get"
    LIST = "list"
    UPDATE = "update"
    DELETE = "delete"
    OTHER = "other"


class FaultKind(StrEnum):
    """What goes wrong."""

    LATENCY = "latency"
    """The answer takes `seconds`."""
    SLOW = "slow"
    """The answer takes `seconds` more; beside latency, so that a share of the answers can be slow."""
    LOST_BEFORE = "lost_before"
    """The connection is cut and nothing has happened."""
    LOST_AFTER = "lost_after"
    """The connection is cut although it has happened."""
    THROTTLED = "throttled"
    """429."""
    OH_SNAP_BEFORE = "oh_snap_before"
    """500, and nothing has happened."""
    OH_SNAP_AFTER = "oh_snap_after"
    """500, although it has happened."""
    BAD_GATEWAY = "bad_gateway"
    """502 in HTML from the load balancer; nothing has happened."""
    UNAUTHORIZED = "unauthorized"
    """401, whatever the key."""
    FORBIDDEN = "forbidden"
    """403, whatever the key."""
    NO_CAPACITY = "no_capacity"
    """An order is refused as if the metro were sold out."""
    FAIL_PROVISIONING = "fail_provisioning"
    """The ordered device fails: on demand it vanishes, reserved it stays."""
    FAIL_AND_STAY = "fail_and_stay"
    """The ordered device fails and stays, also on demand."""
    STALE_LIST = "stale_list"
    """Devices younger than `seconds` are missing in lists."""
    STALE_RESERVATION = "stale_reservation"
    """The list calls every reservation provisionable; the reservation itself tells the truth."""
    LIST_TRUNCATED = "list_truncated"
    """The second half of the devices is missing in a list that looks complete."""
    LIST_EMPTY = "list_empty"
    """No device is in a list that looks complete."""
    LIST_PAGE_ERROR = "list_page_error"
    """500 for every page but the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """One thing that goes wrong, how often, and in which requests."""

    kind: FaultKind
    share: float = 1.0
    """The share of the matching requests that it strikes, 0 to 1."""
    left: int | None = None
    """How many more it strikes; None for no limit."""
    operation: Operation | None = None
    """The only operation it strikes; None for all."""
    seconds: float = 0.0
    """How long, for the kinds that have a length."""


class Faults:
    """The rules in force. One rule stands for each pair of kind and operation; a new one replaces it."""

    def __init__(self, seed: Seed) -> None:
        self._seed = seed
        self._rules: dict[tuple[FaultKind, Operation | None], FaultRule] = {}

    def add(self, *rules: FaultRule) -> None:
        """Put rules in force."""
        for rule in rules:
            self._rules[rule.kind, rule.operation] = rule

    def remove(self, kind: FaultKind) -> None:
        """Take every rule of this kind out of force."""
        self._rules = {key: rule for key, rule in self._rules.items() if rule.kind is not kind}

    def replace(self, rules: Iterable[FaultRule] = ()) -> None:
        """Put these rules in force and no others; without any, all is well again."""
        self._rules.clear()
        self.add(*rules)

    def rules(self) -> list[FaultRule]:
        """Answer the rules in force."""
        return list(self._rules.values())

    def strike(self, kind: FaultKind, operation: Operation) -> FaultRule | None:
        """Answer the rule that strikes this request, if one does; a strike counts."""
        if not self._rules:
            return None
        for key in ((kind, operation), (kind, None)):
            rule = self._rules.get(key)
            if rule and rule.left != 0 and (rule.share >= 1 or self._seed.chance(rule.share)):
                self._count(key, rule)
                return rule
        return None

    def _count(self, key: tuple[FaultKind, Operation | None], rule: FaultRule) -> None:
        if rule.left is None:
            return
        if rule.left <= 1:
            del self._rules[key]
        else:
            self._rules[key] = replace(rule, left=rule.left - 1)
