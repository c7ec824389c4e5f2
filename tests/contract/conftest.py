"""Contract suites are shared code: their assertions explain themselves, and real databases are at hand."""

import pytest

for part in ("", "_history", "_ledger"):
    pytest.register_assert_rewrite(f"tests.contract.store{part}_contract")

from tests.contract.stores import (  # noqa: E402 - after the line above, which must come first
    empty_postgres_url,
    postgres_server,
    postgres_url,
    sqlite_url,
)

__all__ = ["empty_postgres_url", "postgres_server", "postgres_url", "sqlite_url"]
