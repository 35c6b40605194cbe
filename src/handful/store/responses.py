"""Answers that are kept to be given again: a bounded table, from which the oldest go first.

A row is a key and a JSON text; what a key stands for is the affair of who made it. Losing rows costs time, no more.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from handful.store.database import Database
from handful.store.tables import cached_responses
from handful.store.upsert import insert_into

_KEPT_SHARE = 0.9
"""What is left of a bound after tidying up, so that not every write has to."""
_DELETED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class CacheBounds:
    """The most that is kept: bytes of JSON, and answers."""

    max_bytes: int
    max_entries: int

    def is_met(self, num_bytes: int, num_entries: int) -> bool:
        """Whether so much may be kept."""
        return num_bytes <= self.max_bytes and num_entries <= self.max_entries


class CachedResponses:
    """The kept answers of a database. All methods block and raise StoreError where the database can't be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, bounds: CacheBounds) -> list[tuple[str, str]]:
        """Keys and bodies, as many of the newest as the bounds allow, the oldest of them first."""
        newest_first = select(cached_responses).order_by(cached_responses.c.stored_at.desc(), cached_responses.c.key)
        found: list[tuple[str, str]] = []
        num_bytes = 0
        with self._database.reading() as connection:
            for row in connection.execute(newest_first.limit(bounds.max_entries)).yield_per(100):
                num_bytes += row.num_bytes
                if num_bytes > bounds.max_bytes:
                    break
                found.append((row.key, row.body))
        return found[::-1]

    def add(self, bodies: Mapping[str, str], bounds: CacheBounds) -> None:
        """Keep bodies under their keys, in place of what was there, and drop the oldest beyond the bounds."""
        now = int(time.time())
        rows = [
            {"key": key, "body": body, "num_bytes": len(body.encode()), "stored_at": now}
            for key, body in sorted(bodies.items())
        ]
        with self._database.writing() as connection:
            insert = insert_into(connection, cached_responses)
            changed = {name: insert.excluded[name] for name in ("body", "num_bytes", "stored_at")}
            # In the order of the keys: servers that keep the same answers never wait for each other in a circle.
            connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_=changed), rows)
            _tidy(connection, bounds)


def _tidy(connection: Connection, bounds: CacheBounds) -> None:
    sums = select(func.count(), func.coalesce(func.sum(cached_responses.c.num_bytes), 0)).select_from(cached_responses)
    num_entries, num_bytes = connection.execute(sums).one()
    if bounds.is_met(num_bytes, num_entries):
        return
    aim = CacheBounds(int(bounds.max_bytes * _KEPT_SHARE), int(bounds.max_entries * _KEPT_SHARE))
    columns = select(cached_responses.c.key, cached_responses.c.num_bytes)
    dropped = []
    for row in connection.execute(columns.order_by(cached_responses.c.stored_at, cached_responses.c.key)):
        if aim.is_met(num_bytes, num_entries):
            break
        dropped.append(row.key)
        num_bytes, num_entries = num_bytes - row.num_bytes, num_entries - 1
    _delete(connection, dropped)


def _delete(connection: Connection, keys: list[str]) -> None:
    for first in range(0, len(keys), _DELETED_AT_ONCE):
        some = keys[first : first + _DELETED_AT_ONCE]
        connection.execute(cached_responses.delete().where(cached_responses.c.key.in_(some)))
