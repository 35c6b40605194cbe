"""Models that were registered over HTTP: whose they are, and where their files come from. Never the Hub's token."""

import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Select, delete, func, select
from sqlalchemy.exc import IntegrityError

from handful.errors import ConflictError, InvalidInputError, NotFoundError
from handful.store.database import Database
from handful.store.tables import accounts, models, pinned_models

MAX_MODELS = 100
"""Of one owner."""
Kind = Literal["path", "hub", "upload"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModel:
    """A model to be kept. `location` is a path (also for an upload) or a Hub id, as `kind` says."""

    name: str
    owner: str
    is_private: bool
    kind: Kind
    location: str
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel(NewModel):
    """The same, once it is kept. `created_at` in seconds since 1970."""

    id: str
    created_at: int

    @property
    def private_to(self) -> str | None:
        """The account that alone sees it; None where everybody does."""
        return self.owner if self.is_private else None


class ModelStore:
    """The models of a database. All methods block and raise StoreError where the database can't be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewModel) -> StoredModel:
        """Keep a model. Raises ConflictError (the name is taken), NotFoundError (no such owner), InvalidInputError."""
        made = StoredModel(**asdict(new), id=secrets.token_hex(8), created_at=int(time.time()))
        row = {key: value for key, value in asdict(made).items() if key != "owner"}
        with self._database.writing() as connection:
            owner_id = _account_id(connection, new.owner)
            try:
                connection.execute(models.insert().values(row | {"owner_id": owner_id}))
            except IntegrityError:
                raise ConflictError(f"There is already a model named {new.name}.", fix="Choose another name.") from None
        return made

    def delete(self, model_id: str) -> None:
        """Keep it no longer, nor that it was pinned. Unknown ones are ignored."""
        named = select(models.c.name).where(models.c.id == model_id)
        with self._database.writing() as connection:
            connection.execute(delete(pinned_models).where(pinned_models.c.name.in_(named)))
            connection.execute(delete(models).where(models.c.id == model_id))

    def all(self) -> list[StoredModel]:
        """All models, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(_selected().order_by(models.c.created_at, models.c.id)).all()
        return [_model(row) for row in rows]


def _selected() -> Select[Any]:
    return select(models, accounts.c.name.label("owner")).join(accounts, accounts.c.id == models.c.owner_id)


def _model(row: Any) -> StoredModel:
    return StoredModel(
        id=row.id,
        name=row.name,
        owner=row.owner,
        is_private=row.is_private,
        kind=row.kind,
        location=row.location,
        revision=row.revision,
        created_at=row.created_at,
    )


def _account_id(connection: Connection, name: str) -> int:
    found = connection.execute(select(accounts.c.id).where(accounts.c.name == name)).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"There is no account {name[:100]!r}.", fix="See `handful users list`.")
    number = connection.execute(select(func.count()).select_from(models).where(models.c.owner_id == found)).scalar_one()
    if number >= MAX_MODELS:
        raise InvalidInputError(f"{name} has {number} models already, the most there are.", fix="Delete one.")
    return int(found)
