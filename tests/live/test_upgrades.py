"""The database is older or newer than the program, while Machines are on their way."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from engine.resources import migrations_path
from engine.simulators.metal import FaultKind, FaultRule, Operation
from tests.acceptance.programs import ControllerProcess, eventually
from tests.live.stage import LiveStage, stories_of

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(180)]

OLDEST = "0001"
NEWER = "9999"
REFUSED = 2


def file_of(controller: ControllerProcess) -> Path:
    """The file of its database."""
    return Path(controller.database.removeprefix("sqlite:///"))


def empty_database(path: Path, revision: str) -> None:
    """There is a database of this revision at the path, made by the migrations and by nothing else."""
    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def grow_older(path: Path, revision: str) -> None:
    """The database is of this revision, with every row that it has a table for."""
    older = path.with_suffix(".older")
    empty_database(older, revision)
    with closing(sqlite3.connect(older)) as connection, connection:
        connection.execute("ATTACH ? AS newer", (str(path),))
        for table in _tables(connection):
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
            # Both names come from the database itself.
            connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM newer.{table}")  # noqa: S608
    for each in path.parent.glob(f"{path.name}-*"):
        each.unlink()
    older.rename(path)


def test_f20_older_database_is_upgraded_in_mid_flight(stage: LiveStage) -> None:
    """With a database of the first revision, Machines that stay, come and go are taken on where they stood."""
    controller = stage.controller().start()
    stage.make_machines("stays-1", "goes-1")
    stage.await_phase("Running", "stays-1", "goes-1")
    stage.metal.faults.add(FaultRule(kind=FaultKind.SLOW, operation=Operation.CREATE, seconds=0.5))
    stage.make_machines("comes-1", "comes-2")
    eventually(lambda: stage.metal.journal.calls[Operation.CREATE] >= 4)
    controller.kill()
    stage.delete_machines("goes-1")
    before = stories_of(controller.database)
    grow_older(file_of(controller), OLDEST)

    controller.start()

    stage.await_phase("Running", "stays-1", "comes-1", "comes-2")
    stage.await_gone("goes-1")
    assert len(stage.metal.history()) == 4
    assert not before - stories_of(controller.database)  # Every line of history is still there.
    stage.balance(controller)


def test_f20_newer_database_is_refused_in_words(stage: LiveStage) -> None:
    """A program that meets a database of a newer one says so, touches nothing, and leaves the work to the newer."""
    controller = stage.controller().start()
    stage.make_machines("stays-1")
    stage.await_phase("Running", "stays-1")
    controller.kill()
    path, revision = file_of(controller), _revision(file_of(controller))
    _set_revision(path, NEWER)
    stage.make_machines("comes-1")
    calls = stage.metal.journal.calls.total()

    controller.start(ready=False)

    assert controller.exit_code() == REFUSED
    assert f"the database is at revision {NEWER}" in controller.told()
    assert "run that one, or restore the backup from before the upgrade" in controller.told()
    assert "Traceback" not in controller.told()
    assert stage.metal.journal.calls.total() == calls
    assert stage.phases()["stays-1"] == "Running"
    _set_revision(path, revision)
    controller.start()
    stage.await_phase("Running", "stays-1", "comes-1")
    stage.balance(controller)


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
    names = [row[0] for row in found if not row[0].startswith(("alembic", "sqlite"))]
    # A row may refer to a machine, so machines come first.
    return sorted(names, key=lambda name: (name != "machines", name))


def _revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        found: str = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        return found


def _set_revision(path: Path, revision: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
