"""The whole list out of pages that move under the reader."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.device import Device, DeviceState
from engine.domain.ids import DeviceId
from engine.providers.equinix.listing import InconsistentListError, read_all
from engine.providers.equinix.wire import Page


def device(number: int) -> Device:
    return Device(
        device_id=DeviceId(str(number)), provider_id="", hostname="", state=DeviceState.ACTIVE, state_text="active"
    )


class MovingList:
    """A list, the newest row first, that changes after each page that is read."""

    def __init__(self, size: int, changes: list[tuple[list[int], int]], *, page_size: int) -> None:
        self.rows = list(range(size))
        self.always = set(self.rows)
        """The rows that were there all the time."""
        self.reads = 0
        self._next = size
        self._changes = changes
        self._page_size = page_size

    def read(self, number: int) -> Page:
        """Answer a page, then let the next change happen."""
        start = (number - 1) * self._page_size
        page = Page(
            devices=[device(row) for row in self.rows[start : start + self._page_size]],
            total=len(self.rows),
            number=number,
            more=start + self._page_size < len(self.rows),
        )
        self.reads += 1
        gone, come = self._changes.pop(0) if self._changes else ([], 0)
        for index in gone:
            if self.rows:
                self.always.discard(self.rows.pop(index % len(self.rows)))
        for _ in range(come):
            self.rows.insert(0, self._next)
            self._next += 1
        return page


CHANGES = st.lists(st.tuples(st.lists(st.integers(0, 10_000), max_size=6), st.integers(0, 4)), max_size=30)


@settings(max_examples=300, deadline=None)
@given(size=st.integers(0, 60), page_size=st.integers(1, 10), changes=CHANGES)
def test_row_that_stays_is_found(size: int, page_size: int, changes: list[tuple[list[int], int]]) -> None:
    """However rows come and go between the pages, each one that was there all the time is answered, once."""
    moving = MovingList(size, changes, page_size=page_size)

    found = [int(seen.device_id) for seen in read_all(moving.read, page_size=page_size, pages_max=500)]

    assert set(found) >= moving.always
    assert len(found) == len(set(found))


def test_quiet_list_costs_each_page_once() -> None:
    """A list that does not change is read without repetition."""
    moving = MovingList(100, [], page_size=10)

    assert len(read_all(moving.read, page_size=10, pages_max=10)) == 100
    assert moving.reads == 10


def test_frequent_losses_cost_some_repetition() -> None:
    """While a row goes away with every third page, reading comes to its end with few repetitions."""
    moving = MovingList(1_000, [([0], 0), ([], 0), ([], 0)] * 100, page_size=10)

    found = {int(seen.device_id) for seen in read_all(moving.read, page_size=10, pages_max=300)}

    assert found >= moving.always
    assert moving.reads <= 300


def test_losses_with_every_page_are_an_error_in_the_end() -> None:
    """A list that never stands still while it is read is refused after a limit, not guessed."""
    moving = MovingList(1_000, [([0], 0)] * 1_000, page_size=10)

    with pytest.raises(InconsistentListError, match="after 50 pages the list has no end"):
        read_all(moving.read, page_size=10, pages_max=50)


def test_smaller_pages_than_asked_for_are_read_to_the_end() -> None:
    """When the API gives shorter pages than it was asked for, the list is complete all the same."""
    moving = MovingList(23, [], page_size=4)

    assert len(read_all(moving.read, page_size=100, pages_max=10)) == 23
    assert moving.reads == 6


def test_same_page_again_and_again_is_refused() -> None:
    """When the API answers the first page whatever is asked for, the list is refused, not taken for complete."""
    first = Page(devices=[device(1), device(2)], total=4, number=1, more=True)

    with pytest.raises(InconsistentListError, match="page 2 was asked for and came as page 1"):
        read_all(lambda _: first, page_size=2, pages_max=10)
