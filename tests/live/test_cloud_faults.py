"""The cloud fails in every way that is known: one controller lives through it all, and the books balance at the end."""

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.metal import FaultKind, FaultRule, Operation
from engine.simulators.metal.orders import BAD_TOKEN
from tests.acceptance.programs import ControllerProcess, eventually
from tests.acceptance.stage import UID_TAG
from tests.live.stage import NEXT_TOKEN, SOAK, TOKEN, LiveStage, stories_of

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(180)]

OUTAGE_SECONDS = 6.0 if SOAK else 3.5  # longer than the visibility window of three seconds and several polls
OUTAGES = (
    FaultKind.UNAUTHORIZED,
    FaultKind.FORBIDDEN,
    FaultKind.THROTTLED,
    FaultKind.BAD_GATEWAY,
    FaultKind.SLOW,
)
DROPS = 10_000 if SOAK else 50  # for one answer: in the soak it takes longer than anybody waits
HIDDEN_SECONDS = 2.0  # A new device is missing in lists for so long.
NUMBERS = itertools.count(1)


@pytest.fixture(autouse=True, scope="module")
def books(scene: LiveStage, controller: ControllerProcess) -> Iterator[None]:
    """When all faults of this file are over, everything is deleted and the books balance."""
    yield
    scene.balance(controller)


@pytest.fixture(autouse=True)
def honest(scene: LiveStage, books: None) -> Iterator[None]:
    """After each test the cloud is well again."""
    yield
    scene.be_honest()


def some(count: int = 3) -> list[str]:
    """Names that no Machine had yet."""
    return [f"cloud-{next(NUMBERS)}" for _ in range(count)]


def running(scene: LiveStage, count: int = 3) -> list[str]:
    """Machines that are Running."""
    names = some(count)
    scene.make_machines(*names)
    scene.await_phase("Running", *names)
    return names


def bought_once(scene: LiveStage, names: list[str]) -> bool:
    """Each name was bought for exactly once."""
    return [len(scene.devices_of(name)) for name in names] == [1] * len(names)


@pytest.mark.parametrize("kind", [FaultKind.LOST_AFTER, FaultKind.OH_SNAP_AFTER])
def test_f01_order_without_an_answer_is_found_again(scene: LiveStage, kind: FaultKind) -> None:
    """A server that was bought without an answer is found by its tag, and no second one is bought."""
    names = some()
    scene.metal.faults.add(FaultRule(kind=kind, operation=Operation.CREATE, left=len(names)))
    scene.make_machines(*names)
    scene.await_phase("Running", *names)
    assert bought_once(scene, names)


def test_f02_order_without_an_answer_that_no_list_shows_yet_is_waited_for(scene: LiveStage) -> None:
    """While a list may not show a new server yet, nothing is bought again."""
    names = some()
    scene.metal.faults.add(
        FaultRule(kind=FaultKind.LOST_AFTER, operation=Operation.CREATE, left=len(names)),
        FaultRule(kind=FaultKind.STALE_LIST, seconds=HIDDEN_SECONDS),
    )
    scene.make_machines(*names)
    scene.await_phase("Running", *names)
    assert bought_once(scene, names)


def test_f03_list_that_lies_deletes_and_fails_nobody(scene: LiveStage) -> None:
    """Machines stay Running and keep their servers while lists are empty, halved or broken, and after it."""
    names = running(scene)
    for kind in (FaultKind.LIST_EMPTY, FaultKind.LIST_TRUNCATED, FaultKind.LIST_PAGE_ERROR):
        scene.metal.faults.replace([FaultRule(kind=kind)])
        scene.see_lists(3)
        assert {scene.phases()[name] for name in names} == {"Running"}, kind
        scene.be_honest()
        scene.see_lists(2)
        assert {scene.phases()[name] for name in names} == {"Running"}, kind
    assert bought_once(scene, names)


def test_f04_cloud_that_refuses_everything_for_a_while_costs_only_time(scene: LiveStage) -> None:
    """Machines that come, stay and go during outages of every kind in a row arrive after them, and none fails."""
    stays, *going = running(scene, 1 + len(OUTAGES))
    coming: list[str] = []
    for kind, goes in zip(OUTAGES, going, strict=True):
        scene.metal.faults.replace([FaultRule(kind=kind, seconds=1.0)])
        coming += some(1)
        scene.make_machines(coming[-1])
        scene.delete_machines(goes)
        outlast(scene, lambda: scene.phases()[stays] == "Running" and "Failed" not in scene.phases().values())
        if kind is not FaultKind.SLOW:  # Slow answers are answers: the deletion may have ended.
            assert scene.device_of(goes).id, kind
            assert goes in scene.machines(), kind
    scene.be_honest()
    scene.await_phase("Running", stays, *coming)
    scene.await_gone(*going)
    assert bought_once(scene, [stays, *going, *coming])


def test_f04_cut_held_and_dripping_connections_cost_only_time(scene: LiveStage) -> None:
    """Connections to the cloud that are cut, fall silent or drip delay Machines and fail none."""
    (stays, goes), coming = running(scene, 2), some(1)
    staying, going = [stays], [goes]
    scene.cloud.hold(later_ones=True)
    scene.make_machines(*coming)
    scene.delete_machines(*going)
    outlast(scene, lambda: scene.phases()[staying[0]] == "Running")
    scene.cloud.cut()
    scene.cloud.release()
    drips = itertools.count()
    scene.lie(lambda request: dripping(scene, request) if next(drips) < 3 else None)
    outlast(scene, lambda: scene.phases()[staying[0]] == "Running")
    scene.be_honest()
    scene.await_phase("Running", *coming, *staying, seconds_max=90)
    scene.await_gone(*going, seconds_max=90)
    assert bought_once(scene, [*staying, *going, *coming])


def test_f05_secret_that_is_rotated_in_mid_flight_is_used_at_once(scene: LiveStage) -> None:
    """A Machine that is on its way goes on with the new key, and so does one that leaves, when the old key is dead."""
    going, coming = running(scene, 1), some(1)
    scene.make_machines(*coming)
    eventually(lambda: scene.devices_of(coming[0]))
    scene.lie(lambda request: denied() if request.headers.get("x-auth-token") == TOKEN else None)
    scene.delete_machines(*going)
    scene.declare(token=NEXT_TOKEN)
    scene.await_phase("Running", *coming)
    scene.await_gone(*going)
    assert bought_once(scene, [*going, *coming])
    scene.be_honest()
    scene.declare()


def test_f05_secret_that_is_torn_away_holds_deletions_back_until_it_is_there_again(scene: LiveStage) -> None:
    """Without its Secret a deletion says what is missing and keeps the finalizer; with the Secret it goes on."""
    names = running(scene, 1)
    scene.user.delete("secrets", "equinix-metal")
    eventually(lambda: strip(scene, "secrets", "equinix-metal"))
    scene.delete_machines(*names)
    scene.await_message(names[0], "Secret", "equinix-metal")
    assert scene.machines()[names[0]]["metadata"]["finalizers"]
    assert scene.device_of(names[0]).id
    scene.declare()
    scene.await_gone(*names)


def test_f14_return_that_is_lost_is_asked_for_again(scene: LiveStage) -> None:
    """A return that was lost, or answered to nobody, is asked for until the server is gone."""
    names = running(scene, 2)
    scene.metal.faults.add(
        FaultRule(kind=FaultKind.LOST_BEFORE, operation=Operation.DELETE, left=1),
        FaultRule(kind=FaultKind.LOST_AFTER, operation=Operation.DELETE, left=1),
    )
    scene.delete_machines(*names)
    scene.await_gone(*names)
    assert not [each for each in scene.metal.billing() if each.hostname in names]


def test_f14_return_that_was_accepted_in_vain_keeps_the_finalizer(scene: LiveStage) -> None:
    """While the cloud still shows the server whose return it accepted, the Machine stays; it goes with the server."""
    (name,) = running(scene, 1)
    scene.lie(lambda request: HttpResponse(status=204) if request.method == "DELETE" else None)
    scene.delete_machines(name)
    scene.see_lists(3)
    assert scene.machines()[name]["metadata"]["finalizers"]
    assert scene.phases()[name] == "Terminating"
    scene.be_honest()
    scene.see_lists(3)
    assert name in scene.machines()
    scene.take_away(scene.device_of(name))
    scene.await_gone(name)


@pytest.mark.parametrize("kind", [FaultKind.FAIL_PROVISIONING, FaultKind.FAIL_AND_STAY])
def test_f15_server_that_fails_fails_its_machine_once(
    scene: LiveStage, controller: ControllerProcess, kind: FaultKind
) -> None:
    """A server that vanishes or stays failed makes its Machine Failed, in words, and no further one is bought."""
    (name,) = some(1)
    scene.metal.faults.add(FaultRule(kind=kind, operation=Operation.CREATE, left=1))
    scene.metal.faults.add(FaultRule(kind=kind, left=1))
    scene.make_machines(name)
    scene.await_phase("Failed", name)
    assert scene.message(name)
    scene.see_lists(3)
    assert bought_once(scene, [name])
    scene.be_honest()
    scene.delete_machines(name)
    scene.await_gone(name)
    assert stories_of(controller.database)["device-ordered"]


def test_f18_manual_acts_at_the_cloud_are_noticed_and_never_doubled(scene: LiveStage) -> None:
    """A server taken away fails its Machine; one renamed, untagged or powered off is kept and given back later."""
    taken, renamed, untagged, off = names = running(scene, 4)
    scene.take_away(scene.device_of(taken))
    ids = {name: scene.device_of(name).id for name in (renamed, untagged, off)}
    assert scene.operate("PUT", f"/devices/{ids[renamed]}", b'{"hostname":"somebody-else"}').status == 200
    assert scene.operate("PUT", f"/devices/{ids[untagged]}", b'{"tags":[]}').status == 200
    assert scene.operate("POST", f"/devices/{ids[off]}/actions", b'{"type":"power_off"}').status == 202
    scene.await_phase("Failed", taken)
    scene.see_lists(3)
    assert len(scene.devices_of(taken)) == 1
    assert {scene.phases()[name] for name in (renamed, untagged, off)} == {"Running"}
    bought = {each.id for each in scene.metal.history()}
    scene.user.delete("machines", untagged)  # Its server carries no uid any more that the books could look up.
    scene._by_hand.add(ids[untagged])
    scene.delete_machines(taken, renamed, off)
    scene.await_gone(*names)
    assert not {each.id for each in scene.metal.billing()} & set(ids.values())
    assert {each.id for each in scene.metal.history()} == bought


def test_f18_servers_of_others_are_never_touched(scene: LiveStage) -> None:
    """Servers of another cluster, of a Machine that nobody knows, and of nobody stay as they are."""
    cluster, role = "kubernetes.io/cluster/demo", "kubernetes.io/role/node"
    kept = {
        scene.buy_by_hand("stranger", "kubernetes.io/cluster/other", role),
        scene.buy_by_hand("unknown", cluster, role, f"{UID_TAG}00000000-0000-4000-8000-000000000000"),
        scene.buy_by_hand("plain-server"),
    }
    names = running(scene, 1)
    scene.delete_machines(*names)
    scene.await_gone(*names)
    scene.see_lists(3)
    assert kept <= {each.id for each in scene.metal.billing()}


def test_f23_secret_that_the_cloud_echoes_in_an_error_is_told_to_nobody(scene: LiveStage) -> None:
    """A cloud that repeats the key in its errors does not bring it into a log, an object or a record."""
    (name,) = some(1)
    body = f'{{"errors":["the key {TOKEN} is not good enough"]}}'.encode()
    refused = HttpResponse(status=422, headers={"Content-Type": "application/json", "X-Request-Id": "x"}, body=body)
    scene.lie(lambda request: refused if request.method == "POST" else None)
    scene.make_machines(name)
    scene.await_message(name, "tried to order", "InvalidArgument")
    assert TOKEN not in scene.message(name)
    scene.be_honest()
    scene.delete_machines(name)
    scene.await_gone(name)


def outlast(scene: LiveStage, fact: Callable[[], bool]) -> None:
    """The fact holds all the time that an outage lasts."""
    ends = time.monotonic() + OUTAGE_SECONDS
    while time.monotonic() < ends:
        assert fact(), scene.phases()
        time.sleep(0.2)  # Not a wait for a fact: the fact must hold all the time.


def denied() -> HttpResponse:
    """The cloud's word to a key that was revoked."""
    headers = {"Content-Type": "application/json", "X-Request-Id": "x"}
    return HttpResponse(status=401, headers=headers, body=f'{{"error":"{BAD_TOKEN}"}}'.encode())


def dripping(scene: LiveStage, request: HttpRequest) -> HttpResponse | None:
    """The true answer to a question, drop by drop; whatever changes something is left alone."""
    if request.method != "GET":
        return None
    answer = scene.metal.handle(request)
    assert isinstance(answer.body, bytes)
    return HttpResponse(status=answer.status, headers=answer.headers, body=drops(answer.body), delay=timedelta(0))


def drops(body: bytes) -> Iterator[bytes]:
    """The bytes, a few at a time and slowly."""
    size = 1 + len(body) // DROPS
    for start in range(0, len(body), size):
        yield body[start : start + size]
        time.sleep(0.05)  # Not a wait for a fact: the slowness is the point.


def strip(scene: LiveStage, resource: str, name: str) -> bool:
    """The object's finalizers are off; answers whether it is gone."""
    if scene.user.exists(resource, name):
        scene.user.patch(resource, name, {"metadata": {"finalizers": None}})
    return not scene.user.exists(resource, name)
