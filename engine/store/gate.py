"""How work reaches a database: one transaction for each write, one statement for each read, our errors only."""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from engine.errors import StoreError
from engine.store.faults import is_conflict, translated, translating
from engine.store.guard import FileGuard
from engine.store.writer import Writer

T = TypeVar("T")
CONFLICTS_MAX: Final = 5  # as often a transaction is tried that others stand in the way of


class Gate(Protocol):
    """The way in; `dialect` is `sqlite` or `postgresql`."""

    dialect: str

    def read(self, work: Callable[[Connection], T]) -> T:
        """Answer what the work reads with one statement."""
        ...

    def write(self, work: Callable[[Connection], T]) -> T:
        """Answer what the work answers, when it is committed. The work may run more than once; the last one counts."""
        ...

    def close(self) -> None:
        """Finish what is being written and close every connection. Safe to repeat."""
        ...


class SqliteGate:
    """One writer thread, and readers that never wait for it."""

    dialect = "sqlite"

    def __init__(self, *, writer: Engine, readers: Engine, guard: FileGuard) -> None:
        """Take over what is given: it is closed with the gate."""
        self._engines = (writer, readers)
        self._readers = readers
        self._guard = guard
        self._writer = Writer(writer, guard.check)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Read beside the writer."""
        with translating(), self._readers.connect() as connection:
            return work(connection)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Let the writer do it."""
        return self._writer.run(work)

    def close(self) -> None:
        """Write what is queued, then let the file go."""
        self._writer.close()
        # The readers go first: the last connection to leave tidies the log away, and readers may not.
        for engine in reversed(self._engines):
            engine.dispose()
        self._guard.release()


class PostgresGate:
    """A pool of connections; many replicas may do the same."""

    dialect = "postgresql"

    def __init__(self, engine: Engine) -> None:
        """Take the engine over: it is closed with the gate."""
        self._engine = engine
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")

    def read(self, work: Callable[[Connection], T]) -> T:
        """Read without opening a transaction, which saves two round trips."""
        with translating(), self._plain.connect() as connection:
            return work(connection)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run the work in a transaction; try again while others stand in the way."""
        for _ in range(CONFLICTS_MAX - 1):
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                if not is_conflict(error):
                    raise translated(error) from error
        with translating(), self._engine.begin() as connection:
            return work(connection)

    def close(self) -> None:
        """Close the pool."""
        self._engine.dispose()


class ReadingGate:
    """A database that is only read, beside its controller or without one."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine over: it is closed with the gate."""
        self.dialect = engine.dialect.name
        self._engine = engine
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT") if self.dialect != "sqlite" else engine

    def read(self, work: Callable[[Connection], T]) -> T:
        """Read."""
        with translating(), self._plain.connect() as connection:
            return work(connection)

    def write(self, work: Callable[[Connection], T]) -> T:  # noqa: ARG002 - the protocol's signature
        """Raise StoreError."""
        raise StoreError("the database was opened for reading only")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
