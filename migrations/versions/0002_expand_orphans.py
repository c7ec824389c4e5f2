"""Orphans: devices with a tag of ours that nobody owns.

Phase: expand. A program of before leaves the table alone. It imports nothing of the program: it must do the same for
ever.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
INSTANT = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "orphans",
        *[_word(name) for name in ("device_id", "account", "uid", "hostname", "plan", "region")],
        sa.Column("price_per_hour", sa.Double(), nullable=True),
        _word("reason"),
        *[sa.Column(name, INSTANT, nullable=False) for name in ("first_seen_at", "last_seen_at")],
        sa.Column("sightings", sa.BigInteger(), nullable=False, autoincrement=False),
        _word("state"),
        *[sa.Column(name, INSTANT, nullable=True) for name in ("intended_at", "accepted_at", "gone_at")],
        sa.PrimaryKeyConstraint("device_id", name="pk_orphans"),
    )


def _word(name: str) -> sa.Column[Any]:
    return sa.Column(name, TEXT, nullable=False)
