"""One thread writes to SQLite, and commits for many callers at once.

SQLite's own waiting is unfair (seconds with eight writers) and a second writing connection meets a rare bug of older
versions that damages the file. So every write is a request to this thread: it takes what is queued, up to
`BATCH_MAX`, runs it in one transaction, and answers after the commit. Each request has a savepoint, so that the
failure of one leaves the others alone.
"""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from engine.errors import StoreError, StoreUnavailableError
from engine.store.faults import translated

T = TypeVar("T")
BATCH_MAX: Final = 200  # at 0.1 ms each, a batch lasts 20 ms: nobody waits noticeably for the others


class _Request:
    """Work for the writer, its outcome, and the caller's wish to know."""

    __slots__ = ("answer", "error", "value", "work")

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self.work = work
        self.answer: Future[Any] = Future()
        self.value: Any = None
        self.error: Exception | None = None

    def settle(self) -> None:
        """Tell the caller."""
        if self.error is None:
            self.answer.set_result(self.value)
        else:
            self.answer.set_exception(self.error)


class _SpoiltError(Exception):
    """SQLite rolled the whole transaction back: nothing of the batch was written."""


class Writer:
    """The thread; it lives until it is closed."""

    def __init__(self, engine: Engine, check: Callable[[], None]) -> None:
        """Write over this engine; `check` runs before each transaction and raises when the file must not be used."""
        self._engine = engine
        self._check = check
        self._queue: SimpleQueue[_Request | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Answer what the work answers, when it is committed; raise what it raises, when nothing of it remains."""
        request = _Request(work)
        with self._gate:
            if self._closed:
                raise StoreUnavailableError("the store is closed")
            self._queue.put(request)
        answer: T = request.answer.result()
        return answer

    def close(self) -> None:
        """Write what is queued and end the thread. Safe to repeat."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while batch := self._next_batch():
            self._write(batch)
            for request in batch:
                request.settle()

    def _next_batch(self) -> list[_Request]:
        batch: list[_Request] = []
        request = self._queue.get()
        while request is not None:
            batch.append(request)
            try:
                request = self._queue.get_nowait() if len(batch) < BATCH_MAX else None
            except Empty:
                return batch
        if batch and len(batch) < BATCH_MAX:
            self._queue.put(None)  # It was the end: it is read again when this batch is written.
        return batch

    def _write(self, batch: list[_Request]) -> None:
        try:
            self._check()
            self._transact(batch)
        except Exception as error:  # noqa: BLE001 - carried to the callers, who raise it; the thread must live
            for request in batch:
                request.error = _shared(error)

    def _transact(self, batch: list[_Request]) -> None:
        with self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            with connection.begin():
                for request in batch:
                    _attempt(connection, raw, request)
                if not raw.in_transaction:
                    raise _SpoiltError


def _attempt(connection: Connection, raw: sqlite3.Connection, request: _Request) -> None:
    raw.execute("SAVEPOINT request")
    try:
        request.value = request.work(connection)
    except Exception as error:
        if not raw.in_transaction:
            raise
        # The caller raises it; the others go on.
        raw.execute("ROLLBACK TO request")
        request.error = translated(error) if isinstance(error, SQLAlchemyError) else error
    raw.execute("RELEASE request")


def _shared(error: Exception) -> Exception:
    # Every caller gets an error of its own: a traceback belongs to one thread.
    match error:
        case SQLAlchemyError():
            return translated(error)
        case StoreError():
            return type(error)(*error.args)
        case sqlite3.Error() | _SpoiltError():
            return StoreUnavailableError(f"the database rolled the transaction back: {error}")
        case _:
            return error
