"""Users and organisations. They share one space of names, as on the Hub; an organisation has members."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from handful.errors import InvalidInputError, NotFoundError
from handful.store.database import Database
from handful.store.tables import accounts, memberships

Kind = Literal["user", "organisation"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Account:
    """A user, or an organisation with the names of its members. `created_at` in seconds since 1970."""

    name: str
    kind: Kind
    created_at: int
    members: tuple[str, ...] = ()


def check_label(kind: str, name: str) -> str:
    """The name, or InvalidInputError where it can't be one of an account or a token."""
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name[:100]!r} can't be the name of {kind}.",
            fix="Names are at most 96 letters, digits, dots, dashes and underscores, and begin with a letter or digit.",
        )
    return name


class Accounts:
    """The accounts of a database. All methods block and raise StoreError where the database can't be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, kind: Kind = "user", members: Sequence[str] = ()) -> Account:
        """Add an account. Raises InvalidInputError (a bad or taken name), NotFoundError (a member isn't there)."""
        check_label(f"a {kind}" if kind == "user" else f"an {kind}", name)
        if members and kind == "user":
            raise InvalidInputError("Only an organisation has members.")
        account = Account(name, kind, int(time.time()), tuple(dict.fromkeys(members)))
        with self._database.writing() as connection:
            _insert(connection, account)
        return account

    def list(self) -> list[Account]:
        """All accounts by name."""
        user = accounts.alias("user")
        with self._database.reading() as connection:
            rows = connection.execute(select(accounts).order_by(accounts.c.name)).all()
            joined = select(memberships.c.organisation_id, user.c.name).join(user, user.c.id == memberships.c.user_id)
            pairs = connection.execute(joined.order_by(user.c.name)).all()
        members: dict[int, list[str]] = {}
        for organisation_id, name in pairs:
            members.setdefault(organisation_id, []).append(name)
        return [Account(row.name, row.kind, row.created_at, tuple(members.get(row.id, ()))) for row in rows]


def _insert(connection: Connection, account: Account) -> None:
    values = {"name": account.name, "kind": account.kind, "created_at": account.created_at}
    try:
        account_id = connection.execute(accounts.insert().values(values).returning(accounts.c.id)).scalar_one()
    except IntegrityError:
        raise InvalidInputError(f"There is already an account named {account.name!r}.") from None
    for member in account.members:
        row = {"organisation_id": account_id, "user_id": _user_id(connection, member)}
        connection.execute(memberships.insert().values(row))


def _user_id(connection: Connection, name: str) -> int:
    query = select(accounts.c.id).where(accounts.c.name == name, accounts.c.kind == "user")
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"There is no user {name[:100]!r}.", fix="See `handful users list`.")
    return int(found)
