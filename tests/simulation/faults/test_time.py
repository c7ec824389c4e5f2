"""F6, F16, F18 and F19: kills, databases that are lost, old or full, people in the console, and clocks that jump."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import pytest

from engine.domain.states import State
from engine.errors import StoreUnavailableError
from engine.ports.store import Store
from engine.simulators.ports import STORE_CALLS
from engine.simulators.seed import Seed
from engine.simulators.world import World
from tests.model.model_store import ModelStore
from tests.simulation.faults.stage import (
    HOUR,
    LEAVING,
    MINUTE,
    PLACES,
    SLOW,
    ask,
    at,
    copied,
    ended,
    orders,
    record_of,
    releases,
)
from tests.simulation.lives import NAME


class Disk:
    """A store on a disk that can be full: then nothing is written."""

    def __init__(self) -> None:
        self._inside = ModelStore()
        self.full = False

    def __getattr__(self, name: str) -> Any:
        if self.full and name in STORE_CALLS:
            return _refuse
        return getattr(self._inside, name)


def _refuse(*_arguments: object, **_named: object) -> None:
    raise StoreUnavailableError("the disk is full")


@contextmanager
def nothing_bought_or_returned(world: World) -> Iterator[None]:
    """Within the block the engine neither orders nor returns."""
    before = orders(world), releases(world)
    yield
    assert (orders(world), releases(world)) == before


@pytest.mark.parametrize("place", PLACES)
def test_f06_a_kill_at_any_place_changes_nothing(place: str) -> None:
    """A process that dies five times in a row at any place of a life leaves the same end."""
    world = at(place)
    for _ in range(5):
        world.crash()
        world.step()
    ended(world)
    assert len(world.cloud.history()) == 1


@pytest.mark.parametrize("place", PLACES)
def test_f16_a_database_that_is_lost_at_any_place_costs_no_device(place: str) -> None:
    """A controller that knows nothing adopts what there is, buys nothing more, and returns only what is to go."""
    world = at(place)
    bought = len(world.cloud.history())
    returned = releases(world)
    world.lose_store(ModelStore())
    world.run_for(MINUTE)
    assert place in LEAVING or releases(world) == returned
    ended(world)
    assert len(world.cloud.history()) == max(bought, 1)


def test_f16_a_backup_of_an_hour_ago_buys_and_returns_nothing() -> None:
    """The database of an hour ago knows one machine of three; the others are adopted from Kubernetes and the cloud."""
    store = ModelStore()
    world = World(Seed("backup"), store, SLOW)
    world.create(NAME)
    world.settle()
    backup = copied(store)
    world.run_for(HOUR)
    for name in ("other-1", "other-2"):
        world.create(name)
    world.settle()
    world.lose_store(backup)
    with nothing_bought_or_returned(world):
        world.settle()
    ended(world)
    assert len(world.cloud.history()) == 3


@pytest.mark.parametrize("place", PLACES)
def test_f16_a_full_disk_buys_and_returns_nothing(place: str) -> None:
    """While no intent can be written, nothing is done at the cloud; with room on the disk everything goes on."""
    disk = Disk()
    world = World(Seed("disk"), cast("Store", disk), SLOW)
    PLACES[place](world)
    disk.full = True
    with nothing_bought_or_returned(world):
        world.run_for(2 * MINUTE)
    disk.full = False
    ended(world)
    assert len(world.cloud.history()) == 1


def test_f18_a_device_that_a_person_deleted_fails_its_machine() -> None:
    """It is told, and no second one is bought by itself."""
    world = at("healthy")
    ask(world, "DELETE", f"/metal/v1/devices/{record_of(world).device_id}")
    world.run_for(HOUR)
    record = record_of(world)
    assert record.state is State.FAILED
    assert record.problem
    assert orders(world) == 1
    ended(world)


@pytest.mark.parametrize("change", [b'{"hostname": "mine"}', b'{"tags": []}'], ids=["renamed", "untagged"])
@pytest.mark.parametrize("place", ["install", "join", "healthy", "unhealthy", "halt"])
def test_f18_a_device_that_a_person_changed_is_still_known(place: str, change: bytes) -> None:
    """Without its name, or without its tags, a device belongs to its machine by its id, and goes with it."""
    world = at(place)
    ask(world, "PUT", f"/metal/v1/devices/{record_of(world).device_id}", change)
    with nothing_bought_or_returned(world):
        world.run_for(MINUTE)
    world.delete(NAME)
    ended(world)
    assert len(world.cloud.history()) == 1


def test_f18_a_device_that_a_person_turned_off_is_not_replaced() -> None:
    """Its Node falls silent and its machine is unhealthy; nobody is failed, and it serves again when it is back."""
    world = at("healthy")
    path = f"/metal/v1/devices/{record_of(world).device_id}/actions"
    ask(world, "POST", path, b'{"type": "power_off"}')
    with nothing_bought_or_returned(world):
        world.run_for(10 * MINUTE)
    assert record_of(world).state is State.ACTIVE
    ask(world, "POST", path, b'{"type": "power_on"}')
    world.run_for(MINUTE)
    ended(world)


def test_f18_a_device_of_nobody_with_our_tags_of_the_class_is_left_alone() -> None:
    """A device that carries the cluster's tags, and the uid of no Machine, is neither adopted nor returned."""
    world = at("healthy")
    world.buy_untagged("somebody-else")
    with nothing_bought_or_returned(world):
        world.run_for(10 * MINUTE)
    world.delete(NAME)
    world.run_until(lambda: not world.cluster.user.machines())
    assert [each.hostname for each in world.cloud.billing()] == ["somebody-else"]


@pytest.mark.parametrize("seconds", [-3600, 3600])
@pytest.mark.parametrize("place", ["order", "healthy", "unhealthy", "halt", "release", "forget-node"])
def test_f19_a_clock_that_jumps_buys_nothing_twice(place: str, seconds: int) -> None:
    """A wall clock that is an hour off, and back again, ends no window early: one device, and no Failed in service."""
    world = at(place)
    before = record_of(world).state
    world.engine_clock.skew = timedelta(seconds=seconds)
    world.run_for(MINUTE)
    assert before is not State.ACTIVE or record_of(world).state is State.ACTIVE
    world.engine_clock.skew = timedelta(0)
    ended(world)
    assert len(world.cloud.history()) == 1


def test_f19_a_clock_that_jumps_ends_no_visibility_window() -> None:
    """With lists that hide the device for nearly the whole window, an hour's jump in the middle buys no second one."""
    world = at("order")
    world.run_for(timedelta(seconds=3))
    world.engine_clock.skew = timedelta(hours=1)
    world.run_for(timedelta(seconds=8))
    assert orders(world) == 1
    ended(world)
