"""A plan is carried out on a world: deeds before each step, then peace, in which everything must come right."""

from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Final

from engine.domain.breakers import Breaker
from engine.domain.machine import MachineFilter
from engine.domain.states import State
from engine.simulators.coverage import Coverage
from engine.simulators.deeds import DEEDS, JUMP_MINUTES, mend, power_on
from engine.simulators.invariants import BrokenPromiseError
from engine.simulators.plan import Deed, Plan
from engine.simulators.world import World

PEACE: Final = timedelta(minutes=40)
"""How long everything may take to come right: two creation timeouts, and two health timeouts."""
AHEAD: Final = timedelta(minutes=JUMP_MINUTES)
"""How much longer it may take after the wall clock was ahead: a claim of a dead process ends by the clock."""
ANCHOR: Final = "anchor"
"""A Machine that is wished in peace when there is none: orphans are not returned while Kubernetes shows nothing."""
_MISHAPS = ("killed before", "killed after", "lost")


class Chaos:
    """Makes the wishes and the mishaps of a plan."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.steps = 0
        """How many steps were made."""
        self.done: Counter[str] = Counter()
        """How often each deed was begun."""
        self.coverage = Coverage()
        self._world = world
        self._plan = plan
        self._in_force: list[tuple[int, Deed]] = []
        self._read = 0

    def run(self) -> None:
        """Let the world suffer, come right, and end empty."""
        self.rage()
        self.calm()
        self.clear()

    def rage(self) -> None:
        """Carry out the plan, a step at a time."""
        planned: dict[int, list[Deed]] = {}
        for deed in self._plan.deeds:
            planned.setdefault(deed.step, []).append(deed)
        for step in range(1, self._plan.steps + 1):
            self._end(step)
            places = {str(place) for place in self._world.places().values()}
            for deed in planned.get(step, []):
                self._begin(deed)
            self._step({deed.name for deed in planned.get(step, [])}, places)

    def calm(self) -> None:
        """End all faults; whoever failed is replaced, as MCM would, until everything is at rest."""
        self._in_force.clear()
        mend(self._world)
        self._world.run_until(self._come_right, limit=self._patience())
        self._world.settle()

    def clear(self) -> None:
        """Delete every Machine, and wait until nothing is left but what is none of our business."""
        for machine in self._world.cluster.user.machines():
            self._world.delete(machine.name)
        self._world.settle(limit=self._patience())
        left = [*self._world.invariants.owners(), *self._world.cluster.user.machines()]
        if left:
            raise BrokenPromiseError(f"I2: in the end {left} are left")

    def _patience(self) -> timedelta:
        return PEACE + AHEAD if self.done["clock_jumped"] else PEACE

    def _come_right(self) -> bool:
        self.steps += 1
        power_on(self._world)
        self._close_purchases()
        if not self._world.cluster.user.machines():
            self._world.create(ANCHOR)
        failed = MachineFilter(states=frozenset({State.FAILED}))
        for record in self._world.store.find(failed):
            self._world.delete(record.name)
        return self._world.at_rest()

    def _close_purchases(self) -> None:
        """An operator does it: by itself this breaker stays open for an hour, which is longer than the peace."""
        opened = {each.breaker for each in self._world.engine.breakers.opened()}
        self._world.order_to_close(*opened & {Breaker.WASTED_PURCHASES})

    def _begin(self, deed: Deed) -> None:
        kind = DEEDS[deed.name]
        self._say(f"begins {deed}")
        self.done[deed.name] += 1
        act = partial(kind.begin, self._world, *deed.args)
        if kind.anytime and self._plan.interleaved:
            self._world.meanwhile.append(act)
        else:
            act()
        if kind.end:
            self._in_force.append((deed.step + deed.lasts, deed))

    def _end(self, step: int) -> None:
        over = [deed for until, deed in self._in_force if until <= step]
        self._in_force = [each for each in self._in_force if each[0] > step]
        for deed in over:
            end = DEEDS[deed.name].end
            if end:
                self._say(f"ends {deed}")
                end(self._world, *deed.args)

    def _step(self, begun: set[str], places: set[str]) -> None:
        self._world.step()
        self.steps += 1
        fresh, self._read = self._world.trace[self._read :], len(self._world.trace)
        struck = {"mishap"} if any(line.endswith(_MISHAPS) for line in fresh) else set()
        lasting = {deed.name for _, deed in self._in_force}
        self.coverage.note((begun - {"mishap"}) | lasting | struck, places)

    def _say(self, text: str) -> None:
        self._world.trace.append(f"{self._world.clock.monotonic():.3f} {text}")
