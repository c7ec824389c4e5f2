"""Counts and times every call to a provider, around any adapter, so that no adapter knows of metrics."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from engine.clock import Clock
from engine.domain.device import Device
from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.domain.outcome import Code
from engine.ports.provider import Cloud, DeviceOrder, Provider, ProviderRefusal

Result = TypeVar("Result")


class Meter(Protocol):
    """What becomes of the measurements."""

    def record(self, provider: str, operation: str, seconds: float, error_code: Code | None) -> None:
        """Take note of one call; without an error code it succeeded. Called from any thread."""
        ...


class MeteredProvider(Provider):
    """A provider whose clouds are metered. Binding does no I/O and is not counted."""

    def __init__(self, provider: Provider, *, meter: Meter, clock: Clock) -> None:
        self._provider = provider
        self._meter = meter
        self._clock = clock

    @property
    def name(self) -> str:
        """The name of the provider inside."""
        return self._provider.name

    def bind(self, *, spec: Mapping[str, Any] | None, secret: Mapping[str, bytes]) -> Cloud:
        """Answer the account, metered."""
        cloud = self._provider.bind(spec=spec, secret=secret)
        return MeteredCloud(cloud, provider=self.name, meter=self._meter, clock=self._clock)

    def bind_for_release(self, *, spec: Mapping[str, Any] | None, secret: Mapping[str, bytes]) -> Cloud:
        """Answer the account of a class that may be broken, metered."""
        cloud = self._provider.bind_for_release(spec=spec, secret=secret)
        return MeteredCloud(cloud, provider=self.name, meter=self._meter, clock=self._clock)

    def warnings(self, spec: Mapping[str, Any]) -> Sequence[str]:
        """Answer the warnings of the provider inside."""
        return self._provider.warnings(spec)

    def hostname_fault(self, name: str) -> str | None:
        """Answer the fault that the provider inside finds."""
        return self._provider.hostname_fault(name)

    def device_id(self, provider_id: str) -> DeviceId | None:
        """Answer the device that the provider inside reads."""
        return self._provider.device_id(provider_id)


class MeteredCloud(Cloud):
    """A cloud whose four calls are counted and timed: order, inventory, device and release."""

    def __init__(self, cloud: Cloud, *, provider: str, meter: Meter, clock: Clock) -> None:
        self._cloud = cloud
        self._provider = provider
        self._meter = meter
        self._clock = clock

    @property
    def account(self) -> AccountKey:
        """The account of the cloud inside."""
        return self._cloud.account

    @property
    def reservations(self) -> Sequence[str]:
        """The reservations of the cloud inside."""
        return self._cloud.reservations

    @property
    def reserved_only(self) -> bool:
        """Whether the cloud inside buys on reservations only."""
        return self._cloud.reserved_only

    @property
    def summary(self) -> Mapping[str, str]:
        """What the cloud inside buys."""
        return self._cloud.summary

    def order(self, order: DeviceOrder) -> Device:
        """Buy one device; counted."""
        return self._measured("order", lambda: self._cloud.order(order))

    def inventory(self) -> Sequence[Device]:
        """Answer every device; counted as one call, however many pages it takes."""
        return self._measured("inventory", self._cloud.inventory)

    def device(self, device_id: DeviceId) -> Device:
        """Answer one device; counted."""
        return self._measured("device", lambda: self._cloud.device(device_id))

    def release(self, device_id: DeviceId) -> None:
        """Ask for the device to be taken back; counted."""
        self._measured("release", lambda: self._cloud.release(device_id))

    def owner(self, device: Device) -> MachineUid | None:
        """Answer the owner that the cloud inside reads."""
        return self._cloud.owner(device)

    def resembles(self, device: Device, *, hostname: str) -> bool:
        """Answer the resemblance that the cloud inside sees."""
        return self._cloud.resembles(device, hostname=hostname)

    def _measured(self, operation: str, call: Callable[[], Result]) -> Result:
        begin = self._clock.monotonic()
        code: Code | None = Code.INTERNAL  # what stays when the adapter fails in a way that it must not
        try:
            result = call()
            code = None
        except ProviderRefusal as refusal:
            code = refusal.code
            raise
        finally:
            self._meter.record(self._provider, operation, self._clock.monotonic() - begin, code)
        return result
