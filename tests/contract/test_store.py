"""The store's contract on every implementation."""

from collections.abc import Iterator

import pytest

from engine.ports.store import Store
from engine.store import open_store
from tests.contract.store_contract import StoreContract
from tests.model.model_store import ModelStore


class TestModelStore(StoreContract):
    """The naive one, with which the others are compared elsewhere."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store."""
        return ModelStore()


class TestSqlite(StoreContract):
    """A file on disk."""

    @pytest.fixture
    def store(self, sqlite_url: str) -> Iterator[Store]:
        """An empty store."""
        opened = open_store(sqlite_url)
        yield opened
        opened.close()


@pytest.mark.postgres
class TestPostgres(StoreContract):
    """A real server."""

    @pytest.fixture
    def store(self, postgres_url: str) -> Iterator[Store]:
        """An empty store."""
        opened = open_store(postgres_url)
        yield opened
        opened.close()
