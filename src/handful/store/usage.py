"""What was used, by day, token and model.

Invariant: a batch counts once, however often it is sent. A commit whose answer got lost may have happened or not, so
each writer numbers its batches and the number of the last one is written in the same transaction.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from sqlalchemy import Connection, Select, select

from handful.store.database import Database
from handful.store.tables import accounts, api_tokens, usage, usage_writers
from handful.store.upsert import insert_into

_WRITERS_KEPT_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class UsageKey:
    """Where usage is counted. `day` is in UTC; `token_id` is "" for callers without a token."""

    day: date
    token_id: str
    model: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Amounts; they add up. `compute_us` is wall time with the model, queueing included, in microseconds."""

    requests: int = 0
    input_characters: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    compute_us: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests + other.requests,
            self.input_characters + other.input_characters,
            self.prompt_tokens + other.prompt_tokens,
            self.generated_tokens + other.generated_tokens,
            self.compute_us + other.compute_us,
        )


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A row to show. `token_name` and `token_prefix` are "" for callers without a token."""

    key: UsageKey
    usage: Usage
    token_name: str
    token_prefix: str


class UsageLedger:
    """The usage of a database. All methods block and raise StoreError where the database can't be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, writer_id: str, batch: int, amounts: Mapping[UsageKey, Usage]) -> bool:
        """Add amounts; what this returned from is on disk. False where this batch of this writer was there already.

        A writer's batches are numbered upwards and sent one after the other.
        """
        with self._database.writing() as connection:
            if not _claim(connection, writer_id, batch):
                return False
            # In one order everywhere: two servers that write the same rows never wait for each other in a circle.
            for key in sorted(amounts, key=lambda key: (key.day, key.token_id, key.model)):
                _upsert(connection, key, amounts[key])
        return True

    def read(self, since: date, *, account: str | None) -> list[UsageRow]:
        """Rows from a day on, the newest first: of an account's tokens, or (None) of callers without a token."""
        query = _rows_since(since)
        mine = usage.c.token_id == "" if account is None else accounts.c.name == account
        with self._database.reading() as connection:
            rows = connection.execute(query.where(mine)).all()
        return [
            UsageRow(
                UsageKey(row.day, row.token_id, row.model),
                Usage(*(getattr(row, field.name) for field in fields(Usage))),
                row.token_name or "",
                row.token_prefix or "",
            )
            for row in rows
        ]


def _rows_since(since: date) -> Select[Any]:
    shown = (api_tokens.c.name.label("token_name"), api_tokens.c.prefix.label("token_prefix"))
    joined = usage.outerjoin(api_tokens, api_tokens.c.id == usage.c.token_id).outerjoin(accounts)
    query = select(usage, *shown).select_from(joined).where(usage.c.day >= since)
    return query.order_by(usage.c.day.desc(), usage.c.token_id, usage.c.model)


def _claim(connection: Connection, writer_id: str, batch: int) -> bool:
    now = int(time.time())
    last = select(usage_writers.c.last_batch).where(usage_writers.c.id == writer_id)
    found = connection.execute(last).scalar_one_or_none()
    if found is not None and found >= batch:
        return False
    if found is None:  # a writer's first batch tidies up after those that are long gone
        connection.execute(usage_writers.delete().where(usage_writers.c.written_at < now - _WRITERS_KEPT_S))
    insert = insert_into(connection, usage_writers).values(id=writer_id, last_batch=batch, written_at=now)
    changed = {"last_batch": batch, "written_at": now}
    connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=changed))
    return True


def _upsert(connection: Connection, key: UsageKey, amount: Usage) -> None:
    names = [field.name for field in fields(Usage)]
    where = {"day": key.day, "token_id": key.token_id, "model": key.model}
    insert = insert_into(connection, usage).values(where | {name: getattr(amount, name) for name in names})
    added = {name: usage.c[name] + insert.excluded[name] for name in names}
    connection.execute(insert.on_conflict_do_update(index_elements=list(where), set_=added))
