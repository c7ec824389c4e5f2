"""The store port over SQLAlchemy Core: SQLite for one controller, Postgres for many.

From the outside in: `opening` → `sql` → `gate` (`writer`, `faults`, `guard`) → `statements`, `mapping` → `schema`.
"""

from engine.store.opening import check, open_store, upgrade
from engine.store.sql import SqlStore

__all__ = ["SqlStore", "check", "open_store", "upgrade"]
