"""The first schema: machines, history, intents, reservations, devices and leases.

Phase: expand. It imports nothing of the program: it must do the same for ever. Nothing leads back: who must return to an
older program returns before the contracting revision, or restores a backup.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
INSTANT = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
UNFINISHED = "state != 'Deleted'"


def upgrade() -> None:
    _machines()
    _transitions()
    _intents()
    _ledgers()
    _indexes()
    for statement in {"sqlite": SQLITE, "postgresql": POSTGRES}[op.get_bind().dialect.name]:
        op.execute(statement)


def _word(name: str) -> sa.Column[Any]:
    return sa.Column(name, TEXT, nullable=False)


def _maybe(name: str) -> sa.Column[Any]:
    return sa.Column(name, TEXT, nullable=True)


def _at(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, INSTANT, nullable=nullable)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _of_machine(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["uid"], ["machines.uid"], name=f"fk_{table}_uid_machines")


def _machines() -> None:
    op.create_table(
        "machines",
        *[_word(name) for name in ("uid", "namespace", "name", "state", "step")],
        _number("version"),
        *[_at(name) for name in ("created_at", "admitted_at", "place_since", "operation_at")],
        *[_word(name) for name in ("class_name", "secret_name", "provider")],
        sa.Column("taken_over", sa.Boolean(), nullable=False),
        _maybe("device_id"),
        _word("provider_id"),
        _word("node_name"),
        _at("joined_at", nullable=True),
        _maybe("problem_code"),
        _maybe("problem_message"),
        _number("attempts"),
        _at("retry_at", nullable=True),
        _word("inputs"),
        _number("orders"),
        *[_word(name) for name in ("reservations_tried", "releases", "addresses", "conditions")],
        _at("due_at", nullable=True),
        _word("retry_mark"),
        _maybe("claimed_by"),
        _at("claimed_until", nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        _key("machines", "uid"),
    )


def _transitions() -> None:
    op.create_table(
        "transitions",
        _word("uid"),
        _number("version"),
        _at("at"),
        _word("trigger"),
        _maybe("source_state"),
        _maybe("source_step"),
        *[_word(name) for name in ("target_state", "target_step", "note")],
        _maybe("problem_code"),
        _maybe("problem_message"),
        _word("actor"),
        _maybe("device_id"),
        _maybe("intent_id"),
        _key("transitions", "uid", "version"),
        _of_machine("transitions"),
        sqlite_with_rowid=False,
    )


def _intents() -> None:
    op.create_table(
        "intents",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), nullable=False),
        *[_word(name) for name in ("intent_id", "uid", "kind")],
        _at("written_at"),
        _maybe("device_id"),
        _maybe("reservation_id"),
        _word("details"),
        _maybe("result"),
        _at("resolved_at", nullable=True),
        _maybe("problem_code"),
        _maybe("problem_message"),
        _key("intents", "seq"),
        _of_machine("intents"),
        sa.UniqueConstraint("intent_id", name="uq_intents_intent_id"),
    )


def _ledgers() -> None:
    op.create_table(
        "reservations",
        _word("reservation_id"),
        _word("uid"),
        _at("held_at"),
        _at("freed_at", nullable=True),
        _key("reservations", "reservation_id"),
    )
    op.create_table(
        "devices",
        _word("account"),
        _word("device_id"),
        _maybe("uid"),
        *[_word(name) for name in ("provider_id", "hostname", "state", "state_text", "tags", "region", "plan")],
        _at("created_at", nullable=True),
        _maybe("reservation_id"),
        _word("addresses"),
        _at("first_seen_at"),
        _at("last_seen_at"),
        _at("gone_at", nullable=True),
        _key("devices", "account", "device_id"),
    )
    op.create_table(
        "leases",
        _word("name"),
        _word("holder"),
        _number("epoch"),
        _at("expires_at", nullable=True),
        _key("leases", "name"),
    )


def _indexes() -> None:
    _partial("ix_machines_waiting", ["due_at", "uid"], f"{UNFINISHED} AND claimed_by IS NULL AND due_at IS NOT NULL")
    _partial("ix_machines_claimed", ["claimed_until"], f"{UNFINISHED} AND claimed_by IS NOT NULL")
    _partial("ix_machines_finished", ["place_since", "uid"], "state = 'Deleted'")
    op.create_index("ix_machines_name", "machines", ["namespace", "name", "admitted_at"])
    op.create_index("ix_transitions_at", "transitions", ["at", "uid", "version"])
    op.create_index("ix_transitions_trigger", "transitions", ["trigger", "at", "uid", "version"])
    op.create_index("ix_intents_uid", "intents", ["uid", "seq"])


def _partial(name: str, columns: list[str], predicate: str) -> None:
    where = sa.text(predicate)
    op.create_index(name, "machines", columns, sqlite_where=where, postgresql_where=where)


SQLITE = (
    """\
CREATE TRIGGER transitions_never_change BEFORE UPDATE ON transitions
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END""",
    """\
CREATE TRIGGER transitions_stay BEFORE DELETE ON transitions
WHEN (SELECT state FROM machines WHERE uid = OLD.uid) <> 'Deleted'
BEGIN SELECT RAISE(ABORT, 'history of an unfinished machine stays'); END""",
)
POSTGRES = (
    """\
CREATE FUNCTION transitions_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF NOT EXISTS (SELECT 1 FROM machines WHERE uid = OLD.uid AND state <> 'Deleted') THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'history is append-only';
END $$""",
    """\
CREATE TRIGGER transitions_never_change BEFORE UPDATE ON transitions
FOR EACH ROW EXECUTE FUNCTION transitions_refuse()""",
    """\
CREATE TRIGGER transitions_stay BEFORE DELETE ON transitions
FOR EACH ROW EXECUTE FUNCTION transitions_refuse()""",
    """\
CREATE TRIGGER transitions_never_empty BEFORE TRUNCATE ON transitions
FOR EACH STATEMENT EXECUTE FUNCTION transitions_refuse()""",
)
