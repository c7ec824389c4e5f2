"""Where chance comes from: one number, so that a run can be repeated exactly."""

import random
from typing import Self
from uuid import UUID


class Seed:
    """A named source of chance; children are independent of the order in which others draw."""

    def __init__(self, value: int | str) -> None:
        self._value = str(value)
        self._random = random.Random(self._value)  # noqa: S311 - repeatable chance is the point

    def child(self, name: str) -> Self:
        """Answer an independent source that depends on this seed and the name only."""
        return type(self)(f"{self._value}/{name}")

    def uuid(self) -> str:
        """Answer a random version 4 UUID in its usual spelling."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def chance(self, share: float) -> bool:
        """Answer true in the given share (0 to 1) of the draws."""
        return self._random.random() < share

    def between(self, low: float, high: float) -> float:
        """Answer a number drawn evenly from the interval."""
        return self._random.uniform(low, high)

    def integer(self, low: int, high: int) -> int:
        """Answer an integer drawn evenly from low to high, both included."""
        return self._random.randint(low, high)
