"""Contract suites are shared code: their assertions explain themselves, and real databases are at hand."""

import pytest

pytest.register_assert_rewrite("tests.contract.store_contract")

from tests.contract.stores import (  # noqa: E402 - after the line above, which must come first
    empty_postgres_url,
    postgres_server,
    postgres_url,
    sqlite_url,
)

__all__ = ["empty_postgres_url", "postgres_server", "postgres_url", "sqlite_url"]
