"""Which fault met which place of a machine's life: counted over many runs, so that what was never met is known."""

from collections import Counter
from collections.abc import Iterable, Mapping

from engine.domain.states import DELETED_REST, PLACES
from engine.simulators.deeds import DEEDS

Pair = tuple[str, str]
"""The name of a fault, and a place."""

LIVING = tuple(str(place) for place in PLACES if place != DELETED_REST)
FAULTS = tuple(name for name, kind in DEEDS.items() if not kind.wish)

UNREACHABLE: dict[Pair, str] = {}
"""The pairs that cannot meet, and why."""


class Coverage:
    """Counts in how many steps a fault was in force while a machine stood at a place."""

    def __init__(self) -> None:
        self.met: Counter[Pair] = Counter()

    def note(self, faults: Iterable[str], places: Iterable[str]) -> None:
        """Count each of these faults for each of these places."""
        stood = set(places)
        self.met.update((fault, place) for fault in faults for place in stood)

    def add(self, met: Mapping[Pair, int]) -> None:
        """Count what another run has met."""
        self.met.update(met)


def never_met(met: Mapping[Pair, int], *, unreachable: Mapping[Pair, str], faults: Iterable[str]) -> list[Pair]:
    """Answer the pairs that could be met and never were."""
    return [
        (fault, place)
        for fault in faults
        for place in LIVING
        if not met.get((fault, place)) and (fault, place) not in unreachable
    ]


def matrix(met: Mapping[Pair, int], *, unreachable: Mapping[Pair, str], faults: Iterable[str]) -> list[str]:
    """Answer the table of faults and places in lines; `-` stands for what cannot be, `!` for what was never met."""
    heads = [place.rsplit("/", 1)[-1][:9] for place in LIVING]
    lines = [f"{'':<18}" + "".join(f"{head:>10}" for head in heads)]
    for fault in faults:
        cells = [_cell(met.get((fault, place), 0), (fault, place) in unreachable) for place in LIVING]
        lines.append(f"{fault:<18}" + "".join(f"{cell:>10}" for cell in cells))
    return lines


def _cell(number: int, cannot_be: bool) -> str:  # noqa: FBT001 - a leaf of the table
    if number:
        return str(number)
    return "-" if cannot_be else "!"
