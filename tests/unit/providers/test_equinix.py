"""Equinix Metal behind the port, where the contract does not look: bodies, pages, ownership and accounts."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.domain.device import Device, DeviceState
from engine.domain.ids import DeviceId, MachineUid
from engine.ports.provider import (
    Cloud,
    DeviceBusyError,
    DeviceOrder,
    InvalidRequestError,
    OutcomeUnknownError,
    UnavailableError,
)
from engine.providers.equinix.api import EquinixSettings
from engine.providers.equinix.provider import EquinixMetal
from engine.providers.equinix.spec import UID_TAG_PREFIX
from engine.simulators.clock import VirtualClock
from engine.simulators.http import Handler, HttpRequest, HttpResponse
from engine.simulators.metal import API_KEY, PROJECT_ID, MetalSettings, MetalSimulator, SimulatorAdapter
from engine.simulators.seed import Seed

ID = DeviceId("6f0a3c1e-4b52-4d0a-9a57-1c9f2f7c8e11")
KEY = "5f1b0a52-3b2b-4a77-8d6b-3f3f3f3f3f3f"
TAGS = ("kubernetes.io/cluster/a", "kubernetes.io/role/node")
SPEC: dict[str, Any] = {
    "projectID": PROJECT_ID,
    "metro": "da",
    "machineType": "c3.small.x86",
    "billingCycle": "hourly",
    "OS": "ubuntu_22_04",
    "tags": list(TAGS),
}
SECRET = {"apiToken": API_KEY.encode(), "userData": b"#cloud-config"}
ORDER = DeviceOrder(uid=MachineUid("u-1"), hostname="worker-1", userdata="#cloud-config\n")


def cloud_before(handle: Handler, *, page_size: int = 100, pages_max: int = 500, **changes: Any) -> Cloud:
    """Answer the adapter in front of a handler, in process."""
    clock = VirtualClock()
    settings = EquinixSettings(page_size=page_size, pages_max=pages_max)
    provider = EquinixMetal(clock=clock, settings=settings, transport=SimulatorAdapter(handle, clock=clock))
    return provider.bind(spec={**SPEC, **changes}, secret=SECRET)


def says(status: int, value: Any) -> HttpResponse:
    headers = {"Content-Type": "application/json", "X-Request-Id": "r-1"}
    return HttpResponse(status=status, headers=headers, body=json.dumps(value).encode())


def device(*tags: str, hostname: str = "worker-1") -> Device:
    return Device(
        device_id=ID,
        provider_id=f"equinixmetal://da/{ID}",
        hostname=hostname,
        state=DeviceState.ACTIVE,
        state_text="active",
        tags=tags,
    )


def order_body(order: DeviceOrder = ORDER, **changes: Any) -> dict[str, Any]:
    """Answer the body of the order's request."""
    bodies: list[dict[str, Any]] = []

    def handle(request: HttpRequest) -> HttpResponse:
        bodies.append(json.loads(request.body))
        return says(201, {"id": ID, "state": "queued"})

    cloud_before(handle, **changes).order(order)
    return bodies[0]


def test_order_says_what_the_class_says() -> None:
    """A plain order holds the class's choices, the user data and the uid tag, and nothing else."""
    assert order_body() == {
        "hostname": "worker-1",
        "plan": "c3.small.x86",
        "metro": "da",
        "operating_system": "ubuntu_22_04",
        "billing_cycle": "hourly",
        "userdata": "#cloud-config\n",
        "tags": [*TAGS, f"{UID_TAG_PREFIX}u-1"],
    }


def test_order_with_everything() -> None:
    """SSH keys, a reservation and an iPXE script are sent when they are given."""
    body = order_body(
        replace(ORDER, reservation_id=ID),
        sshKeys=[KEY],
        ipxeScriptUrl="https://boot.example/script",
        reservationIDs=[ID],
    )

    assert body["project_ssh_keys"] == [KEY]
    assert body["hardware_reservation_id"] == ID
    assert body["operating_system"] == "custom_ipxe"
    assert body["ipxe_script_url"] == "https://boot.example/script"


@pytest.mark.parametrize("uid", ["", "x" * 60])
def test_order_whose_uid_fits_no_tag_is_not_sent(uid: str) -> None:
    """Without a tag that names the Machine nothing is bought."""

    def handle(_: HttpRequest) -> HttpResponse:
        pytest.fail("a request was sent")

    with pytest.raises(InvalidRequestError):
        cloud_before(handle).order(replace(ORDER, uid=MachineUid(uid)))


@pytest.mark.parametrize("answer", [says(201, {}), says(201, []), HttpResponse(status=200, body=b"<html>welcome")])
def test_success_that_cannot_be_read_is_an_unknown_outcome(answer: HttpResponse) -> None:
    """A success without a device in it may have bought one; a look that ends so is to be repeated."""
    cloud = cloud_before(lambda _: answer)

    with pytest.raises(OutcomeUnknownError):
        cloud.order(ORDER)
    with pytest.raises(UnavailableError):
        cloud.device(ID)
    with pytest.raises(UnavailableError):
        cloud.inventory()


@pytest.mark.parametrize("device_id", ["", "../projects", "not-a-uuid", f"{ID}/actions"])
def test_odd_device_id_is_never_sent(device_id: str) -> None:
    """An id that is no UUID would ask for something else; it is refused before anything is sent."""

    def handle(_: HttpRequest) -> HttpResponse:
        pytest.fail("a request was sent")

    cloud = cloud_before(handle)

    for call in (cloud.device, cloud.release):
        with pytest.raises(InvalidRequestError, match="no id of a device"):
            call(DeviceId(device_id))


def test_not_found_for_a_release_is_checked() -> None:
    """A 404 to a release while the device can still be seen as active proves nothing."""

    def handle(request: HttpRequest) -> HttpResponse:
        if request.method == "DELETE":
            return says(404, {"error": "Not found"})
        return says(200, {"id": ID, "state": "active"})

    with pytest.raises(DeviceBusyError, match="can still be seen"):
        cloud_before(handle).release(ID)


@pytest.mark.parametrize("status", [404, 422])
def test_second_release_is_quiet_whatever_the_api_answers(status: int) -> None:
    """A release of a device that is being wiped is accepted, whether the API says 404 or 422."""
    clock = VirtualClock()
    simulator = MetalSimulator(clock=clock, seed=Seed(1), settings=MetalSettings(second_delete_status=status))
    cloud = cloud_before(simulator.handle)
    bought = cloud.order(ORDER)

    for _ in range(3):
        cloud.release(bought.device_id)

    assert cloud.device(bought.device_id).state is DeviceState.RELEASING


def fleet(size: int) -> tuple[MetalSimulator, list[DeviceId]]:
    """Answer a cloud with so many devices, the oldest first."""
    simulator = MetalSimulator(clock=VirtualClock(), seed=Seed(1))
    cloud = cloud_before(simulator.handle, page_size=100)
    return simulator, [cloud.order(replace(ORDER, uid=MachineUid(f"u-{n}"))).device_id for n in range(size)]


def between_pages(simulator: MetalSimulator, act: Callable[[int], None]) -> Handler:
    """Answer a handler that acts after each page, with the number of pages that were answered."""
    pages = 0

    def handle(request: HttpRequest) -> HttpResponse:
        nonlocal pages
        response = simulator.handle(request)
        if request.method == "GET":
            pages += 1
            act(pages)
        return response

    return handle


def vanish(simulator: MetalSimulator, device_id: DeviceId) -> None:
    """Let a device be gone at once."""
    with simulator._lock:
        simulator._fleet._end(simulator._fleet._living[device_id])


def test_device_that_goes_away_between_pages_hides_no_other() -> None:
    """When rows move up over the edge of a page that was read already, none of them is missed."""
    simulator, ids = fleet(23)
    newest_first = ids[::-1]

    def act(pages: int) -> None:
        if pages == 1:
            vanish(simulator, newest_first[0])
            vanish(simulator, newest_first[1])

    found = {seen.device_id for seen in cloud_before(between_pages(simulator, act), page_size=5).inventory()}

    assert found >= set(newest_first[2:])


def test_most_devices_going_away_between_pages_still_ends() -> None:
    """When so many go away that the next page does not exist any more, the rest is found."""
    simulator, ids = fleet(23)

    def act(pages: int) -> None:
        if pages == 2:
            for device_id in ids[3:]:
                vanish(simulator, device_id)

    found = {seen.device_id for seen in cloud_before(between_pages(simulator, act), page_size=5).inventory()}

    assert found >= set(ids[:3])


def test_device_that_comes_between_pages_is_no_double() -> None:
    """A new device moves rows onto the next page; each is answered once."""
    simulator, ids = fleet(12)
    orders = cloud_before(simulator.handle)

    found = cloud_before(between_pages(simulator, lambda _: _order(orders)), page_size=5).inventory()

    assert {seen.device_id for seen in found} >= set(ids)
    assert len({seen.device_id for seen in found}) == len(found)


def _order(cloud: Cloud) -> None:
    cloud.order(ORDER)


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"total": 5, "current_page": 1, "last_page": 1}, "page 1 lacks rows"),
        ({"total": 1, "current_page": 7, "last_page": 7}, "page 1 was asked for and came as page 7"),
        ({"total": 1, "current_page": 1, "last_page": 2}, "page 1 contradicts its own total of 1"),
        ({"total": 2, "current_page": 1, "last_page": 1}, "page 1 lacks rows"),
        ({"total": 1}, "no page of devices"),
        (None, "no page of devices"),
    ],
)
def test_inconsistent_list_is_refused(meta: dict[str, Any] | None, words: str) -> None:
    """A list that contradicts itself or never ends is an error, never a shorter list."""
    page = {"devices": [{"id": ID}]} | ({"meta": meta} if meta else {})

    with pytest.raises(UnavailableError, match=words):
        cloud_before(lambda _: says(200, page)).inventory()


def test_endless_list_is_refused() -> None:
    """A list of more pages than we want to read is an error after that many reads."""
    simulator, _ = fleet(23)

    with pytest.raises(UnavailableError, match="after 3 pages the list has no end"):
        cloud_before(simulator.handle, page_size=5, pages_max=3).inventory()


def test_list_asks_for_full_pages() -> None:
    """The list is asked for with our page size: the API's own is ten."""
    simulator, _ = fleet(3)
    queries: list[dict[str, list[str]]] = []

    def handle(request: HttpRequest) -> HttpResponse:
        queries.append(dict(request.query))
        return simulator.handle(request)

    cloud_before(handle).inventory()

    assert queries == [{"page": ["1"], "per_page": ["100"]}]


def test_owner_is_named_by_exactly_one_tag() -> None:
    """A device names its Machine by one uid tag; with two different ones it has no owner."""
    cloud = cloud_before(lambda _: says(200, {}))

    assert cloud.owner(device(*TAGS, f"{UID_TAG_PREFIX}u-1")) == "u-1"
    assert cloud.owner(device(*TAGS, f"{UID_TAG_PREFIX}u-1", f"{UID_TAG_PREFIX}u-1")) == "u-1"
    assert cloud.owner(device(*TAGS)) is None
    assert cloud.owner(device(*TAGS, UID_TAG_PREFIX)) is None
    assert cloud.owner(device(*TAGS, f"{UID_TAG_PREFIX}u-1", f"{UID_TAG_PREFIX}u-2")) is None
    assert cloud.owner(device(f"{UID_TAG_PREFIX}u-1")) is None


def test_device_of_the_go_controller_is_known_by_name_and_tags() -> None:
    """An untagged device resembles a Machine when the name is equal and every tag of the class is on it."""
    cloud = cloud_before(lambda _: says(200, {}))

    assert cloud.resembles(device(*TAGS, "more"), hostname="worker-1")
    assert not cloud.resembles(device(*TAGS), hostname="worker-2")
    assert not cloud.resembles(device(TAGS[0]), hostname="worker-1")
    assert not cloud.resembles(device(*TAGS, f"{UID_TAG_PREFIX}u-1"), hostname="worker-1")


def test_account_depends_on_address_token_and_project_and_shows_no_token() -> None:
    """The account's key is the same for the same three parts, another one for others, and holds no secret."""
    clock = VirtualClock()

    def account(base_url: str = "https://a.example", key: bytes = b"t-1", project: str = PROJECT_ID) -> str:
        provider = EquinixMetal(clock=clock, settings=EquinixSettings(base_url=base_url))
        spec = {**SPEC, "projectID": project}
        return provider.bind(spec=spec, secret={**SECRET, "apiToken": key}).account

    assert account() == account(base_url="https://a.example/")
    assert len({account(), account("https://b.example"), account(key=b"t-2"), account(project=KEY)}) == 4
    assert "t-1" not in account()


def test_connections_of_few_keys_are_kept() -> None:
    """The same key gets the same connections; the key unused for longest loses its own when there are too many."""
    provider = EquinixMetal(clock=VirtualClock(), settings=EquinixSettings(accounts_max=2))

    def bind(token: str) -> Any:
        cloud: Any = provider.bind(spec=SPEC, secret={**SECRET, "apiToken": token.encode()})
        return cloud._api

    first = bind("t-1")
    bind("t-2")
    assert bind("t-1") is first
    bind("t-3")
    assert bind("t-1") is first
    bind("t-2")
    bind("t-3")
    assert bind("t-1") is not first
    provider.close()
