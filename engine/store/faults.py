"""What the database's errors mean: each becomes one of ours, in one place."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)

from engine.errors import StoreError, StoreUnavailableError, StoreUnfitError

# Postgres rolled back one of two that stood in each other's way: to try again is the documented remedy.
_CONFLICTS: Final = {"40001", "40P01"}
_REFUSALS: Final = (IntegrityError, ProgrammingError, DataError, NotSupportedError)
_BROKEN: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def translating() -> Iterator[None]:
    """Raise our errors instead of SQLAlchemy's."""
    try:
        yield
    except SQLAlchemyError as error:
        raise translated(error) from error


def translated(error: SQLAlchemyError) -> StoreError:
    """Answer what an error of the database means for the engine."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    text = str(cause or error).strip()
    if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _BROKEN:
        return StoreUnfitError(
            f"the database file is damaged ({text}); restore it from a backup or start with a new one"
        )
    if isinstance(error, _REFUSALS) and not getattr(error, "connection_invalidated", False):
        return StoreError(f"the database refused a statement: {text}")
    return StoreUnavailableError(f"the database cannot be used now: {text}")


def is_conflict(error: SQLAlchemyError) -> bool:
    """Whether two transactions stood in each other's way and this one was rolled back."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _CONFLICTS
