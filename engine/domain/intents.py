"""Intents: what is written down before the world is touched, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from engine.domain.ids import DeviceId, IntentId, MachineUid
from engine.domain.outcome import Problem


class IntentKind(StrEnum):
    """Which effect is meant."""

    ORDER = "order"
    RELEASE = "release"


class IntentResult(StrEnum):
    """What became of an intent; none of these means that it is still unresolved."""

    DONE = "done"
    """The effect happened, by the provider's own word."""
    REFUSED = "refused"
    """The provider did not do it, by its own word or because the request never reached it."""
    REPEATED = "repeated"
    """The answer was lost, and the effect is one that is asked for again without harm."""
    NEVER_HAPPENED = "never-happened"
    """The answer was lost, and complete lists over the whole visibility window show no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One intended effect. An order without a result may have bought a device: look before you buy again."""

    intent_id: IntentId
    uid: MachineUid
    kind: IntentKind
    written_at: datetime
    device_id: DeviceId | None = None
    """The device to release; for an order, the device that came of it."""
    reservation_id: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    """What was asked for (plan, metro, operating system …), without secrets and without userdata."""
    result: IntentResult | None = None
    resolved_at: datetime | None = None
    problem: Problem | None = None

    @property
    def unresolved(self) -> bool:
        """Whether nobody knows yet what became of it."""
        return self.result is None


def order_id(uid: MachineUid, number: int) -> IntentId:
    """Answer the id of a machine's purchase number `number`, counted from 1."""
    return IntentId(f"{uid}/order/{number}")


def release_id(uid: MachineUid, device_id: DeviceId, number: int) -> IntentId:
    """Answer the id of the `number`th request to take this device back."""
    return IntentId(f"{uid}/release/{device_id}/{number}")
