"""Migrations are code: they lead where the program's tables are, with rows in place, and never backwards."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from engine.domain.ids import MachineUid
from engine.domain.machine import MachineFilter
from engine.errors import StoreError, StoreUnfitError
from engine.ports.store import Store
from engine.resources import migrations_path
from engine.store import check, open_store, upgrade
from engine.store.upgrade import head, known_revisions
from tests.contract.postgres import PostgresServer
from tests.contract.store_records import (
    ACCOUNT,
    SPAN,
    START,
    admitted,
    claimed,
    finished,
    intent,
    moved,
    observed,
    orphan,
)
from tests.migrations.tables import create_from_metadata, described, run_sql

NAME = re.compile(r"\d{4}_(expand|contract)_[a-z0-9_]+\.py")
HALF = f"""
from alembic import op
revision, down_revision = "9000", "{head()}"
def upgrade():
    op.execute("CREATE TABLE half (done TEXT)")
    op.execute("SELEKT 1")
"""
UPGRADE = "import sys; from engine.store import upgrade; upgrade(sys.argv[1])"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """A database without any table, on each system."""
    name = {"sqlite": "sqlite_url", "postgres": "empty_postgres_url"}[request.param]
    found: str = request.getfixturevalue(name)
    return found


def test_revisions_are_one_line_of_well_named_files() -> None:
    """There is one head, and every file is named for its number, its phase and its content."""
    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())

    assert len(ScriptDirectory.from_config(config).get_heads()) == 1
    assert [script.revision for script in scripts] == [f"{n:04}" for n in range(len(scripts), 0, -1)]
    for script in scripts:
        path = Path(script.path)
        assert NAME.fullmatch(path.name), path.name
        assert path.name.startswith(script.revision)
        phase = path.name.split("_")[1]
        assert f"Phase: {phase}" in script.longdoc, f"{path.name} does not say its phase"


def test_upgraded_sqlite_equals_the_metadata(tmp_path: Path) -> None:
    """The text of every table, index and trigger is the same on both ways."""
    ways = [f"sqlite:///{tmp_path / name}" for name in ("upgraded.db", "created.db")]
    upgrade(ways[0])
    create_from_metadata(ways[1])

    lines = [plain(line) for line in described(ways[0])]
    assert lines == [plain(line) for line in described(ways[1])]
    assert any("transitions_never_change" in line for line in lines)


@pytest.mark.postgres
def test_upgraded_postgres_equals_the_metadata(postgres_server: PostgresServer) -> None:
    """Columns, constraints, indexes, triggers and functions are the same on both ways."""
    with postgres_server.database() as upgraded, postgres_server.database() as created:
        upgrade(upgraded)
        create_from_metadata(created)

        assert described(upgraded) == described(created)
        assert any("transitions_never_change" in line for line in described(upgraded))


def test_every_revision_runs_with_rows(url: str) -> None:
    """A database that is full of rows is opened again and again without a change."""
    store = open_store(url)
    uid = filled(store)
    records = list(store.find(MachineFilter()))
    store.close()
    before = described(url)

    for _ in range(2):
        upgrade(url)
    store = open_store(url)

    assert list(store.find(MachineFilter())) == records
    assert list(store.intents(uid)) == [intent(uid)]
    assert described(url) == before
    store.close()


def test_newer_database_is_refused(url: str) -> None:
    """A program that does not know the database's revision says so, and what to do; it changes nothing."""
    upgrade(url)
    run_sql(url, "UPDATE alembic_version SET version_num = '9999'")

    for attempt in (upgrade, open_store, check, lambda place: open_store(place, readonly=True)):
        with pytest.raises(StoreUnfitError, match=r"revision 9999, this program knows .* newer program"):
            attempt(url)


def test_older_database_is_not_read(url: str) -> None:
    """A reader does not migrate: it says what to do."""
    upgrade(url)
    run_sql(url, "DELETE FROM alembic_version")

    with pytest.raises(StoreUnfitError, match="at revision none, this program needs"):
        open_store(url, readonly=True)
    assert any(line.startswith("warning: revision none is older") for line in check(url))


def test_foreign_database_is_refused(url: str) -> None:
    """Tables of the same names that somebody else made are left alone."""
    run_sql(url, "CREATE TABLE machines (serial TEXT)")

    with pytest.raises(StoreUnfitError, match="other origin"):
        open_store(url)


def test_failed_upgrade_changes_nothing(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision that fails half-way leaves the tables and the revision of before, and the next try can succeed."""
    store = open_store(url)
    admitted(store)
    store.close()
    before = described(url)
    scripts = tmp_path / "migrations"
    shutil.copytree(migrations_path(), scripts)
    (scripts / "versions" / "9000_expand_half.py").write_text(HALF)
    monkeypatch.setattr(sys.modules[head.__module__], "migrations_path", lambda: scripts)

    with pytest.raises(StoreError):
        upgrade(url)
    assert described(url) == before

    (scripts / "versions" / "9000_expand_half.py").write_text(HALF.replace("SELEKT", "SELECT"))
    upgrade(url)
    assert any("half" in line for line in described(url))
    store = open_store(url)
    assert len(store.find(MachineFilter())) == 1
    store.close()


def test_two_processes_upgrade_at_once(url: str) -> None:
    """The result is one good database, whoever came first; on SQLite the second may be told to wait its turn."""
    command = [sys.executable, "-c", UPGRADE, url]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    results = [(process.communicate(timeout=60)[1], process.returncode) for process in started]

    for said, code in results:
        assert code == 0 or ("in use by another controller" in said and url.startswith("sqlite")), said
    assert any(code == 0 for _, code in results)
    assert any(line.startswith(f"revision: {head()}") for line in check(url))


def test_check_tells_what_is_known(url: str) -> None:
    """A good database has its revision and its system's version in the report."""
    upgrade(url)

    lines = "\n".join(check(url))

    assert f"revision: {known_revisions()[0]}, as this program needs" in lines
    assert "SQLite" in lines or "Postgres" in lines


def plain(line: str) -> str:
    return " ".join(line.replace("\n", " ").split())


def filled(store: Store) -> MachineUid:
    finished(store, 1)
    uid = admitted(store, 2).uid
    claim = claimed(store, 2)
    store.commit(claim=claim, commit=moved(claim, opened=[intent(uid)]), span=SPAN, now=START)
    store.record_devices(account=ACCOUNT, seen=[observed()], gone=[], at=START)
    store.record_orphans(seen=[orphan()])
    store.hold_reservation(uid=uid, wanted=["r"], now=START, cooldown=SPAN)
    return uid
