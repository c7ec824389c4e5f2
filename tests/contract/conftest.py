"""Real databases for the contract suites."""

from tests.contract.stores import (
    empty_postgres_url,
    postgres_server,
    postgres_url,
    sqlite_url,
)

__all__ = ["empty_postgres_url", "postgres_server", "postgres_url", "sqlite_url"]
