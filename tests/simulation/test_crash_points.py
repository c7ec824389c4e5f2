"""The process is killed, or an answer is lost, at every single call of whole lives; each must end as if nothing was."""

import pytest

from engine.domain.machine import MachineFilter
from engine.simulators.ports import Moment
from engine.simulators.world import World
from tests.simulation.lives import LIVES, Life


def ending(world: World) -> dict[str, object]:
    """What is left at the end, and what was ever bought."""
    return {
        "bought": len(world.cloud.history()),
        "billing": len(world.cloud.billing()),
        "shown": len(world.cloud.devices()),
        "objects": len(world.cluster.user.machines()),
        "nodes": len(world.cluster.user.nodes()),
        "unfinished": len(world.store.find(MachineFilter(unfinished_only=True))),
    }


def played(life: Life, number: int, moment: Moment) -> World:
    """The life with this mishap in it; a failure says at which call."""
    try:
        return life.run({number: moment})
    except BaseException as failure:
        failure.add_note(f"the mishap was: {moment.value} call {number}")
        raise


@pytest.mark.parametrize("name", LIVES)
def test_an_undisturbed_life_leaves_nothing_behind(name: str) -> None:
    """One device is bought, or none, and in the end nothing is left of it."""
    end = ending(LIVES[name].run())
    assert end == dict.fromkeys(end, 0) | {"bought": LIVES[name].bought}


@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.value)
@pytest.mark.parametrize("name", LIVES)
def test_a_life_ends_the_same_wherever_it_is_disturbed(name: str, moment: Moment) -> None:
    """Whichever call is the last of a process, or is never answered, the world ends as without it."""
    life = LIVES[name]
    undisturbed = life.run()
    expected = ending(undisturbed)
    for number in range(1, undisturbed.calls + 1):
        world = played(life, number, moment)
        assert world.crashes == undisturbed.crashes + (moment is not Moment.LOST), f"call {number} was not disturbed"
        assert ending(world) == expected, f"{moment.value} call {number}: {world.trace}"


@pytest.mark.parametrize("name", ["plain", "installing"])
def test_a_life_survives_a_second_kill_during_the_recovery(name: str) -> None:
    """A process that is killed, and killed again while it recovers, ends the same."""
    life = LIVES[name]
    undisturbed = life.run()
    for number in range(1, undisturbed.calls + 1, 3):
        for later in (1, 2, 5, 9):
            world = life.run({number: Moment.AFTER, number + later: Moment.AFTER})
            assert ending(world) == ending(undisturbed), f"killed after {number} and {later} calls later"
