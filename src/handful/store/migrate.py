"""Bringing a database to the newest shape, under a lock, so that servers that start together don't do it twice.

`HEAD` is the newest revision. A database that has it is left alone without loading Alembic, which takes a second.
"""

from sqlalchemy import Connection, inspect, text

from handful.errors import StoreError
from handful.store.database import Database

HEAD = "0004"
_LOCK = 0x68616E64  # "hand": PostgreSQL's advisory locks are numbers


def open_database(url: str) -> Database:
    """The database at a URL, made and migrated where needed. Raises InvalidInputError, StoreError."""
    database = Database(url)
    try:
        with database.reading() as connection:
            revision = _revision(connection)
        if revision != HEAD:
            _upgrade(database)
    except BaseException:
        database.close()
        raise
    return database


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _upgrade(database: Database) -> None:
    """All of it or nothing: both databases change tables within a transaction."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "handful.store:migrations")
    with database.writing() as connection:
        if database.kind == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, HEAD)
        except CommandError:
            raise StoreError(
                f"The database {database.shown_url} was made by a newer handful.", fix="Update handful."
            ) from None
