"""Fixtures of real databases; a conftest takes what it needs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract import postgres


@pytest.fixture(scope="session")
def postgres_server() -> postgres.PostgresServer:
    """A real Postgres; without one the test is skipped, and fails where CI is true."""
    try:
        return postgres.server()
    except postgres.PostgresMissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def postgres_url(postgres_server: postgres.PostgresServer) -> Iterator[str]:
    """A fresh database with our tables."""
    with postgres_server.database(postgres_server.template) as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: postgres.PostgresServer) -> Iterator[str]:
    """A fresh database without any table."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'engine.db'}"
