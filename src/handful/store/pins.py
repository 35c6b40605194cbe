"""Which models are pinned, by name. Servers that share a database pin the same, where they have them."""

from collections.abc import Iterable

from sqlalchemy import delete, select

from handful.store.database import Database
from handful.store.tables import pinned_models
from handful.store.upsert import insert_into

_PIECE = 500  # names in a statement: SQLite takes so many parameters


class PinStore:
    """The pins of a database. All methods block and raise StoreError where the database can't be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> set[str]:
        """The names of the pinned models."""
        with self._database.reading() as connection:
            return set(connection.execute(select(pinned_models.c.name)).scalars())

    def replace(self, names: Iterable[str], among: Iterable[str]) -> None:
        """Pin `names`, and of `among` no others; what is in neither stays as it is."""
        wanted = sorted(set(names))
        gone = sorted(set(among) - set(wanted))
        with self._database.writing() as connection:
            for start in range(0, len(gone), _PIECE):
                some = gone[start : start + _PIECE]
                connection.execute(delete(pinned_models).where(pinned_models.c.name.in_(some)))
            for name in wanted:
                connection.execute(insert_into(connection, pinned_models).values(name=name).on_conflict_do_nothing())
