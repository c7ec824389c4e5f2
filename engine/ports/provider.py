"""The provider: where hardware comes from. The errors here are decisions, and the only ones that cross this border.

``ProviderError``
├── ``DeviceNotFoundError``     proven: the provider has no such device
├── ``DeviceBusyError``         not now: the device is in a state that refuses this; try again later
├── ``OutOfCapacityError``      no such hardware is free now; nothing was bought
├── ``InvalidRequestError``     the request can never succeed as it is; nothing was done
├── ``AccessDeniedError``       the credential is wrong or lost its rights; proves nothing about devices
├── ``ThrottledError``          the provider asks us to slow down; nothing was done
├── ``UnavailableError``        the provider did not do it and may do it later
└── ``OutcomeUnknownError``     the answer was lost: it may have been done
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

from engine.domain.device import Device
from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.domain.outcome import Code, Problem, problem
from engine.errors import ProviderError


class ProviderRefusal(ProviderError):  # noqa: N818 - a family, its members are errors
    """A translated answer of the cloud: what, which and what to do now, without secrets."""

    code: ClassVar[Code] = Code.UNKNOWN

    @property
    def problem(self) -> Problem:
        """The refusal in the words of the contract."""
        return problem(self.code, str(self))


class DeviceNotFoundError(ProviderRefusal):
    """Proven: the provider has no such device. For a release, this is the proof that it is done."""

    code = Code.NOT_FOUND


class DeviceBusyError(ProviderRefusal):
    """The device, or the reservation, is in a state that refuses this now; the engine tries again later."""

    code = Code.FAILED_PRECONDITION


class OutOfCapacityError(ProviderRefusal):
    """No such hardware is free now; nothing was bought. The engine waits long, or tries the next reservation."""

    code = Code.RESOURCE_EXHAUSTED


class InvalidRequestError(ProviderRefusal):
    """The request can never succeed as it is; nothing was done. The engine waits for a change of class or secret."""

    code = Code.INVALID_ARGUMENT


class AccessDeniedError(ProviderRefusal):
    """The credential is wrong or lost its rights. It is never a proof that a device is gone."""

    code = Code.PERMISSION_DENIED


class ThrottledError(ProviderRefusal):
    """The provider asks us to slow down; nothing was done. `retry_at` is its wish, if it named one."""

    code = Code.UNAVAILABLE

    def __init__(self, message: str, retry_at: datetime | None = None) -> None:
        super().__init__(message, retry_at)
        self.retry_at = retry_at

    def __str__(self) -> str:
        return str(self.args[0])


class UnavailableError(ProviderRefusal):
    """The provider did not do it (no connection, or it said so); the engine tries again with backoff."""

    code = Code.UNAVAILABLE


class OutcomeUnknownError(ProviderRefusal):
    """The answer was lost: it may have been done. The engine looks before it does anything again."""

    code = Code.DEADLINE_EXCEEDED


class InvalidSpecError(ProviderRefusal):
    """The class or the secret is wrong; `problems` names everything at once, in words."""

    code = Code.INVALID_ARGUMENT

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "; ".join(self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOrder:
    """One purchase. The device carries the Machine's uid in a tag from its first moment."""

    uid: MachineUid
    hostname: str
    userdata: str = field(repr=False)
    reservation_id: str | None = None
    """Buy on this reservation; None buys on demand."""


class Cloud(Protocol):
    """One account at a provider, seen through one MachineClass. Every call has a deadline and is safe from threads."""

    @property
    def account(self) -> AccountKey:
        """What shares one list and one rate limit with this."""
        ...

    @property
    def reservations(self) -> Sequence[str]:
        """The reservations to try in order before on-demand hardware; empty for on-demand only."""
        ...

    @property
    def reserved_only(self) -> bool:
        """Whether on-demand hardware is out of the question when the reservations are taken."""
        ...

    @property
    def summary(self) -> Mapping[str, str]:
        """What is bought, for people: plan, place, operating system, billing; no secrets."""
        ...

    def order(self, order: DeviceOrder) -> Device:
        """Buy one device. NOT safe to repeat: each success is one more bill.

        Any error but OutcomeUnknownError proves that nothing was bought.
        """
        ...

    def inventory(self) -> Sequence[Device]:
        """Answer every device that the account shows, over all pages, each once. Safe to repeat.

        Raises rather than answer an incomplete list.
        """
        ...

    def device(self, device_id: DeviceId) -> Device:
        """Answer one device. Safe to repeat. Only DeviceNotFoundError proves that it is not there."""
        ...

    def release(self, device_id: DeviceId) -> None:
        """Ask for the device to be taken back. Safe to repeat.

        Returns when the provider accepted it; that is no proof that the device is gone. Raises DeviceNotFoundError when
        nothing is left.
        """
        ...

    def owner(self, device: Device) -> MachineUid | None:
        """Answer the Machine that the device's tag names, if it carries one of ours."""
        ...

    def resembles(self, device: Device, *, hostname: str) -> bool:
        """Answer whether an untagged device was bought for a Machine of this name by the Go controller.

        It was when the hostname is the name and every tag of the class is on it.
        """
        ...


class Provider(Protocol):
    """A kind of cloud."""

    @property
    def name(self) -> str:
        """The value of `provider` in a MachineClass."""
        ...

    def bind(self, *, spec: Mapping[str, Any] | None, secret: Mapping[str, bytes]) -> Cloud:
        """Answer the account that a class and its merged secrets describe. No I/O.

        Raises InvalidSpecError that names everything that is wrong at once.
        """
        ...

    def bind_for_release(self, *, spec: Mapping[str, Any] | None, secret: Mapping[str, bytes]) -> Cloud:
        """Answer the account of a class that may be too broken to buy with, for looking at devices and returning them.

        A mistake in a class must not keep servers billing. No I/O. Raises InvalidSpecError when not even the account
        can be told.
        """
        ...

    def warnings(self, spec: Mapping[str, Any]) -> Sequence[str]:
        """Answer what is accepted but deserves a word, such as a deprecated or unknown key."""
        ...

    def hostname_fault(self, name: str) -> str | None:
        """Answer why a Machine of this name cannot be bought, in words; None when it can."""
        ...

    def device_id(self, provider_id: str) -> DeviceId | None:
        """Answer the device that a providerID names, whatever the spelling; None when it names none of this cloud."""
        ...
