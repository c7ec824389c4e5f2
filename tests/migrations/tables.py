"""What a database says of its own tables, as text that can be compared."""

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from engine.store.schema import METADATA

_SQLITE = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%' AND sql IS NOT NULL ORDER BY 1, 2"
_POSTGRES = (
    """SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
              pg_get_expr(d.adbin, d.adrelid), l.collname
       FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
       LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
       LEFT JOIN pg_collation l ON l.oid = a.attcollation
       WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 ORDER BY 1, 2""",
    """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
       WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    """SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
       WHERE NOT tgisinternal ORDER BY 1, 2""",
    """SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1""",
)


def described(url: str) -> list[str]:
    """The definitions of everything in the database but the revision, a line each."""
    with _opened(url) as connection:
        queries = (_SQLITE,) if connection.dialect.name == "sqlite" else _POSTGRES
        rows = [row for query in queries for row in connection.execute(text(query))]
    return [" | ".join(map(str, row)) for row in rows if "alembic" not in str(row)]


def create_from_metadata(url: str) -> None:
    """The database has the tables that the program's statements are written for, without any migration."""
    with _opened(url) as connection:
        METADATA.create_all(connection)


def run_sql(url: str, statement: str) -> None:
    """The statement was run and committed, behind the program's back."""
    with _opened(url) as connection:
        connection.execute(text(statement))


def _opened(url: str) -> Connection:
    place = make_url(url)
    if place.get_backend_name() == "postgresql":
        place = place.set(drivername="postgresql+psycopg")
    engine = create_engine(place, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    return engine.connect()
