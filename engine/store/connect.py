"""From a URL to engines with the right settings. The traps behind each setting were measured."""

import sqlite3
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from engine.errors import ConfigurationError, StoreUnfitError

BUSY_MILLISECONDS: Final = 5_000  # how long another program, such as a backup, may hold the file
READERS_MAX: Final = 16
WAL_BYTES_KEPT: Final = 64 * 1024 * 1024
POOL_WAIT_SECONDS: Final = 10.0
_EXAMPLES: Final = "write sqlite:///path/to/file.db or postgresql://user@host/database"


def parse(url: str) -> URL:
    """Answer the parsed URL; raises ConfigurationError unless it names a durable database that we support."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(f"the database URL cannot be read; {_EXAMPLES}") from error
    match parsed.get_backend_name():
        case "sqlite":
            if not parsed.database or ":memory:" in parsed.database or parsed.database.startswith("file:"):
                raise ConfigurationError(f"a database in memory is not durable; {_EXAMPLES}")
            return parsed
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ConfigurationError(f"{other} is not a supported database; {_EXAMPLES}")


def is_sqlite(url: URL) -> bool:
    """Whether the URL names an SQLite file."""
    return url.get_backend_name() == "sqlite"


def file_of(url: URL) -> Path:
    """Answer the path of an SQLite database."""
    return Path(url.database or "").absolute()


def sqlite_writer(url: URL, *, foreign_keys: bool = True) -> Engine:
    """Answer an engine with one connection, whose transactions hold the write lock from their first moment.

    A transaction that begins as a reader and writes later fails at once when somebody wrote in between, whatever the
    busy timeout says; hence BEGIN IMMEDIATE.
    """
    path, engine = file_of(url), _sqlite(url, mode="rwc", pool_size=1, max_overflow=0)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise StoreUnfitError(f"{path}: SQLite cannot keep a write-ahead log here ({mode}); use a local disk")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES_KEPT}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def sqlite_readers(url: URL) -> Engine:
    """Answer an engine that cannot write; a single statement is its own snapshot, so it begins no transactions."""
    return _sqlite(url, mode="ro", pool_size=READERS_MAX, max_overflow=0, pool_timeout=POOL_WAIT_SECONDS)


def postgres(url: URL, *, connections: int, readonly: bool = False) -> Engine:
    """Answer an engine whose connections are tested before use and never wait for ever."""
    settings = {
        "timezone": "UTC",
        "statement_timeout": "15000",
        "lock_timeout": "5000",
        "idle_in_transaction_session_timeout": "30000",
        "default_transaction_read_only": "on" if readonly else "off",
    }
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_recycle=1_800,  # below the idle limits of the usual proxies
        connect_args={
            "connect_timeout": 5,
            "application_name": "machine-engine",
            "keepalives_idle": 30,
            "tcp_user_timeout": 20_000,
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )


def for_upgrade(url: URL) -> Engine:
    """Answer an engine that may change tables."""
    if is_sqlite(url):
        # A table that is rebuilt is dropped on the way, which must not count as deleting its rows.
        return sqlite_writer(url, foreign_keys=False)
    return postgres(url, connections=1)


def for_reading(url: URL) -> Engine:
    """Answer an engine that cannot write."""
    return sqlite_readers(url) if is_sqlite(url) else postgres(url, connections=READERS_MAX, readonly=True)


def _sqlite(url: URL, *, mode: str, **pool: Any) -> Engine:
    # The layer below SQLite that reads and writes files, when the URL names one; it must be known to SQLite by then.
    layer = "".join(f"&vfs={quote(name)}" for name in url.normalized_query.get("vfs", ())[-1:])
    address = f"{file_of(url).as_uri()}?mode={mode}{layer}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            address, uri=True, timeout=BUSY_MILLISECONDS / 1000, isolation_level=None, check_same_thread=False
        )

    return create_engine("sqlite://", creator=connect, poolclass=QueuePool, **pool)
