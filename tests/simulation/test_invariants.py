"""The watchers are watched: each promise that is broken on purpose is called by its name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.domain.ids import DeviceId, MachineUid
from engine.domain.machine import MachineFilter, MachineRecord
from engine.domain.phase import Phase, status_of
from engine.ports.cluster import EventKind, MachineEvent
from engine.simulators.invariants import BrokenPromiseError
from engine.simulators.ports import Call
from engine.simulators.seed import Seed
from engine.simulators.world import TOKEN, World
from tests.model.model_store import ModelStore
from tests.simulation.lives import NAME


def serving() -> tuple[World, MachineRecord, ModelStore]:
    """A world in which one Machine serves."""
    store = ModelStore()
    world = World(Seed("invariants"), store)
    world.create(NAME)
    world.settle()
    return world, store.find(MachineFilter())[0], store


def call(name: str, *arguments: Any) -> Call:
    """A call at a port."""
    return Call(number=1, name=name, arguments=arguments, named={})


def buy_twice(world: World, record: MachineRecord, _store: ModelStore) -> None:
    world.buy(NAME, record.uid)
    world.invariants.foreign.clear()
    world.invariants.after_step()


def buy_one_more(world: World, record: MachineRecord, _store: ModelStore) -> None:
    world.buy(NAME, record.uid)
    world.invariants.at_rest()


def order_without_intent(world: World, record: MachineRecord, _store: ModelStore) -> None:
    world.invariants.before(call("cloud.order", record))


def buy_for_nobody(world: World, _record: MachineRecord, _store: ModelStore) -> None:
    world.buy("nobody", MachineUid("nobody"))
    world.invariants.after_step()


def release_without_intent(world: World, record: MachineRecord, _store: ModelStore) -> None:
    world.invariants.before(call("cloud.release", record.device_id))


def release_what_is_wanted(world: World, record: MachineRecord, store: ModelStore) -> None:
    intend_release(store, record, record.device_id)
    world.invariants.before(call("cloud.release", record.device_id))


def release_what_is_foreign(world: World, record: MachineRecord, store: ModelStore) -> None:
    device = world.buy("other", MachineUid("other"))
    intend_release(store, record, device.device_id)
    world.invariants.before(call("cloud.release", device.device_id))


def intend_release(store: ModelStore, record: MachineRecord, device_id: DeviceId | None) -> None:
    """Write an intent as the engine would."""
    plain = store.intents(record.uid)[0]
    life = store._lives[record.uid]
    life.intents.append(
        replace(plain, intent_id="r", kind="release", device_id=device_id, result=None)  # type: ignore[arg-type]  # short
    )


def drop_too_early(world: World, _record: MachineRecord, _store: ModelStore) -> None:
    world.invariants.before(call("cluster.drop_finalizer", world.cluster.user.machine(NAME)))


def lose_history(world: World, record: MachineRecord, store: ModelStore) -> None:
    world.cluster.user.set_ready(NAME, ready=False)
    world.step()
    life = store._lives[record.uid]
    life.entries.pop(2)
    life.record = replace(life.record, version=life.record.version + 1)
    world.invariants.after_step()


def go_back(world: World, record: MachineRecord, store: ModelStore) -> None:
    life = store._lives[record.uid]
    life.record = replace(record, version=record.version - 1)
    life.entries.pop()
    world.invariants.after_step()


def invent_status(world: World, record: MachineRecord, _store: ModelStore) -> None:
    status = status_of(record, target=True)
    assert status
    machine = world.cluster.user.machine(NAME)
    world.invariants.before(call("cluster.write_status", machine, replace(status, phase=Phase.FAILED)))


def forget_status(world: World, _record: MachineRecord, _store: ModelStore) -> None:
    world.cluster.user.change_machine(NAME, status=None)
    world.invariants.at_rest()


def tell_a_secret(world: World, _record: MachineRecord, _store: ModelStore) -> None:
    machine = world.cluster.user.machine(NAME)
    assert machine
    event = MachineEvent(machine=machine, kind=EventKind.NORMAL, reason="R", message=f"key {TOKEN}", key="k")
    world.invariants.before(call("cluster.announce", event))


def hold_for_nobody(world: World, record: MachineRecord, store: ModelStore) -> None:
    store.hold_reservation(
        uid=MachineUid("nobody"), wanted=["r"], now=record.admitted_at, cooldown=world.settings.policy.busy_retry
    )
    world.invariants.at_rest()


@pytest.mark.parametrize(
    ("break_it", "name"),
    [
        (buy_twice, "I1"),
        (buy_one_more, "I1"),
        (order_without_intent, "I1"),
        (buy_for_nobody, "I2"),
        (release_without_intent, "I3"),
        (release_what_is_wanted, "I3"),
        (release_what_is_foreign, "I3"),
        (drop_too_early, "I4"),
        (lose_history, "I5|history"),
        (go_back, "I5"),
        (invent_status, "I7"),
        (forget_status, "I7"),
        (tell_a_secret, "I8"),
        (hold_for_nobody, "reservation"),
    ],
)
def test_a_broken_promise_is_noticed(break_it: Callable[[World, MachineRecord, ModelStore], None], name: str) -> None:
    """And called by its name."""
    with pytest.raises(BaseException, match=name) as caught:
        break_it(*serving())
    assert isinstance(caught.value, BrokenPromiseError) or break_it is lose_history


def test_a_promise_that_is_kept_is_quiet() -> None:
    """The same world, unbroken."""
    world, _, _ = serving()
    world.invariants.at_rest()
