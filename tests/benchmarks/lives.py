"""How many machine lives a second of one core carries, in the simulated world, with every promise checked.

`make bench-lives N=200`: all machines of a round are wanted at once, serve, and are deleted; nothing goes wrong. It is
measured in processor time, which moves with the host by a third from minute to minute; for a comparison of two versions
count instructions (`valgrind --tool=cachegrind --cache-sim=no`) for two numbers of rounds, and take the difference.
"""

import argparse
import sys
import time

from rich.console import Console

from engine.simulators.seed import Seed
from engine.simulators.store import ModelStore
from engine.simulators.trial import inspected_log
from engine.simulators.world import World


def main() -> int:
    """Measure and print one line."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--machines", type=int, default=200, help="machines of a round")
    asked.add_argument("--rounds", type=int, default=3, help="rounds, one after the other")
    options = asked.parse_args()
    world = World(Seed("bench"), ModelStore())
    begun = time.process_time()
    with inspected_log():
        for number in range(options.rounds):
            live(world, [f"worker-{number}-{each}" for each in range(options.machines)])
    seconds = time.process_time() - begun
    lives = options.machines * options.rounds
    Console().print(
        f"{lives} lives in {seconds:.1f} s of one core: {lives / seconds:.0f} lives a second, "
        f"{world.clock.monotonic() / seconds:.0f} times real time, {world.calls / lives:.1f} calls at the ports a life",
        soft_wrap=True,
    )
    return 0


def live(world: World, names: list[str]) -> None:
    """Have these machines created, wait until they serve, and have them deleted."""
    for name in names:
        world.create(name)
    world.settle()
    for name in names:
        world.delete(name)
    world.settle()


if __name__ == "__main__":
    sys.exit(main())
