"""How alembic reaches the database: the program hands in a connection; by hand, `-x url=…` names a database."""

from alembic import context
from sqlalchemy import Connection, create_engine

from engine.store.schema import METADATA


def run(connection: Connection) -> None:
    """Run the migrations in the transaction of this connection."""
    context.configure(
        connection=connection, target_metadata=METADATA, render_as_batch=True, compare_server_default=True
    )
    with context.begin_transaction():
        context.run_migrations()


handed_in = context.config.attributes.get("connection")
if handed_in is not None:
    run(handed_in)
else:
    with create_engine(context.get_x_argument(as_dictionary=True)["url"]).begin() as opened:
        run(opened)
