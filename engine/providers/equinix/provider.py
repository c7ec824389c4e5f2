"""Equinix Metal behind the port: each call is a request, and each answer a device or a decision."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from engine.clock import Clock
from engine.domain.device import Device, DeviceState
from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.ports.provider import (
    Cloud,
    DeviceBusyError,
    DeviceNotFoundError,
    DeviceOrder,
    InvalidRequestError,
    InvalidSpecError,
    Provider,
    UnavailableError,
)
from engine.providers.equinix.api import Answer, Api, EquinixSettings, Silence, Transport
from engine.providers.equinix.errors import Action, refusal, released_before, succeeded, unreadable
from engine.providers.equinix.listing import InconsistentListError, read_all
from engine.providers.equinix.spec import (
    TAG_CHARACTERS_MAX,
    UID_TAG_PREFIX,
    Credential,
    MetalSpec,
    hostname_fault,
    is_uuid,
    read_account,
    read_credential,
    read_secret,
    read_spec,
    read_warnings,
)
from engine.providers.equinix.wire import Page, UnreadableError, read_device, read_page, read_provider_id

NAME = "EquinixMetal"
"""The value of `provider` in a MachineClass; the Go provider accepts no other."""


class EquinixMetal(Provider):
    """Equinix Metal at one address. Machines with the same API key share its connections and its pace."""

    def __init__(
        self, *, clock: Clock, settings: EquinixSettings | None = None, transport: Transport | None = None
    ) -> None:
        self._clock = clock
        self._settings = settings or EquinixSettings()
        self._settings.check()
        self._transport = transport
        self._apis: OrderedDict[str, Api] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The value of `provider` in a MachineClass."""
        return NAME

    def bind(self, *, spec: Mapping[str, Any] | None, secret: Mapping[str, bytes]) -> Cloud:
        """Answer the account that a class and its merged secrets describe. No I/O."""
        read, spec_problems = read_spec(spec)
        credential, secret_problems = read_secret(secret)
        if read is None or credential is None:
            raise InvalidSpecError([*spec_problems, *secret_problems])
        return self._cloud(read, credential)

    def bind_for_release(self, *, spec: Mapping[str, Any] | None, secret: Mapping[str, bytes]) -> Cloud:
        """Answer the account alone: project and API key are enough to list and return devices."""
        read, spec_problems = read_account(spec)
        credential, secret_problems = read_credential(secret)
        if read is None or credential is None:
            raise InvalidSpecError([*spec_problems, *secret_problems])
        return self._cloud(read, credential)

    def _cloud(self, read: MetalSpec, credential: Credential) -> Cloud:
        return EquinixCloud(
            spec=read,
            credential=credential,
            account=self._account(credential, read),
            api=self._api(credential),
            settings=self._settings,
        )

    def warnings(self, spec: Mapping[str, Any]) -> Sequence[str]:
        """Answer what is accepted but deserves a word."""
        return read_warnings(spec)

    def hostname_fault(self, name: str) -> str | None:
        """Answer why a Machine of this name cannot be bought, in words; None when it can."""
        return hostname_fault(name)

    def device_id(self, provider_id: str) -> DeviceId | None:
        """Answer the device that a providerID names; None when it names none of this cloud."""
        return read_provider_id(provider_id)

    def close(self) -> None:
        """Let go of all connections."""
        with self._lock:
            apis, self._apis = self._apis, OrderedDict()
        for api in apis.values():
            api.close()

    def _api(self, credential: Credential) -> Api:
        with self._lock:
            api = self._apis.get(credential.token)
            if api is None:
                api = Api(token=credential.token, clock=self._clock, settings=self._settings, transport=self._transport)
                self._apis[credential.token] = api
            self._apis.move_to_end(credential.token)
            if len(self._apis) > self._settings.accounts_max:
                self._apis.popitem(last=False)[1].close()
            return api

    def _account(self, credential: Credential, spec: MetalSpec) -> AccountKey:
        # The digest is shorter than any API key has entropy: it tells accounts apart and gives nothing back.
        parts = (self._settings.base_url.rstrip("/"), credential.token, spec.project_id)
        digest = blake2b("\0".join(parts).encode(), digest_size=8, person=b"machine-engine")
        return AccountKey(f"{NAME}/{spec.project_id}/{digest.hexdigest()}")


class EquinixCloud(Cloud):
    """One project, seen through one MachineClass."""

    def __init__(
        self, *, spec: MetalSpec, credential: Credential, account: AccountKey, api: Api, settings: EquinixSettings
    ) -> None:
        self._spec = spec
        self._credential = credential
        self._account = account
        self._api = api
        self._settings = settings
        self._list_path = f"/projects/{spec.project_id}/devices"

    @property
    def account(self) -> AccountKey:
        """What shares one list with this."""
        return self._account

    @property
    def reservations(self) -> Sequence[str]:
        """The reservations to try in order before on-demand hardware."""
        return self._spec.reservation_ids

    @property
    def reserved_only(self) -> bool:
        """Whether on-demand hardware is out of the question."""
        return self._spec.reserved_only

    @property
    def summary(self) -> Mapping[str, str]:
        """What is bought, for people."""
        return {
            "plan": self._spec.plan,
            "metro": self._spec.metro,
            "operating_system": self._spec.operating_system,
            "billing_cycle": self._spec.billing_cycle,
            "project": self._spec.project_id,
        }

    def order(self, order: DeviceOrder) -> Device:
        """Buy one device. NOT safe to repeat."""
        spec = self._spec
        subject = f"a {spec.plan} in {spec.metro} for Machine {order.hostname} in project {spec.project_id}"
        answer = self._api.call("POST", self._list_path, body=self._order_body(order))
        if not isinstance(answer, Answer) or not succeeded(answer):
            secrets = (*self._credential.secrets, order.userdata)
            raise refusal(answer, Action.ORDER, subject=subject, secrets=secrets)
        return _device(answer, Action.ORDER, subject)

    def inventory(self) -> Sequence[Device]:
        """Answer every device of the project, each once. A device that comes while the pages are read may be missed."""
        limits = {"page_size": self._settings.page_size, "pages_max": self._settings.pages_max}
        try:
            return read_all(self._page, **limits)
        except InconsistentListError as error:
            raise UnavailableError(f"{self._list_subject}: {error}; it is tried again later") from error

    def device(self, device_id: DeviceId) -> Device:
        """Answer one device. Only DeviceNotFoundError proves that it is not there."""
        subject = f"device {device_id}"
        answer = self._call("GET", _path(device_id), Action.LOOK, subject)
        return _device(answer, Action.LOOK, subject)

    def release(self, device_id: DeviceId) -> None:
        """Ask for the device to be taken back. Safe to repeat.

        The API may answer 404 to a second request while the device is still being wiped; so a 404 is checked.
        """
        answer = self._api.call("DELETE", _path(device_id))
        if succeeded(answer) or released_before(answer):
            return
        error = refusal(answer, Action.RELEASE, subject=f"device {device_id}", secrets=self._credential.secrets)
        if not isinstance(error, DeviceNotFoundError):
            raise error
        if self.device(device_id).state not in {DeviceState.RELEASING, DeviceState.GONE}:
            raise DeviceBusyError(f"{error}; but the device can still be seen; it is tried again later")

    def owner(self, device: Device) -> MachineUid | None:
        """Answer the Machine that the device's tag names.

        Several clusters may share a project, so the device must also carry this class's cluster tag. A device with two
        owners has none: nothing is done to it by itself.
        """
        uids = _uids(device)
        if len(uids) != 1 or not self._spec.cluster_tags <= set(device.tags):
            return None
        return MachineUid(uids.pop())

    def resembles(self, device: Device, *, hostname: str) -> bool:
        """Answer whether an untagged device has this name and every tag of the class."""
        return not _uids(device) and device.hostname == hostname and set(self._spec.tags) <= set(device.tags)

    @property
    def _list_subject(self) -> str:
        return f"project {self._spec.project_id}"

    def _order_body(self, order: DeviceOrder) -> dict[str, Any]:
        """Answer the body; raises InvalidRequestError when the Machine's UID does not fit into a tag."""
        uid_tag = f"{UID_TAG_PREFIX}{order.uid}"
        if len(uid_tag) > TAG_CHARACTERS_MAX or not order.uid:
            raise InvalidRequestError(f"the UID of Machine {order.hostname} does not fit into a tag")
        optional = {
            "ipxe_script_url": self._spec.ipxe_script_url,
            "hardware_reservation_id": order.reservation_id,
            # Without any, the API installs all keys of the project and its members, as the Go provider has it.
            "project_ssh_keys": list(self._spec.ssh_keys),
        }
        return {
            "hostname": order.hostname,
            "plan": self._spec.plan,
            "metro": self._spec.metro,
            "operating_system": self._spec.operating_system,
            "billing_cycle": self._spec.billing_cycle,
            "userdata": order.userdata,
            "tags": [*self._spec.tags, uid_tag],
            **{name: value for name, value in optional.items() if value},
        }

    def _page(self, number: int) -> Page:
        query = {"page": str(number), "per_page": str(self._settings.page_size)}
        try:
            answer = self._call("GET", self._list_path, Action.LIST, self._list_subject, query)
            return read_page(answer.body)
        except UnreadableError as error:
            raise unreadable(answer, Action.LIST, subject=self._list_subject, what=str(error)) from None
        except InvalidRequestError as error:
            if number == 1:
                raise
            raise UnavailableError(f"page {number}: {error}") from None

    def _call(
        self, method: str, path: str, action: Action, subject: str, query: Mapping[str, str] | None = None
    ) -> Answer:
        answer: Answer | Silence = self._api.call(method, path, query=query)
        if isinstance(answer, Silence) or not succeeded(answer):
            raise refusal(answer, action, subject=subject, secrets=self._credential.secrets)
        return answer


def _device(answer: Answer, action: Action, subject: str) -> Device:
    try:
        return read_device(answer.body)
    except UnreadableError as error:
        raise unreadable(answer, action, subject=subject, what=str(error)) from None


def _path(device_id: DeviceId) -> str:
    """Answer the path of a device; an empty or odd id would ask for something else, such as all devices."""
    if not is_uuid(device_id):
        raise InvalidRequestError(f"{device_id[:64]!r} is no id of a device; correct the Machine's providerID")
    return f"/devices/{device_id}"


def _uids(device: Device) -> set[str]:
    return {tag.removeprefix(UID_TAG_PREFIX) for tag in device.tags if tag.startswith(UID_TAG_PREFIX)} - {""}
