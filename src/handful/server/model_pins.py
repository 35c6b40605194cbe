"""The models that stay in memory: asked for over HTTP, kept in the database, the same on all servers that share it.

A name that a server doesn't have is none of its business, and is pinned when it gets it. Without a database pins last
as long as the process.
"""

import asyncio
import json
import logging
from collections.abc import Iterable

from handful.server.auth_state import Access
from handful.server.registry import ModelRegistry
from handful.store.pins import PinStore

_log = logging.getLogger("handful.server")


class ModelPins:
    """Sets pins and follows those of the database. Belongs to one event loop."""

    def __init__(self, models: ModelRegistry, access: Access) -> None:
        self._models, self._threads = models, access.threads
        self._store = None if access.database is None else PinStore(access.database)
        self._lock = asyncio.Lock()
        self._without_room: frozenset[str] = frozenset()

    async def replace(self, names: Iterable[str]) -> None:
        """Pin models, and of those that the caller sees no others.

        All or none: raises NotFoundError, ForbiddenError where they don't fit into the memory together, StoreError.
        """
        wanted = list(names)
        async with self._lock:
            self._models.check_pins(wanted)
            if self._store is not None:
                await self._threads.run(self._store.replace, wanted, self._models.names)
            self._models.pin(wanted)

    async def refresh(self) -> None:
        """Pin what the database says, as far as it fits. Raises StoreError."""
        if self._store is None:
            return
        async with self._lock:
            left = self._models.adopt_pins(await self._threads.run(self._store.all))
        if left != self._without_room:
            self._without_room = left
            _log.warning(json.dumps({"event": "no room for pinned models", "number": len(left)}))
