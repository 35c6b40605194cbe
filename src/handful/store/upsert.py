"""An insert that can be told what to do on a conflict: each database has its own, and they read alike."""

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_into(connection: Connection, table: Table) -> Any:
    """An insert with `on_conflict_do_update`, for the database of the connection."""
    return (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)
