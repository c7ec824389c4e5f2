"""Waits grow, stay inside their bound, and are the same in every replay."""

import itertools
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.retry import Backoff

TEN_MINUTES = Backoff(first=timedelta(seconds=5), longest=timedelta(minutes=10))
JITTER_MIN, JITTER_MAX = 0.75, 1.25


@settings(deadline=None)
@given(key=st.text(max_size=40), attempt=st.integers(min_value=-3, max_value=10_000))
def test_wait_is_near_its_exponential_and_bounded(key: str, attempt: int) -> None:
    """Any wait lies within a quarter of first times two to the number of failures, and of the bound."""
    plain = min(timedelta(seconds=5) * 2.0 ** min(max(attempt - 1, 0), 20), timedelta(minutes=10))
    wait = TEN_MINUTES.wait(key=key, attempt=attempt)
    assert plain * JITTER_MIN <= wait <= plain * JITTER_MAX


def test_wait_is_the_same_in_every_replay() -> None:
    """The same machine and attempt wait equally long, in this process and in the next."""
    assert TEN_MINUTES.wait(key="m-1", attempt=3) == TEN_MINUTES.wait(key="m-1", attempt=3)
    assert TEN_MINUTES.wait(key="m-1", attempt=3).total_seconds() == 16.210526  # noted once; hashes do not change


def test_wait_of_machines_that_failed_together_differs() -> None:
    """A hundred machines that failed at once come back spread over their window, not in one herd."""
    waits = sorted(TEN_MINUTES.wait(key=f"m-{number}", attempt=1).total_seconds() for number in range(100))
    assert len(set(waits)) == 100
    widest = max(after - before for before, after in itertools.pairwise(waits))
    assert widest < 0.5  # of the window of 2.5 s


def test_wait_with_factor_one_does_not_grow() -> None:
    """A steady schedule is a backoff whose factor is one."""
    steady = Backoff(first=timedelta(seconds=30), longest=timedelta(hours=1), factor=1.0)
    assert steady.wait(key="m-1", attempt=50) <= timedelta(seconds=30) * JITTER_MAX
