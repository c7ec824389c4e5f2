"""Wishes and mishaps at random, all from one seed; and the peace in which everything must come right."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from engine.domain.machine import MachineFilter
from engine.domain.states import State
from engine.ports.cluster import ClusterDeniedError, ClusterUnavailableError
from engine.simulators.metal import FaultKind, FaultRule, Operation
from engine.simulators.ports import Moment
from engine.simulators.seed import Seed
from engine.simulators.world import OTHER_TOKEN, TOKEN, WRONG_TOKEN, World

MACHINES_MAX: Final = 5
PLANS = ("c3.small.x86", "m3.small.x86")
PEACE = timedelta(minutes=40)
"""How long everything may take to come right: two creation timeouts."""
STALE_SECONDS = 15.0  # less than the visibility window of the worlds
RULES = (
    *(FaultRule(kind=FaultKind.LOST_BEFORE, share=0.4, operation=each) for each in Operation),
    *(FaultRule(kind=FaultKind.LOST_AFTER, share=0.5, operation=each) for each in Operation),
    FaultRule(kind=FaultKind.THROTTLED, share=0.3),
    FaultRule(kind=FaultKind.OH_SNAP_BEFORE, share=0.4),
    FaultRule(kind=FaultKind.OH_SNAP_AFTER, share=0.4),
    FaultRule(kind=FaultKind.BAD_GATEWAY, share=0.4),
    FaultRule(kind=FaultKind.FORBIDDEN, share=0.3),
    FaultRule(kind=FaultKind.STALE_LIST, seconds=STALE_SECONDS),
    FaultRule(kind=FaultKind.LIST_PAGE_ERROR, share=0.5),
    FaultRule(kind=FaultKind.NO_CAPACITY, share=0.5),
    FaultRule(kind=FaultKind.FAIL_PROVISIONING, left=1),
    FaultRule(kind=FaultKind.FAIL_AND_STAY, left=1),
    FaultRule(kind=FaultKind.LATENCY, share=0.3, seconds=40.0),
)
T = TypeVar("T")


class Chaos:
    """Makes one wish or one mishap in most steps."""

    def __init__(self, world: World, seed: Seed) -> None:
        self._world = world
        self._seed = seed
        self._made = 0
        self._deeds: tuple[tuple[int, Callable[[], None]], ...] = (
            (5, self._create),
            (4, self._delete),
            (8, self._break_cloud),
            (3, self._lose_order),
            (5, self._mend_cloud),
            (1, self._reclass),
            (1, self._rotate),
            (1, self._spoil_token),
            (3, self._mend_token),
            (1, self._refuse_writes),
            (3, self._take_writes),
            (2, self._crash),
            (3, self._crash_soon),
            (30, lambda: None),
        )

    def rage(self, span: timedelta) -> None:
        """Let the world suffer for this long."""
        end = self._world.clock.now() + span
        lots = [deed for weight, deed in self._deeds for _ in range(weight)]
        while self._world.clock.now() < end:
            self._pick(lots)()
            self._world.step()

    def calm(self) -> None:
        """End all faults; whoever failed is replaced, as MCM would, until everything is at rest."""
        self._mend_cloud()
        self._mend_token()
        self._take_writes()
        self._world.run_until(self._come_right, limit=PEACE)
        self._world.settle()

    def clear(self) -> None:
        """Delete every Machine, and wait until nothing is left."""
        for machine in self._world.cluster.user.machines():
            self._world.delete(machine.name)
        self._world.settle()

    def _come_right(self) -> bool:
        failed = MachineFilter(states=frozenset({State.FAILED}))
        for record in self._world.store.find(failed):
            self._world.delete(record.name)
        return self._world.at_rest()

    def _create(self) -> None:
        if len(self._world.cluster.user.machines()) < MACHINES_MAX:
            self._made += 1
            self._world.create(f"worker-{self._made}")

    def _delete(self) -> None:
        machines = self._world.cluster.user.machines()
        if machines:
            self._world.delete(self._pick(machines).name)

    def _break_cloud(self) -> None:
        self._world.cloud.faults.add(self._pick(RULES))

    def _lose_order(self) -> None:
        """The next order is answered to nobody, and its device is not listed at once."""
        lost = FaultRule(kind=FaultKind.LOST_AFTER, left=1, operation=Operation.CREATE)
        self._world.cloud.faults.add(lost, FaultRule(kind=FaultKind.STALE_LIST, seconds=STALE_SECONDS))

    def _mend_cloud(self) -> None:
        self._world.cloud.faults.replace()

    def _reclass(self) -> None:
        self._world.reclass(machineType=self._pick(PLANS))

    def _rotate(self) -> None:
        self._world.rotate(self._pick((TOKEN, OTHER_TOKEN)))

    def _spoil_token(self) -> None:
        self._world.rotate(WRONG_TOKEN)

    def _mend_token(self) -> None:
        self._world.rotate(TOKEN)

    def _refuse_writes(self) -> None:
        errors = (ClusterUnavailableError("away"), ClusterDeniedError("no"))
        self._world.cluster.refusing = self._pick(errors)

    def _take_writes(self) -> None:
        self._world.cluster.refusing = None

    def _crash(self) -> None:
        self._world.crash()

    def _crash_soon(self) -> None:
        number = self._world.calls + self._seed.integer(1, 12)
        self._world.mishap(number, self._pick(tuple(Moment)))

    def _pick(self, things: Sequence[T]) -> T:
        return things[self._seed.integer(0, len(things) - 1)]
