"""What the process runs on: a store of production in a real SQLite file, and a disk whose power fails.

Whenever the process dies, the power fails, so that only what was synced is left. The power also fails by itself, in the
middle of a call, and the process dies there.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

from engine.errors import StoreUnavailableError
from engine.ports.store import Store
from engine.simulators.disk import Disk
from engine.simulators.ports import SimulatedCrash
from engine.simulators.seed import Seed
from engine.store import open_store

CUTS_MAX = 600  # operations between two power failures; a call has some twelve


class Host:
    """Stands for the store of a world, over all lives of its process."""

    def __init__(self, disk: Disk, place: Path, seed: Seed) -> None:
        """Open the store in the file at this place, on this disk."""
        self.failures = 0
        """How often the power failed."""
        self._disk = disk
        self._url = disk.url(place)
        self._seed = seed
        self._inside = open_store(self._url)
        self._kill: Callable[[], None] | None = None

    @property
    def store(self) -> Store:
        """What the world calls."""
        return cast("Store", self)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._called, getattr(self._inside, name))

    def cut(self, kill: Callable[[], None]) -> None:
        """From now on let the power fail by itself, too; `kill` ends the process of that moment."""
        self._kill = kill
        self._schedule()

    def reopen(self) -> Store:
        """Answer the store after the power failed, and as often again as it does while the store is opened."""
        self._fail()
        while True:
            with suppress(StoreUnavailableError):
                self._inside = open_store(self._url)
                if self._disk.powered:
                    return self.store
            if self._disk.powered:
                raise RuntimeError("the store does not open although the power is on")
            self._fail()

    def close(self) -> None:
        """Close the store; its disk can be let go then."""
        self._inside.close()

    def _fail(self) -> None:
        self.failures += 1
        with self._disk.power_failure(self._seed):
            self._inside.close()
        if self._kill:
            self._schedule()

    def _schedule(self) -> None:
        self._disk.cut_at = self._disk.operations + self._seed.integer(1, CUTS_MAX)

    def _called(self, member: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            answer = member(*arguments, **named)
        except StoreUnavailableError:
            if self._disk.powered:
                raise
        if self._disk.powered:
            return answer
        if self._kill:
            self._kill()
        raise SimulatedCrash("the power failed")
