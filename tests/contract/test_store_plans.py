"""The statements that run all day read an index: a partial one is used only if its predicate is repeated literally."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.dialects import sqlite

from engine.domain.ids import MachineUid
from engine.ports.store import HistoryFilter
from engine.store import SqlStore, open_store, statements
from tests.contract.store_records import START, admitted

WINDOW = HistoryFilter(since=START, until=START)
TROUBLE = frozenset({"device-lost", "device-failed"})
CASES = [
    pytest.param(statements.DUE, "ix_machines_waiting", id="due"),
    pytest.param(statements.REAP, "ix_machines_claimed", id="reap"),
    pytest.param(statements.ENDED, "ix_machines_finished", id="prune"),
    pytest.param(statements.INTENTS, "ix_intents_uid", id="intents"),
    pytest.param(statements.history(WINDOW), "ix_transitions_at", id="history of the fleet"),
    pytest.param(statements.history(HistoryFilter(triggers=TROUBLE)), "ix_transitions_trigger", id="by trigger"),
    pytest.param(statements.history(HistoryFilter(uid=MachineUid("u"))), "PRIMARY KEY", id="history of a machine"),
]


@pytest.fixture
def store(sqlite_url: str) -> Iterator[SqlStore]:
    """A store with a machine."""
    opened = open_store(sqlite_url)
    admitted(opened)
    yield opened
    opened.close()


@pytest.mark.parametrize(("statement", "index"), CASES)
def test_statement_reads_its_index(store: SqlStore, statement: Any, index: str) -> None:
    """SQLite's plan names the index and reads no whole table."""
    compiled = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"render_postcompile": True})
    query = str(compiled).replace("?", "'2026'")

    def explain(connection: Connection) -> list[str]:
        return [str(row.detail) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))]

    plan = store._gate.read(explain)

    assert any(index in line for line in plan), plan
    assert not any(line in {"SCAN machines", "SCAN transitions", "SCAN intents"} for line in plan), plan
