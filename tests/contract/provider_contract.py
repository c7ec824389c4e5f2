"""What every provider must keep, said against the port alone; `test_provider.py` runs it on each implementation.

A `Stage` holds a provider, the means to disturb the cloud behind it, and the truth about what was bought.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import pytest

from engine.domain.device import Device, DeviceState
from engine.domain.ids import DeviceId, MachineUid
from engine.ports.provider import (
    AccessDeniedError,
    Cloud,
    DeviceBusyError,
    DeviceNotFoundError,
    DeviceOrder,
    InvalidSpecError,
    OutcomeUnknownError,
    OutOfCapacityError,
    Provider,
    ProviderRefusal,
    ThrottledError,
    UnavailableError,
)

TOKEN_CANARY = "canary-token-8f1c2b"
USERDATA_CANARY = "canary-userdata-77aa01"
UNKNOWN_DEVICE = DeviceId("00000000-0000-4000-8000-000000000000")


class Trouble(Enum):
    """What can go wrong with the calls from now on."""

    SOLD_OUT = auto()
    LOST_BEFORE = auto()
    """Connections are cut and nothing is done."""
    LOST_AFTER = auto()
    """Connections are cut although it is done."""
    FAILED_AFTER = auto()
    """The cloud reports a failure of its own although it is done."""
    GATEWAY_DOWN = auto()
    """Something in front of the cloud answers instead."""
    KEY_REFUSED = auto()
    RIGHTS_LOST = auto()
    THROTTLED = auto()
    LATER_PAGES_FAIL = auto()
    NO_ANSWER_IN_TIME = auto()
    BUILD_FAILS = auto()
    """What is ordered now will fail and stay."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A provider with a cloud behind it, and everything a test needs to know and do beside the port."""

    provider: Provider
    spec: Mapping[str, Any]
    secret: Mapping[str, bytes]
    trouble: Callable[[Trouble], None]
    calm: Callable[[], object]
    """End all troubles."""
    build: Callable[[], object]
    """Let so much time pass that ordered devices are up."""
    wipe: Callable[[], object]
    """Let so much time pass that released devices are gone."""
    bought: Callable[[], int]
    """How many devices were ever bought."""
    reservation: str

    def cloud(self, **changes: Any) -> Cloud:
        """Answer the account of the class, with changes to the spec."""
        return self.provider.bind(spec={**self.spec, **changes}, secret=self.secret)


def order(number: int = 0, *, reservation: str | None = None) -> DeviceOrder:
    """Answer a valid order, another one for each number."""
    return DeviceOrder(
        uid=MachineUid(f"5b0f35a0-0000-4000-8000-{number:012}"),
        hostname=f"shoot-a-worker-{number}",
        userdata=f"#cloud-config\n# {USERDATA_CANARY}\n",
        reservation_id=reservation,
    )


def built(stage: Stage, cloud: Cloud, number: int = 0) -> Device:
    """Answer a device that is up."""
    device = cloud.order(order(number))
    stage.build()
    return cloud.device(device.device_id)


class ProviderContract:
    """The promises of `engine.ports.provider`."""

    def test_order_answers_a_device_that_names_its_machine(self, stage: Stage) -> None:
        """A device that was bought carries its Machine's uid and name from the first moment."""
        cloud = stage.cloud()

        device = cloud.order(order(7))

        assert cloud.owner(device) == order(7).uid
        assert device.hostname == order(7).hostname
        assert device.state is DeviceState.INSTALLING
        assert device.exists
        assert set(stage.spec["tags"]) <= set(device.tags)
        assert stage.provider.device_id(device.provider_id) == device.device_id

    def test_order_twice_buys_twice(self, stage: Stage) -> None:
        """An order is not safe to repeat: each success is one more device."""
        cloud = stage.cloud()

        first, second = cloud.order(order()), cloud.order(order())

        assert first.device_id != second.device_id
        assert stage.bought() == 2

    def test_device_becomes_active_with_addresses(self, stage: Stage) -> None:
        """A device that is up is active, has an inner address and a creation time, and keeps its owner."""
        cloud = stage.cloud()

        device = built(stage, cloud)

        assert device.state is DeviceState.ACTIVE
        assert {address.kind for address in device.addresses} >= {"InternalIP", "Hostname"}
        assert device.created_at
        assert device.created_at.tzinfo
        assert cloud.owner(device) == order().uid

    def test_inventory_answers_every_device_once(self, stage: Stage) -> None:
        """The inventory goes over all pages and holds each device once, as `device` answers it."""
        cloud = stage.cloud()
        ordered = [cloud.order(order(number)) for number in range(23)]

        devices = cloud.inventory()

        assert sorted(device.device_id for device in devices) == sorted(device.device_id for device in ordered)
        assert {cloud.owner(device) for device in devices} == {order(number).uid for number in range(23)}
        assert cloud.device(devices[0].device_id) == devices[0]

    def test_empty_inventory_is_an_answer(self, stage: Stage) -> None:
        """An account without devices has an empty inventory; that is no error."""
        assert list(stage.cloud().inventory()) == []

    @pytest.mark.parametrize(
        "trouble", [Trouble.LATER_PAGES_FAIL, Trouble.LOST_BEFORE, Trouble.LOST_AFTER, Trouble.GATEWAY_DOWN]
    )
    def test_incomplete_inventory_is_refused(self, stage: Stage, trouble: Trouble) -> None:
        """A list of which a part cannot be had is an error and never a shorter list."""
        cloud = stage.cloud()
        for number in range(12):
            cloud.order(order(number))
        stage.trouble(trouble)

        with pytest.raises(UnavailableError):
            cloud.inventory()

        stage.calm()
        assert len(cloud.inventory()) == 12

    @pytest.mark.parametrize(
        ("trouble", "bought"),
        [
            (Trouble.LOST_BEFORE, 0),
            (Trouble.LOST_AFTER, 1),
            (Trouble.FAILED_AFTER, 1),
            (Trouble.GATEWAY_DOWN, 0),
            (Trouble.NO_ANSWER_IN_TIME, 1),
        ],
    )
    def test_order_without_answer_has_an_unknown_outcome(self, stage: Stage, trouble: Trouble, bought: int) -> None:
        """An order whose answer is lost is of unknown outcome, whether or not it was carried out."""
        cloud = stage.cloud()
        stage.trouble(trouble)

        with pytest.raises(OutcomeUnknownError):
            cloud.order(order())

        stage.calm()
        found = [device for device in cloud.inventory() if cloud.owner(device) == order().uid]
        assert len(found) == stage.bought() == bought

    @pytest.mark.parametrize(
        ("trouble", "error"),
        [
            (Trouble.SOLD_OUT, OutOfCapacityError),
            (Trouble.KEY_REFUSED, AccessDeniedError),
            (Trouble.RIGHTS_LOST, AccessDeniedError),
            (Trouble.THROTTLED, ThrottledError),
        ],
    )
    def test_refused_order_buys_nothing(self, stage: Stage, trouble: Trouble, error: type[ProviderRefusal]) -> None:
        """An order that is refused with any error but OutcomeUnknownError has bought nothing."""
        cloud = stage.cloud()
        stage.trouble(trouble)

        with pytest.raises(error):
            cloud.order(order())

        assert stage.bought() == 0

    def test_reservation_that_is_taken_is_busy(self, stage: Stage) -> None:
        """A reservation holds one device; the next order on it is told to come back, and nothing is bought."""
        cloud = stage.cloud(reservationIDs=[stage.reservation])
        device = cloud.order(order(1, reservation=stage.reservation))

        with pytest.raises((DeviceBusyError, OutOfCapacityError)):
            cloud.order(order(2, reservation=stage.reservation))

        assert device.reservation_id == stage.reservation
        assert cloud.reservations == (stage.reservation,)
        assert stage.bought() == 1

    def test_order_after_the_reservation_is_on_demand(self, stage: Stage) -> None:
        """An order without a reservation is on demand, also when the last one had a reservation."""
        cloud = stage.cloud(reservationIDs=[stage.reservation])
        cloud.order(order(1, reservation=stage.reservation))

        assert cloud.order(order(2)).reservation_id is None

    def test_unknown_device_is_not_found(self, stage: Stage) -> None:
        """A device that never was is proven to be missing, for a look and for a release."""
        cloud = stage.cloud()

        with pytest.raises(DeviceNotFoundError):
            cloud.device(UNKNOWN_DEVICE)
        with pytest.raises(DeviceNotFoundError):
            cloud.release(UNKNOWN_DEVICE)

    @pytest.mark.parametrize(
        ("trouble", "error"),
        [
            (Trouble.LOST_BEFORE, UnavailableError),
            (Trouble.LOST_AFTER, UnavailableError),
            (Trouble.FAILED_AFTER, UnavailableError),
            (Trouble.GATEWAY_DOWN, UnavailableError),
            (Trouble.NO_ANSWER_IN_TIME, UnavailableError),
            (Trouble.KEY_REFUSED, AccessDeniedError),
            (Trouble.RIGHTS_LOST, AccessDeniedError),
            (Trouble.THROTTLED, ThrottledError),
        ],
    )
    def test_trouble_never_proves_that_a_device_is_gone(
        self, stage: Stage, trouble: Trouble, error: type[ProviderRefusal]
    ) -> None:
        """Whatever goes wrong, a look and a release fail with another error than DeviceNotFoundError."""
        cloud = stage.cloud()
        device = built(stage, cloud)
        stage.trouble(trouble)

        with pytest.raises(error):
            cloud.device(device.device_id)
        with pytest.raises(error):
            cloud.release(device.device_id)

    def test_device_that_is_being_installed_refuses_to_go(self, stage: Stage) -> None:
        """A release during the installation is either accepted or answered with DeviceBusyError."""
        cloud = stage.cloud()
        device = cloud.order(order())

        try:
            cloud.release(device.device_id)
        except DeviceBusyError:
            stage.build()
            cloud.release(device.device_id)

        assert cloud.device(device.device_id).state is DeviceState.RELEASING

    def test_release_is_safe_to_repeat_and_ends_in_proof(self, stage: Stage) -> None:
        """A release may be repeated; the device is seen as releasing until it is gone, and that is proven."""
        cloud = stage.cloud()
        device = built(stage, cloud)

        cloud.release(device.device_id)
        cloud.release(device.device_id)
        assert cloud.device(device.device_id).state is DeviceState.RELEASING
        stage.wipe()

        with pytest.raises(DeviceNotFoundError):
            cloud.release(device.device_id)
        assert list(cloud.inventory()) == []

    def test_failed_device_that_stays_is_seen_and_can_be_released(self, stage: Stage) -> None:
        """A device that failed and stays is shown as failed, exists, and can be given back."""
        cloud = stage.cloud()
        stage.trouble(Trouble.BUILD_FAILS)
        device = built(stage, cloud)
        stage.calm()

        assert device.state is DeviceState.FAILED
        assert device.exists
        cloud.release(device.device_id)

    def test_owner_is_of_the_same_cluster(self, stage: Stage) -> None:
        """The device of another cluster in the same account has no owner here."""
        cloud = stage.cloud()
        foreign = stage.cloud(tags=["kubernetes.io/cluster/other", "kubernetes.io/role/node"])

        device = foreign.order(order())

        assert foreign.owner(device) == order().uid
        assert cloud.owner(device) is None

    def test_device_with_an_owner_resembles_none_of_the_go_controller(self, stage: Stage) -> None:
        """A device that names its Machine was not bought by the Go controller."""
        cloud = stage.cloud()

        device = cloud.order(order())

        assert not cloud.resembles(device, hostname=device.hostname)

    def test_classes_of_one_account_share_its_key(self, stage: Stage) -> None:
        """Two classes with one credential in one project have one account; another project is another one."""
        here, beside = stage.cloud(), stage.cloud(machineType="m3.large.x86")
        away = stage.cloud(projectID="00000000-0000-4000-8000-00000000000a")

        assert here.account == beside.account
        assert here.account != away.account

    def test_everything_wrong_is_told_at_once(self, stage: Stage) -> None:
        """An unusable class and secret are refused with one error that names each fault."""
        with pytest.raises(InvalidSpecError) as refused:
            stage.provider.bind(spec={}, secret={})

        assert len(refused.value.problems) > 5

    def test_missing_spec_is_refused_in_words(self, stage: Stage) -> None:
        """A class without providerSpec is refused; nothing crashes."""
        with pytest.raises(InvalidSpecError, match="providerSpec"):
            stage.provider.bind(spec=None, secret=stage.secret)

    @pytest.mark.parametrize("trouble", list(Trouble))
    def test_secrets_appear_nowhere(self, stage: Stage, trouble: Trouble, caplog: pytest.LogCaptureFixture) -> None:
        """Neither the token nor the user data are in any error, representation or log line."""
        caplog.set_level("DEBUG")
        cloud = stage.cloud()
        said = [repr(order()), repr(cloud), repr(stage.provider), repr(cloud.summary), cloud.account]
        said.append(repr(built(stage, cloud)))
        stage.trouble(trouble)

        for call in (
            lambda: cloud.order(order()),
            cloud.inventory,
            lambda: cloud.device(UNKNOWN_DEVICE),
            lambda: cloud.release(UNKNOWN_DEVICE),
        ):
            try:
                said.append(repr(call()))
            except ProviderRefusal as refusal:
                said += [str(refusal), repr(refusal), repr(refusal.__cause__), repr(refusal.__context__)]

        text = "\n".join([*said, caplog.text])
        assert TOKEN_CANARY not in text
        assert USERDATA_CANARY not in text
