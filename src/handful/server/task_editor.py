"""Changing the tasks of a running server, without a request that fails or waits because of it.

check      what was sent is a task, and on a model that whoever sees the task sees too
compute    the model reads the new prefix and holds it; meanwhile everybody is answered by the old version
write      the database has the new version: what was acknowledged survives a kill
swap       the next request gets the new version; those that run end with the one they began with
let go     the old prefix may be evicted
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar
from weakref import WeakValueDictionary

from handful.errors import BusyError, ConflictError, InvalidInputError, NotFoundError, StoreError
from handful.server.auth_state import Access
from handful.server.errors import ForbiddenError
from handful.server.ownership import check_may_change, current_account
from handful.server.registry import ModelRegistry
from handful.server.task_body import to_json
from handful.server.task_registry import ServedTask, TaskKey, TaskRegistry, check_runs_tasks
from handful.store.tasks import StoredTask, TaskStore, TaskVersion
from handful.task.task import Task

Result = TypeVar("Result")
Edit = Callable[[Task], Task]
_NUM_TRIES = 20
_MAX_OLDER = 256


class TaskEditor:
    """Creates, changes and deletes tasks. Belongs to one event loop. Without a database it raises StoreError."""

    def __init__(self, tasks: TaskRegistry, models: ModelRegistry, access: Access) -> None:
        self._tasks, self._models, self._threads = tasks, models, access.threads
        self._store = None if access.database is None else TaskStore(access.database)
        self._older: OrderedDict[tuple[str, int], ServedTask] = OrderedDict()
        self._locks: WeakValueDictionary[TaskKey, asyncio.Lock] = WeakValueDictionary()

    @property
    def model_names(self) -> frozenset[str]:
        """The names of all models that are served, whoever sees them."""
        return frozenset(self._models.all_states())

    @property
    def has_store(self) -> bool:
        """Whether there is a database."""
        return self._store is not None

    @property
    def store(self) -> TaskStore:
        """The tasks in the database. Raises StoreError where the server has none."""
        if self._store is None:
            raise StoreError("This server keeps no tasks: it has no database.", fix="Its log says why.")
        return self._store

    def lock(self, key: TaskKey) -> asyncio.Lock:
        """What is held while the task at a key is changed."""
        return self._locks.setdefault(key, asyncio.Lock())

    async def create(self, task: Task, *, is_private: bool = False) -> ServedTask:
        """Add a task of the caller's. Raises ConflictError (the name is taken), InvalidInputError, BusyError."""
        store, owner = self.store, current_account.get()
        if is_private and owner is None:
            raise InvalidInputError("A private task needs an owner.", fix="Send a token: the task is its account's.")
        task = self._with_model(task, is_private=is_private)
        lock = self.lock((owner if is_private else None, task.name))
        async with lock:
            if any(served.task.name == task.name for served in self._tasks):
                raise ConflictError(f"There is already a task named {task.name}.", fix="Choose another name.")
            stored = await self._threads.run(store.create, task.name, to_json(task), owner=owner, is_private=is_private)
            new = self._served(task, stored)
            try:
                with suppress(BusyError):  # it is made already; its first query computes what isn't kept
                    await self._tasks.prepare(new)
            finally:
                self._tasks.put(new)
        return new

    async def change(self, name: str, edit: Edit, expected: int | None = None) -> ServedTask:
        """Let a task's newest version, which must be `expected` where that is given, be followed by `edit` of it.

        Raises ConflictError where it isn't `expected`, NotFoundError, ForbiddenError, and what `edit` raises.
        """

        async def change(served: ServedTask, stored: StoredTask) -> ServedTask:
            task = await asyncio.to_thread(edit, served.task)
            task = self._with_model(task, is_private=stored.is_private)
            return served if task == served.task else await self._replace(served, stored, task)

        return await self._with_newest(name, expected, change)

    async def delete(self, name: str, expected: int | None = None) -> None:
        """Remove a task. Raises as `change` does."""

        async def delete(served: ServedTask, stored: StoredTask) -> None:
            await self._threads.run(self.store.delete, stored.id, stored.version)
            await self.forget(served)

        await self._with_newest(name, expected, delete)

    async def history(self, name: str) -> list[TaskVersion]:
        """The versions of a task, the newest first. A file has one, made at an unknown time (0)."""
        served = self._tasks.get(name)
        if served.stored is None:
            return [TaskVersion(1, 0, to_json(served.task))]
        return await self._threads.run(self.store.history, served.stored.id)

    async def version(self, name: str, version: int | None) -> ServedTask:
        """A version of a task, the newest for None. Raises NotFoundError."""
        served = self._tasks.get(name)
        if version is None or version == served.version:
            return served
        if served.stored is None:
            raise _no_version(name, version)
        key = (served.stored.id, version)
        if key not in self._older:
            self._older[key] = await self._older_version(served.stored, version)
        self._older.move_to_end(key)
        while len(self._older) > _MAX_OLDER:
            self._older.popitem(last=False)
        return self._older[key]

    async def _older_version(self, stored: StoredTask, version: int) -> ServedTask:
        found = await self._threads.run(self.store.version, stored.id, version)
        if found is None:
            raise _no_version(stored.name, version)
        task = await asyncio.to_thread(read_stored, found.body)
        stored = replace(stored, version=found.version, updated_at=found.created_at, body=found.body)
        return self._served(task, stored)

    async def adopt(self, stored: StoredTask) -> None:
        """Serve what the database has, in place of an older version. To be called with the task's lock held."""
        task = await asyncio.to_thread(read_stored, stored.body)
        new = self._served(task, stored)
        old = self._tasks.find(new.key)
        if old is not None and old.stored is None:
            raise ConflictError(f"The task {stored.name} of the database has the name of a file's.")
        with suppress(BusyError):  # it is so already, kept or not
            await self._tasks.prepare(new)
        self._tasks.put(new)
        if old is not None and (old.holder, old.prefix) != (new.holder, new.prefix):
            await self._tasks.let_go(old)

    async def forget(self, served: ServedTask) -> None:
        """Serve a task no longer. To be called with its lock held."""
        self._tasks.remove(served.key)
        await self._tasks.let_go(served)

    async def _with_newest(
        self, name: str, expected: int | None, act: Callable[[ServedTask, StoredTask], Awaitable[Result]]
    ) -> Result:
        """`act` on the newest version; again where another server was quicker and no version was named."""
        lock = self.lock(self._changeable(name)[0].key)
        async with lock:
            for _ in range(_NUM_TRIES):
                served, stored = self._changeable(name)
                if expected not in (None, stored.version):
                    served, stored = await self._refreshed(name, stored)
                    _check_version(stored, expected)
                try:
                    return await act(served, stored)
                except ConflictError:
                    if expected is not None:
                        raise
                    await self._refreshed(name, stored)
            raise ConflictError(f"The task {name} is being changed all the time.", fix="Try again.")

    def _changeable(self, name: str) -> tuple[ServedTask, StoredTask]:
        served = self._tasks.get(name)
        if served.stored is None:
            fix = "Change the file and start the server again, or make a task of another name."
            raise ForbiddenError(f"Task {name} comes from a file of this server and can't be changed here.", fix=fix)
        check_may_change(served.stored.owner, f"Task {name}")
        return served, served.stored

    async def _refreshed(self, name: str, stored: StoredTask) -> tuple[ServedTask, StoredTask]:
        found = await self._threads.run(self.store.get, stored.id)
        if found is None:
            await self.forget(self._changeable(name)[0])
        elif found.version != stored.version:
            await self.adopt(found)
        return self._changeable(name)

    async def _replace(self, served: ServedTask, stored: StoredTask, task: Task) -> ServedTask:
        draft = replace(stored, version=stored.version + 1)
        new = self._served(task, draft)
        try:
            await self._tasks.prepare(new)
            made = await self._threads.run(self.store.update, stored.id, to_json(task), stored.version)
        except BaseException:
            await self._tasks.let_go(new)
            raise
        new = replace(new, stored=replace(draft, updated_at=made.created_at, body=made.body))
        self._tasks.put(new)
        await self._tasks.let_go(served)
        return new

    def _served(self, task: Task, stored: StoredTask) -> ServedTask:
        return ServedTask(task, task.model or self._models.names[0], stored)

    def _with_model(self, task: Task, *, is_private: bool) -> Task:
        """The task with its model named, which everybody who sees the task must see. Raises InvalidInputError."""
        try:
            entry = self._models.entry(task.model or self._models.names[0])
        except NotFoundError as error:
            raise InvalidInputError(f"`model`: {error.message}", fix=error.fix) from None
        source = entry.source
        check_runs_tasks(source.name, entry.task)
        if source.private_to is not None and not is_private:
            raise InvalidInputError("`model` is private and the task isn't.", fix="Make it with `private` set to true.")
        return task if task.model == source.name else task.replace(model=source.name)


def _no_version(name: str, version: int) -> NotFoundError:
    return NotFoundError(f"Task {name} has no version {version}.", fix=f"GET /tasks/{name}/versions lists them.")


def read_stored(body: str) -> Task:
    """The task of a row. Raises TaskError where a newer handful wrote it."""
    return Task.from_dict(json.loads(body))


def _check_version(stored: StoredTask, expected: int | None) -> None:
    if stored.version != expected:
        raise ConflictError(
            f"The task {stored.name} is at version {stored.version}, not {expected}.",
            fix="Read it again, then change it.",
        )
