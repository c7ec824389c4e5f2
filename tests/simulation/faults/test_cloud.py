"""F3, F4, F5 and F14: lists that lie, outages, keys that change, and returns that do not end."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.domain.states import State
from engine.domain.wanted import MACHINE_FINALIZER, SecretObject
from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.metal import FaultKind, FaultRule, MetalSimulator, Operation
from engine.simulators.seed import Seed
from engine.simulators.world import CLASS, OTHER_TOKEN, QUICK_METAL, SECRET, TOKEN, World, WorldSettings
from tests.model.model_store import ModelStore
from tests.simulation.faults.stage import (
    CREATING,
    HOUR,
    LEAVING,
    MINUTE,
    PLACES,
    SLOW,
    at,
    ended,
    orders,
    record_of,
    releases,
)
from tests.simulation.lives import NAME, RESERVED

LIES = (FaultKind.LIST_EMPTY, FaultKind.LIST_TRUNCATED, FaultKind.LIST_PAGE_ERROR)
OUTAGES = {
    "401": FaultRule(kind=FaultKind.UNAUTHORIZED),
    "403": FaultRule(kind=FaultKind.FORBIDDEN),
    "429": FaultRule(kind=FaultKind.THROTTLED),
    "500": FaultRule(kind=FaultKind.OH_SNAP_BEFORE),
    "502": FaultRule(kind=FaultKind.BAD_GATEWAY),
    "unreachable": FaultRule(kind=FaultKind.LOST_BEFORE),
    "slow-loris": FaultRule(kind=FaultKind.LATENCY, seconds=100.0),
}
Handler = Callable[[MetalSimulator, HttpRequest], HttpResponse]


def among_others(place: str) -> World:
    """A world with two rows on a page, three machines that serve, and one at this place."""
    world = World(Seed(f"cloud/{place}"), ModelStore(), replace(SLOW, page_size=2))
    for name in ("other-1", "other-2", "other-3"):
        world.create(name)
    world.settle()
    PLACES[place](world)
    return world


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("place", PLACES)
def test_f03_a_list_that_lies_deletes_and_fails_nothing(place: str, lie: FaultKind) -> None:
    """A list that is empty, cut in half or cut short costs no device and no machine, wherever one stands."""
    world = among_others(place)
    before = record_of(world).state
    returned = releases(world)
    world.cloud.faults.add(FaultRule(kind=lie))
    # Who is in doubt about an order is promised no more than a list that is true within the visibility window.
    world.run_for(world.settings.policy.visibility_window * 0.7 if place == "order" else 5 * MINUTE)
    assert {record_of(world, f"other-{number}").state for number in (1, 2, 3)} == {State.ACTIVE}
    assert before is State.FAILED or record_of(world).state is not State.FAILED
    assert place in LEAVING or releases(world) == returned
    ended(world)
    assert len(world.cloud.history()) == 4


def _first_page_twice(simulator: MetalSimulator, request: HttpRequest, answer: Handler) -> HttpResponse:
    if request.query.get("page") == ["2"]:
        request = replace(request, query={**request.query, "page": ["1"]})
    return answer(simulator, request)


def _no_rows(simulator: MetalSimulator, request: HttpRequest, answer: Handler) -> HttpResponse:
    told = answer(simulator, request)
    return replace(told, body=b"[]") if request.method == "GET" and "page" in request.query else told


@pytest.mark.parametrize("lie", [_first_page_twice, _no_rows], ids=["duplicate-page", "bare-brackets"])
def test_f03_a_list_that_contradicts_itself_is_no_list(
    lie: Callable[..., HttpResponse], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that comes twice, and a 200 that says `[]`, are failures of the list: nobody is deleted or failed."""
    world = among_others("healthy")
    answer, lying = MetalSimulator.handle, [True]
    monkeypatch.setattr(
        MetalSimulator, "handle", lambda self, request: lie(self, request, answer) if lying else answer(self, request)
    )
    world.crash()
    world.run_for(5 * MINUTE)
    assert set(world.places().values()) == {"Active/healthy"}
    assert releases(world) == 0
    lying.clear()
    ended(world)


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("place", PLACES)
def test_f04_an_outage_fails_and_frees_nobody(place: str, outage: str) -> None:
    """While nothing can be asked of the cloud no machine fails, none loses its finalizer, and the cloud is not stormed.

    It lasts an hour, and for a machine in creation half of the creation timeout.
    """
    world = at(place)
    before, begun = record_of(world).state, _requests(world)
    span = world.settings.policy.creation_timeout / 2 if place in CREATING else HOUR
    world.cloud.faults.add(OUTAGES[outage])
    world.run_for(span)
    assert before is State.FAILED or record_of(world).state is not State.FAILED
    held = world.cluster.user.machine(NAME)
    assert held
    assert MACHINE_FINALIZER in held.finalizers
    assert _requests(world) - begun <= span.total_seconds() / 2
    ended(world)
    assert len(world.cloud.history()) == 1


def _requests(world: World) -> int:
    return sum(" cloud." in line for line in world.trace)


@pytest.mark.parametrize("place", PLACES)
def test_f05_a_key_that_is_rotated_at_any_place_goes_on(place: str) -> None:
    """Work in flight goes on with the new key; the old one may be revoked at once."""
    world = at(place)
    world.rotate(OTHER_TOKEN)
    if place not in CREATING:
        world.delete(NAME)
    world.run_for(MINUTE)
    assert len(world.cloud.history()) <= 1
    ended(world)


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed"])
@pytest.mark.parametrize("place", PLACES)
def test_f05_a_secret_that_vanishes_drops_no_finalizer(place: str, *, killed: bool) -> None:
    """With its Secret gone by force, a machine that is deleted keeps its finalizer, and says what is missing."""
    world = at(place)
    secret = world.cluster.user._shelf.true(SecretObject, SECRET)
    assert secret
    world.cluster.user._shelf.remove(secret)
    world.delete(NAME)
    if killed:
        world.crash()
    world.run_for(5 * MINUTE)
    held = world.cluster.user.machine(NAME)
    if world.cloud.devices():
        assert held
        assert MACHINE_FINALIZER in held.finalizers
        fault = record_of(world).problem
        assert place == "forget-node" or (fault and SECRET in fault.message)
    ended(world)


@pytest.mark.parametrize("place", PLACES)
def test_f05_a_class_that_is_broken_at_any_place_returns_its_devices(place: str) -> None:
    """A class that becomes too broken to buy with still returns what was bought."""
    world = at(place)
    world.reclass(machineType="", OS="")
    world.cloud.faults.replace()
    world.cluster.refusing = None
    world.delete(NAME)
    world.settle()
    assert not world.cloud.devices()


@pytest.mark.parametrize("again", [404, 422])
@pytest.mark.parametrize(
    "kind", [FaultKind.LOST_BEFORE, FaultKind.LOST_AFTER, FaultKind.OH_SNAP_BEFORE, FaultKind.OH_SNAP_AFTER]
)
def test_f14_a_return_whose_answer_is_lost_is_asked_for_again(kind: FaultKind, again: int) -> None:
    """Whether it happened or not, and whatever a second request is told, the finalizer goes after the device."""
    settings = replace(SLOW, metal=replace(SLOW.metal, second_delete_status=again))
    world = at("healthy", settings)
    world.cloud.faults.add(FaultRule(kind=kind, left=3, operation=Operation.DELETE))
    world.delete(NAME)
    world.settle()
    assert not world.cloud.devices()


def test_f14_a_device_that_takes_an_hour_to_go_is_not_hammered() -> None:
    """A return that is on its way is asked for once, however long it takes, and the finalizer stays until its end."""
    world = at("healthy", WorldSettings(metal=replace(QUICK_METAL, deprovision_for=HOUR)))
    world.delete(NAME)
    world.run_for(50 * MINUTE)
    assert world.cluster.user.machine(NAME)
    assert releases(world) <= 2
    world.settle()


def test_f14_a_return_that_is_accepted_and_forgotten_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud that says 204 and does nothing keeps the finalizer on; the return is repeated, slowly, until it works."""
    world = at("healthy")
    answer, deaf = MetalSimulator.handle, [True]

    def forget(self: MetalSimulator, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=204) if deaf and request.method == "DELETE" else answer(self, request)

    monkeypatch.setattr(MetalSimulator, "handle", forget)
    world.crash()
    world.delete(NAME)
    world.run_for(10 * MINUTE)
    assert world.cluster.user.machine(NAME)
    assert 3 <= releases(world) <= 10 * MINUTE / world.settings.policy.release_repeat + 2
    deaf.clear()
    world.settle()
    assert not world.cloud.devices()


def test_f14_a_reservation_is_wiped_before_the_next_machine_has_it() -> None:
    """Two machines that share one reservation use it one after the other, and never on demand."""
    world = World(Seed("reserved"), ModelStore(), RESERVED)
    world.create(NAME)
    world.settle()
    world.create("next")
    world.run_for(MINUTE)
    assert orders(world) == 1, "the ledger knows that it is taken; the cloud need not be asked"
    world.delete(NAME)
    world.run_until(lambda: len(world.cloud.history()) == 2)
    world.settle()
    assert record_of(world, "next").state is State.ACTIVE


def test_f04_a_key_of_nobody_is_told_by_name() -> None:
    """The problem of a machine whose key is refused names the class and the Secret, and not the key."""
    world = at("install")
    world.cloud.faults.add(OUTAGES["401"])
    world.delete(NAME)
    world.run_for(MINUTE)
    fault = record_of(world).problem
    assert fault
    assert CLASS in fault.message
    assert SECRET in fault.message
    assert TOKEN not in fault.message
    ended(world)


def test_f04_a_list_that_shows_a_device_ends_the_doubt_of_a_denied_look() -> None:
    """A 403 of long ago does not count beside a list of today that misses the device for a moment."""
    world = at("healthy")
    runner, record = world.engine.dispatch._runner, record_of(world)
    denied = ("denied", record.device_id)
    runner.marks.set(denied)
    assert not runner.observer.observe(record).denied_since
    assert runner.marks.known(denied) is None
