"""What the engine logs in a simulated world is read and not printed: a secret or a fault in a line is a failure."""

from collections.abc import Iterator

import pytest

from engine.simulators.trial import inspected_log


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """The log goes to the inspection."""
    with inspected_log():
        yield
