"""The doors to the store: open it, check it, upgrade it. Everything else in this package is behind them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import URL, Connection

from engine.clock import Clock, SystemClock
from engine.errors import StoreUnfitError
from engine.store import connect, guard
from engine.store import upgrade as migration
from engine.store.faults import translating
from engine.store.gate import Gate, PostgresGate, ReadingGate, SqliteGate
from engine.store.sql import SqlStore

CONNECTIONS_DEFAULT: Final = 18  # Postgres: sixteen workers, a job, and a page that is being read
_SQLITE_MIN: Final = (3, 35, 0)  # the first with RETURNING


def open_store(
    url: str, *, readonly: bool = False, connections: int = CONNECTIONS_DEFAULT, clock: Clock | None = None
) -> SqlStore:
    """Answer the store at the URL, upgraded to this program's tables.

    `readonly` changes nothing, needs no lock, and works beside a running controller. Raises ConfigurationError for a
    URL that cannot serve, StoreUnfitError for a database that must not be used, StoreUnavailableError when it does not
    answer.
    """
    place = connect.parse(url)
    if readonly:
        return SqlStore(_reading(place))
    if connect.is_sqlite(place):
        return SqlStore(_sqlite(place, clock or SystemClock()))
    return SqlStore(_postgres(place, clock or SystemClock(), connections))


def upgrade(url: str, *, clock: Clock | None = None) -> None:
    """Bring the database to this program's tables, and close it; a running controller's SQLite file is refused."""
    open_store(url, connections=1, clock=clock).close()


def check(url: str) -> list[str]:
    """Answer what is known of the database, a line each; what deserves attention begins with "warning: ".

    Changes nothing. Raises StoreUnfitError when the database must not be used, with the reason.
    """
    place = connect.parse(url)
    with _looking(place) as connection:
        found, needed = migration.revision_of(connection), migration.head()
        migration.refuse_newer(found)
        lines = [f"database: {place.render_as_string(hide_password=True)}"]
        if found == needed:
            lines.append(f"revision: {found}, as this program needs")
        else:
            lines.append(f"warning: revision {found or 'none'} is older than {needed}; the next start upgrades it")
        return lines + (_sqlite_lines(connection) if connect.is_sqlite(place) else _postgres_lines(connection))


def _sqlite(place: URL, clock: Clock) -> Gate:
    if sqlite3.sqlite_version_info < _SQLITE_MIN:
        raise StoreUnfitError(f"SQLite {sqlite3.sqlite_version} is too old; install 3.35 or newer, or use Postgres")
    path = connect.file_of(place)
    guard.inspect(path)
    lock = guard.FileGuard(path)
    try:
        _bring_up(place, clock)
        lock.remember()
        return SqliteGate(writer=connect.sqlite_writer(place), readers=connect.sqlite_readers(place), guard=lock)
    except BaseException:
        lock.release()
        raise


def _postgres(place: URL, clock: Clock, connections: int) -> Gate:
    _bring_up(place, clock)
    return PostgresGate(connect.postgres(place, connections=connections))


def _reading(place: URL) -> Gate:
    _require_file(place)
    gate = ReadingGate(connect.for_reading(place))
    try:
        gate.read(migration.require_current)
    except BaseException:
        gate.close()
        raise
    return gate


def _bring_up(place: URL, clock: Clock) -> None:
    engine = connect.for_upgrade(place)
    try:
        with translating():
            migration.bring_up(engine, clock)
    finally:
        engine.dispose()


@contextmanager
def _looking(place: URL) -> Iterator[Connection]:
    _require_file(place)
    engine = connect.for_reading(place)
    try:
        with translating(), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _require_file(place: URL) -> None:
    if connect.is_sqlite(place):
        path = connect.file_of(place)
        if not path.is_file():
            raise StoreUnfitError(f"there is no database at {path}; start the controller once, or name another file")
        guard.refuse_network(path)


def _sqlite_lines(connection: Connection) -> list[str]:
    found = [str(line) for line in connection.exec_driver_sql("PRAGMA quick_check(5)").scalars()]
    if found != ["ok"]:
        raise StoreUnfitError(f"the database file is damaged ({'; '.join(found)}); restore it from a backup")
    lines = ["integrity: ok"]
    version = sqlite3.sqlite_version_info
    if _has_reset_bug(version):
        lines.append(
            f"warning: SQLite {sqlite3.sqlite_version} can damage a file that several processes write (fixed in"
            " 3.51.3); this program writes with one connection, so let nothing else write to the file"
        )
    else:
        lines.append(f"SQLite: {sqlite3.sqlite_version}")
    return lines


def _has_reset_bug(version: tuple[int, ...]) -> bool:
    repaired = {(3, 44): 6, (3, 50): 7}.get((version[0], version[1]))
    return version < (3, 51, 3) and (repaired is None or version[2] < repaired)


def _postgres_lines(connection: Connection) -> list[str]:
    version = connection.exec_driver_sql("SHOW server_version").scalar_one()
    lines = [f"Postgres: {version}"]
    if connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "off":
        lines.append("warning: synchronous_commit is off: a crash of the server loses acknowledged changes; turn it on")
    return lines
