"""Structured log lines: a constant sentence with fields beside it; machine and job are bound by context.

Nothing secret may be handed to a logger: no token, no userdata, no request or response object.
"""

import logging
import sys
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog


def logger(name: str) -> Any:
    """Answer the logger of a module."""
    return structlog.stdlib.get_logger(name)


def bound(**fields: Any) -> AbstractContextManager[None]:
    """Put these fields on every line of this thread until the block ends."""
    return structlog.contextvars.bound_contextvars(**fields)


def configure(*, level: str = "INFO", style: str = "text", stream: TextIO | None = None) -> None:
    """Set up logging for the whole process: `style` is `text` for people or `json` for programs."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: Any = structlog.processors.JSONRenderer()
    if style == "text":
        render = structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty(), pad_event_to=0)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    foreign = [*shared, structlog.stdlib.ExtraAdder()]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=foreign, processor=render))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("transitions", "apscheduler", "urllib3", "kubernetes", "alembic", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
