"""How long a machine waits after an attempt that failed, whatever its clock does."""

from datetime import timedelta

import pytest

from engine.workflow.attempts import next_attempt
from tests.unit.workflow.builders import NOON, POLICY, context, record


@pytest.mark.parametrize("span", [timedelta(seconds=1), POLICY.backoff.longest, POLICY.capacity_retry])
def test_a_wait_that_somebody_may_have_meant_is_kept(span: timedelta) -> None:
    """Until the wait is over nothing is asked; then it is."""
    waiting = context(record(retry_at=NOON + span), now=NOON)

    assert next_attempt(waiting) == NOON + span
    assert next_attempt(context(record(retry_at=NOON + span), now=NOON + span)) is None


def test_a_clock_that_was_put_right_makes_nobody_wait() -> None:
    """An instant that was written while the clock was an hour ahead is believed no more than one that is over."""
    written = NOON + timedelta(hours=1) + POLICY.backoff.longest

    assert next_attempt(context(record(retry_at=written), now=NOON)) is None
