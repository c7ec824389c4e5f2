"""Lives of one machine, as scripts: what is wished, and what is waited for in between."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from engine.domain.ids import MachineUid
from engine.domain.wanted import MACHINE_FINALIZER
from engine.simulators.metal import ReservationSettings
from engine.simulators.metal.catalog import named_uuid
from engine.simulators.ports import Moment
from engine.simulators.seed import Seed
from engine.simulators.world import QUICK_METAL, SPEC, World, WorldSettings
from tests.model.model_store import ModelStore

PLAIN = WorldSettings()
LONELY = WorldSettings(target=False)
RESERVATION = named_uuid("reservation", "93125c2a-8b78-4d4f-a3c4-7367d6b7cca8", "da", "c3.small.x86", "0")
RESERVED = WorldSettings(
    metal=replace(QUICK_METAL, reservations=(ReservationSettings(plan="c3.small.x86", metro="da"),)),
    spec={**SPEC, "reservationIDs": [RESERVATION], "reservedDevicesOnly": True},
)
NAME = "worker-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A script, the world that it is played in, and how many devices it may ever buy."""

    play: Callable[[World], None]
    settings: WorldSettings = PLAIN
    bought: int = 1

    def run(self, mishaps: Mapping[int, Moment] | None = None) -> World:
        """The world after the life, and after a look at everything that must hold then."""
        world = World(Seed("lives"), ModelStore(), self.settings, mishaps=mishaps)
        self.play(world)
        world.settle()
        return world


def serve_and_go(world: World) -> None:
    """A Machine comes, serves, and is deleted."""
    world.create(NAME)
    world.settle()
    assert [each.hostname for each in world.cloud.billing()] == [NAME]
    world.delete(NAME)


def go_while_installing(world: World) -> None:
    """A Machine is deleted while its device refuses to go."""
    world.create(NAME)
    world.run_until(lambda: [each for each in world.cloud.history() if each.state != "queued"])
    world.delete(NAME)


def go_at_once(world: World) -> None:
    """A Machine is deleted as soon as its device is ordered."""
    world.create(NAME)
    world.run_until(world.cloud.history)
    world.delete(NAME)


def go_before_order(world: World) -> None:
    """A Machine is deleted before anything could be bought, because the class is wrong."""
    world.reclass(machineType="")
    world.create(NAME)
    world.run_until(lambda: (found := world.cluster.user.machine(NAME)) and MACHINE_FINALIZER in found.finalizers)
    world.run_for(timedelta(seconds=5))
    world.delete(NAME)


def be_adopted_by_name(world: World) -> None:
    """A Machine that served is taken over from its providerID alone, when the database is lost."""
    world.create(NAME)
    world.settle()
    world.lose_store(ModelStore())
    world.settle()
    world.delete(NAME)


def be_adopted_by_tag(world: World) -> None:
    """A Machine whose controller died after the purchase keeps the device that carries its tag."""
    machine = world.create(NAME, finalizers=(MACHINE_FINALIZER,))
    world.buy(NAME, MachineUid(machine.uid))
    world.settle()
    world.delete(NAME)


def be_deleted_unknown(world: World) -> None:
    """A Machine that is being deleted when it is first seen loses the device that carries its tag."""
    machine = world.create(NAME, finalizers=(MACHINE_FINALIZER,))
    world.buy(NAME, MachineUid(machine.uid))
    world.delete(NAME)


LIVES = {
    "plain": Life(play=serve_and_go),
    "lonely": Life(play=serve_and_go, settings=LONELY),
    "lagging": Life(play=serve_and_go, settings=WorldSettings(lag=timedelta(seconds=3))),
    "reserved": Life(play=serve_and_go, settings=RESERVED),
    "installing": Life(play=go_while_installing),
    "at-once": Life(play=go_at_once),
    "never-ordered": Life(play=go_before_order, bought=0),
    "adopted-by-name": Life(play=be_adopted_by_name),
    "adopted-by-tag": Life(play=be_adopted_by_tag),
    "deleted-unknown": Life(play=be_deleted_unknown),
}
