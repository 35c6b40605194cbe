"""Tasks that were made over HTTP: each with all its versions, in one of the spaces in which names are unique.

A space is an account's own (its private tasks) or the one that everybody sees. So a private task's name is free for
everybody else, and nobody learns from a name that is taken that a private task has it.

Invariants: a version never changes and its number is never used again; a change says which version it is a change of,
and of two that name the same one only the first is written.
"""

import secrets
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from handful.errors import ConflictError, InvalidInputError, NotFoundError
from handful.store.database import Database
from handful.store.tables import accounts, task_versions, tasks

MAX_TASKS = 1000
"""Of one owner; those without one count together."""
MAX_VERSIONS = 100
"""Older ones than so many are dropped."""
_PUBLIC = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTask:
    """A task at its newest version. `body` is JSON, times are seconds since 1970. What has no owner is everybody's."""

    id: str
    name: str
    owner: str | None
    is_private: bool
    version: int
    created_at: int
    updated_at: int
    body: str


@dataclass(frozen=True, slots=True)
class TaskVersion:
    """One version of a task."""

    version: int
    created_at: int
    body: str


class TaskStore:
    """The tasks of a database. All methods block and raise StoreError where the database can't be used.

    What a method returned from is on disk.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, body: str, *, owner: str | None = None, is_private: bool = False) -> StoredTask:
        """Add a task. Raises ConflictError (the name is taken in its space), NotFoundError (no such owner)."""
        if is_private and owner is None:
            raise InvalidInputError("A private task needs an owner.", fix="Send a token: the task is its account's.")
        now = int(time.time())
        row: dict[str, Any] = {"id": secrets.token_hex(8), "name": name, "version": 1, "created_at": now}
        with self._database.writing() as connection:
            row["owner_id"] = None if owner is None else _account_id(connection, owner)
            row["space"] = row["owner_id"] if is_private else _PUBLIC
            _check_number(connection, row["owner_id"])
            try:
                connection.execute(tasks.insert().values(row))
            except IntegrityError:
                raise ConflictError(f"There is already a task named {name}.", fix="Choose another name.") from None
            _insert_version(connection, row["id"], 1, body, now)
        return StoredTask(
            id=row["id"],
            name=name,
            owner=owner,
            is_private=is_private,
            version=1,
            created_at=now,
            updated_at=now,
            body=body,
        )

    def update(self, task_id: str, body: str, expected: int) -> TaskVersion:
        """Write version `expected + 1`. Raises ConflictError where the task is at another one, NotFoundError."""
        now, new = int(time.time()), expected + 1
        is_it = (tasks.c.id == task_id) & (tasks.c.version == expected)
        with self._database.writing() as connection:
            if connection.execute(update(tasks).where(is_it).values(version=new)).rowcount != 1:
                raise _wrong_version(connection, task_id, expected)
            _insert_version(connection, task_id, new, body, now)
            is_old = (task_versions.c.task_id == task_id) & (task_versions.c.version <= new - MAX_VERSIONS)
            connection.execute(delete(task_versions).where(is_old))
        return TaskVersion(new, now, body)

    def delete(self, task_id: str, expected: int) -> None:
        """Remove a task and all its versions. Raises ConflictError, NotFoundError."""
        # In PostgreSQL an update that runs meanwhile holds the row, so this waits for it and then sees its version.
        is_it = (tasks.c.id == task_id) & (tasks.c.version == expected)
        with self._database.writing() as connection:
            if connection.execute(select(tasks.c.id).where(is_it).with_for_update()).one_or_none() is None:
                raise _wrong_version(connection, task_id, expected)
            connection.execute(delete(task_versions).where(task_versions.c.task_id == task_id))
            connection.execute(delete(tasks).where(tasks.c.id == task_id))

    def versions(self) -> dict[str, int]:
        """The newest version of every task, by its id: what changed since one looked last."""
        with self._database.reading() as connection:
            return {row.id: row.version for row in connection.execute(select(tasks.c.id, tasks.c.version))}

    def get(self, task_id: str) -> StoredTask | None:
        """A task, or None where there is none (any more)."""
        with self._database.reading() as connection:
            row = connection.execute(_selected().where(tasks.c.id == task_id)).one_or_none()
        return None if row is None else _task(row)

    def all(self) -> list[StoredTask]:
        """All tasks, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(_selected().order_by(tasks.c.created_at, tasks.c.id)).all()
        return [_task(row) for row in rows]

    def history(self, task_id: str) -> list[TaskVersion]:
        """The versions of a task that are kept, the newest first."""
        is_it = task_versions.c.task_id == task_id
        with self._database.reading() as connection:
            rows = connection.execute(select(task_versions).where(is_it).order_by(task_versions.c.version.desc())).all()
        return [TaskVersion(row.version, row.created_at, row.body) for row in rows]

    def version(self, task_id: str, version: int) -> TaskVersion | None:
        """One version of a task, or None where it isn't there or isn't kept."""
        is_it = (task_versions.c.task_id == task_id) & (task_versions.c.version == version)
        with self._database.reading() as connection:
            row = connection.execute(select(task_versions).where(is_it)).one_or_none()
        return None if row is None else TaskVersion(row.version, row.created_at, row.body)


def _selected() -> Select[Any]:
    newest = (task_versions.c.task_id == tasks.c.id) & (task_versions.c.version == tasks.c.version)
    joined = tasks.join(task_versions, newest).outerjoin(accounts, accounts.c.id == tasks.c.owner_id)
    shown = (task_versions.c.body, task_versions.c.created_at.label("updated_at"), accounts.c.name.label("owner"))
    return select(tasks, *shown).select_from(joined)


def _task(row: Any) -> StoredTask:
    return StoredTask(
        id=row.id,
        name=row.name,
        owner=row.owner,
        is_private=row.space != _PUBLIC,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        body=row.body,
    )


def _insert_version(connection: Connection, task_id: str, version: int, body: str, now: int) -> None:
    row = {"task_id": task_id, "version": version, "body": body, "created_at": now}
    connection.execute(task_versions.insert().values(row))


def _account_id(connection: Connection, name: str) -> int:
    found = connection.execute(select(accounts.c.id).where(accounts.c.name == name)).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"There is no account {name[:100]!r}.", fix="See `handful users list`.")
    return int(found)


def _check_number(connection: Connection, owner_id: int | None) -> None:
    mine = tasks.c.owner_id.is_(None) if owner_id is None else tasks.c.owner_id == owner_id
    number = connection.execute(select(func.count()).select_from(tasks).where(mine)).scalar_one()
    if number >= MAX_TASKS:
        raise InvalidInputError(f"There are {number} tasks already, the most an owner has.", fix="Delete one.")


def _wrong_version(connection: Connection, task_id: str, expected: int) -> ConflictError | NotFoundError:
    found = connection.execute(select(tasks.c.name, tasks.c.version).where(tasks.c.id == task_id)).one_or_none()
    if found is None:
        return NotFoundError("The task does not exist any more.")
    return ConflictError(
        f"The task {found.name} is at version {found.version}, not {expected}.", fix="Read it again, then change it."
    )
