"""Keeping a server's tasks those of the database: all of them at its start, then what others change (store_sync.py).

A write of this server whose outcome got lost (the database hung) is settled the same way.
"""

import json
import logging

from handful.errors import HandfulError
from handful.server.auth_store import StoreThreads
from handful.server.task_editor import TaskEditor
from handful.server.task_registry import TaskRegistry
from handful.store.tasks import StoredTask

_log = logging.getLogger("handful.server")


class TaskSync:
    """Looks for changes when it is told to. Belongs to one event loop."""

    def __init__(self, tasks: TaskRegistry, editor: TaskEditor, threads: StoreThreads) -> None:
        self._tasks, self._editor, self._threads = tasks, editor, threads
        self._unusable: dict[str, int] = {}
        self._models: frozenset[str] = frozenset()

    async def refresh(self) -> None:
        """Look once. Raises StoreError. Where models came or went, what couldn't be served is tried again."""
        if not self._editor.has_store:
            return
        store, models = self._editor.store, self._editor.model_names
        if models != self._models:
            self._unusable, self._models = {}, models
        newest = await self._threads.run(store.versions)
        known = {served.stored.id: served.version for served in self._tasks.everything() if served.stored is not None}
        for task_id in known.keys() - newest.keys():
            await self._look_at(task_id)
        for task_id, version in newest.items():
            if version not in (known.get(task_id), self._unusable.get(task_id)):
                await self._look_at(task_id)

    async def _look_at(self, task_id: str) -> None:
        found = await self._threads.run(self._editor.store.get, task_id)
        if found is None:
            return await self._forget(task_id)
        lock = self._editor.lock((found.owner if found.is_private else None, found.name))
        async with lock:
            newest = await self._threads.run(self._editor.store.get, task_id)  # it may have been changed meanwhile
            if newest is not None:
                await self._adopt(newest)
        return None

    async def _adopt(self, stored: StoredTask) -> None:
        key = (stored.owner if stored.is_private else None, stored.name)
        there = self._tasks.find(key)
        if there is not None and there.stored is not None and there.stored == stored:
            return
        try:
            await self._editor.adopt(stored)
        except HandfulError as error:
            self._unusable[stored.id] = stored.version
            _log.warning(json.dumps({"event": "task not served", "id": stored.id, "kind": type(error).__name__}))

    async def _forget(self, task_id: str) -> None:
        for served in self._tasks.everything():
            if served.stored is not None and served.stored.id == task_id:
                lock = self._editor.lock(served.key)
                async with lock:
                    there = self._tasks.find(served.key)
                    if there is not None and there.stored is not None and there.stored.id == task_id:
                        await self._editor.forget(there)
