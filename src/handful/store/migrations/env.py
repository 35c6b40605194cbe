"""What Alembic runs: the migrations, on the connection and in the transaction that `store/migrate.py` holds."""

from alembic import context

from handful.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can, but Alembic doesn't expect it to
)
with context.begin_transaction():
    context.run_migrations()
