"""What the engine logs in a simulated world is read and not printed: a secret in a line is a failure."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

from engine.simulators.world import CANARIES


def inspect(_logger: object, method: str, line: MutableMapping[str, Any]) -> str:
    """No line holds a secret or tells of a fault of our own, and none is printed."""
    text = repr(line)
    assert not any(canary in text for canary in CANARIES), "I8: a secret stands in the log"
    if "exception" in line:
        print(line["exception"])
    assert method != "error", text
    raise structlog.DropEvent


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """The log goes to the inspection."""
    kept = structlog.get_config()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, inspect],
        cache_logger_on_first_use=False,
    )
    yield
    structlog.configure(**kept)
