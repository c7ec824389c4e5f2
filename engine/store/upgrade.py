"""Brings a database to the tables of this program, and refuses one that is newer than the program.

Every start does it, in one transaction under a lock: on Postgres an advisory lock that ends with the transaction, on
SQLite the write lock. The advisory lock is polled, because who waits inside Postgres holds a snapshot, and an index
that is built concurrently would wait for that in turn.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from engine.clock import Clock
from engine.errors import StoreUnavailableError, StoreUnfitError
from engine.resources import migrations_path

_LOCK: Final = 0x6D61_6368_696E_6531  # any number that no other program uses: "machine1" in ASCII
_POLL: Final = timedelta(milliseconds=200)
_POLLS_MAX: Final = 600  # two minutes: as long as another replica may take to upgrade


def bring_up(engine: Engine, clock: Clock) -> None:
    """Upgrade to this program's revision, or raise StoreUnfitError when the database is newer."""
    for _ in range(_POLLS_MAX):
        if _try(engine):
            return
        clock.sleep(_POLL)
    raise StoreUnavailableError("another replica has been upgrading the database for two minutes; look at its log")


def require_current(connection: Connection) -> None:
    """Raise StoreUnfitError unless the database has exactly this program's revision."""
    found = revision_of(connection)
    refuse_newer(found)
    if found != head():
        raise StoreUnfitError(
            f"the database is at revision {found or 'none'}, this program needs {head()}; start the controller or run"
            " `machine-engine db upgrade`"
        )


def refuse_newer(found: str | None) -> None:
    """Raise StoreUnfitError when this program does not know the revision."""
    if found is not None and found not in known_revisions():
        raise StoreUnfitError(
            f"the database is at revision {found}, this program knows revisions up to {head()}: a newer program has"
            " upgraded it; run that one, or restore the backup from before the upgrade"
        )


def revision_of(connection: Connection) -> str | None:
    """Answer the revision of the database, None for one without our tables."""
    heads = MigrationContext.configure(connection).get_current_heads()
    if len(heads) > 1:
        raise StoreUnfitError(f"the database claims several revisions ({', '.join(sorted(heads))}); restore a backup")
    return heads[0] if heads else None


def head() -> str:
    """Answer the revision that this program needs."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    return newest


def known_revisions() -> Sequence[str]:
    """Answer every revision that this program knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _try(engine: Engine) -> bool:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            locked = connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK})
            if not locked:
                return False
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        found = revision_of(connection)
        refuse_newer(found)
        if found is None:
            _refuse_foreign(connection)
        if found != head():
            _migrate(connection)
    return True


def _refuse_foreign(connection: Connection) -> None:
    ours = {"machines", "transitions"} & set(inspect(connection).get_table_names())
    if ours:
        raise StoreUnfitError(
            f"the database holds tables of other origin ({', '.join(sorted(ours))}) and no revision; name another one"
        )


def _migrate(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise StoreUnfitError("the upgrade would leave rows without their machine; nothing was changed; report this")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
