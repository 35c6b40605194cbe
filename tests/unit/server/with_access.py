"""Apps whose callers have tokens, over a SQLite file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from handful.server.auth_state import Access
from handful.server.state import ServerState
from handful.server.usage import today
from handful.store.database import Database
from handful.store.migrate import open_database
from handful.store.tokens import NewToken, Tokens
from handful.store.usage import Usage, UsageLedger
from tests.unit.server.serving import SENTIMENT, UPPER, FakeModel, state_with

BODY = '{"inputs": "one two three", "parameters": {"max_new_tokens": 4}}'


@contextmanager
def opened(folder: Path) -> Iterator[Database]:
    """A new database."""
    database = open_database(f"sqlite:///{folder}/handful.db")
    yield database
    database.close()


def state_over(
    database: Database, model: FakeModel | None = None, *, required: bool = True, **fields: Any
) -> ServerState:
    """A state with the models and tasks of `serving.py`."""
    access = Access.over(database, tokens_required=required)
    state = state_with(model or FakeModel(), SENTIMENT, UPPER, access=access)
    return replace(state, **fields)


def bearer(database: Database, **fields: Any) -> dict[str, str]:
    """The header of a new token."""
    _, secret = Tokens(database).create(NewToken(**fields))
    return {"authorization": f"Bearer {secret}"}


def written(database: Database, account: str | None = "default") -> dict[str, Usage]:
    """Usage by model, as it is in the database."""
    return {row.key.model: row.usage for row in UsageLedger(database).read(today(), account=account)}
