"""The tables, as the newest migration leaves them. No statements, no records.

Instants are `timestamptz` on Postgres and fixed-width ISO text on SQLite, so that they compare and read alike. Text is
ordered byte by byte on both. `DEAD` stands literally in the SQL: a partial index is used only if its predicate is
repeated word for word.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from engine.domain.states import State

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
METADATA = sa.MetaData(naming_convention=NAMES)
DEAD: sa.ColumnElement[str] = sa.literal_column(f"'{State.DELETED}'")


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant with microseconds, whatever the database."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Answer the type that stores it."""
        kind: TypeEngine[datetime] = (
            sa.TIMESTAMP(timezone=True) if dialect.name == "postgresql" else sa.Text()  # type: ignore[assignment]
        )
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """Answer what the driver takes. A naive instant is refused: nobody knows what it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"instant {value} has no time zone")
        instant = value.astimezone(UTC)
        return instant if dialect.name == "postgresql" else instant.isoformat(timespec="microseconds")

    def process_result_value(self, value: datetime | str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the signature is SQLAlchemy's
        """Answer the instant in UTC."""
        if value is None:
            return None
        return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


def _text() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _word(name: str, *, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, _text(), primary_key=primary_key, nullable=False)


def _maybe(name: str) -> sa.Column[str]:
    return sa.Column(name, _text(), nullable=True)


def _at(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, Instant(), nullable=nullable)


def _number(name: str, *, primary_key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), primary_key=primary_key, nullable=False, autoincrement=False)


def _of_machine() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["uid"], ["machines.uid"])


machines = sa.Table(
    "machines",
    METADATA,
    _word("uid", primary_key=True),
    _word("namespace"),
    _word("name"),
    _word("state"),
    _word("step"),
    _number("version"),
    _at("created_at"),
    _at("admitted_at"),
    _at("place_since"),
    _at("operation_at"),
    _word("class_name"),
    _word("secret_name"),
    _word("provider"),
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
    _word("reservations_tried"),
    _word("releases"),
    _word("addresses"),
    _word("conditions"),
    _at("due_at", nullable=True),
    _word("retry_mark"),
    _maybe("claimed_by"),
    _at("claimed_until", nullable=True),
    sa.Column("fence", sa.BigInteger(), nullable=False, server_default="0"),
)
"""One row a machine; who claims it stands beside it."""

transitions = sa.Table(
    "transitions",
    METADATA,
    _word("uid", primary_key=True),
    _number("version", primary_key=True),
    _at("at"),
    _word("trigger"),
    _maybe("source_state"),
    _maybe("source_step"),
    _word("target_state"),
    _word("target_step"),
    _word("note"),
    _maybe("problem_code"),
    _maybe("problem_message"),
    _word("actor"),
    _maybe("device_id"),
    _maybe("intent_id"),
    _of_machine(),
    sqlite_with_rowid=False,
)
"""The history: rows are added, and leave only with a finished machine; triggers of the database see to it."""

intents = sa.Table(
    "intents",
    METADATA,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True),
    _word("intent_id"),
    _word("uid"),
    _word("kind"),
    _at("written_at"),
    _maybe("device_id"),
    _maybe("reservation_id"),
    _word("details"),
    _maybe("result"),
    _at("resolved_at", nullable=True),
    _maybe("problem_code"),
    _maybe("problem_message"),
    _of_machine(),
    sa.UniqueConstraint("intent_id"),
)
"""What was meant, and what became of it, in the order of writing."""

reservations = sa.Table(
    "reservations",
    METADATA,
    _word("reservation_id", primary_key=True),
    _word("uid"),
    _at("held_at"),
    _at("freed_at", nullable=True),
)

devices = sa.Table(
    "devices",
    METADATA,
    _word("account", primary_key=True),
    _word("device_id", primary_key=True),
    _maybe("uid"),
    _word("provider_id"),
    _word("hostname"),
    _word("state"),
    _word("state_text"),
    _word("tags"),
    _word("region"),
    _word("plan"),
    _at("created_at", nullable=True),
    _maybe("reservation_id"),
    _word("addresses"),
    _at("first_seen_at"),
    _at("last_seen_at"),
    _at("gone_at", nullable=True),
)

orphans = sa.Table(
    "orphans",
    METADATA,
    _word("device_id", primary_key=True),
    _word("account"),
    _word("uid"),
    _word("hostname"),
    _word("plan"),
    _word("region"),
    sa.Column("price_per_hour", sa.Double(), nullable=True),
    _word("reason"),
    _at("first_seen_at"),
    _at("last_seen_at"),
    _number("sightings"),
    _word("state"),
    _at("intended_at", nullable=True),
    _at("accepted_at", nullable=True),
    _at("gone_at", nullable=True),
)
"""Devices with a tag of ours that nobody owns."""

leases = sa.Table(
    "leases",
    METADATA,
    _word("name", primary_key=True),
    _word("holder"),
    _number("epoch"),
    _at("expires_at", nullable=True),
)


def _partial(name: str, *columns: sa.Column[object], where: sa.ColumnElement[bool]) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


UNFINISHED = machines.c.state != DEAD
WAITING = sa.and_(UNFINISHED, machines.c.claimed_by.is_(None), machines.c.due_at.is_not(None))
CLAIMED = sa.and_(UNFINISHED, machines.c.claimed_by.is_not(None))
FINISHED = machines.c.state == DEAD

_partial("ix_machines_waiting", machines.c.due_at, machines.c.uid, where=WAITING)
_partial("ix_machines_claimed", machines.c.claimed_until, where=CLAIMED)
_partial("ix_machines_finished", machines.c.place_since, machines.c.uid, where=FINISHED)
sa.Index("ix_machines_name", machines.c.namespace, machines.c.name, machines.c.admitted_at)
sa.Index("ix_transitions_at", transitions.c.at, transitions.c.uid, transitions.c.version)
sa.Index("ix_transitions_trigger", transitions.c.trigger, transitions.c.at, transitions.c.uid, transitions.c.version)
sa.Index("ix_intents_uid", intents.c.uid, intents.c.seq)

_APPEND_ONLY_SQLITE = (
    """\
CREATE TRIGGER transitions_never_change BEFORE UPDATE ON transitions
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END""",
    """\
CREATE TRIGGER transitions_stay BEFORE DELETE ON transitions
WHEN (SELECT state FROM machines WHERE uid = OLD.uid) <> 'Deleted'
BEGIN SELECT RAISE(ABORT, 'history of an unfinished machine stays'); END""",
)
_APPEND_ONLY_POSTGRES = (
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
APPEND_ONLY = {"sqlite": _APPEND_ONLY_SQLITE, "postgresql": _APPEND_ONLY_POSTGRES}


@event.listens_for(METADATA, "after_create")
def _guard_history(_: sa.MetaData, connection: sa.Connection, **__: object) -> None:
    """The database refuses to rewrite history."""
    for statement in APPEND_ONLY[connection.dialect.name]:
        connection.exec_driver_sql(statement)
