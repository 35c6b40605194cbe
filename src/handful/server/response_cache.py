"""Answers that are given again: in memory, bounded, the least recently used gone first; behind it the database.

Only whole answers to what always has the same answer are kept (see `cached.py`). A request never waits for the
database: what was kept before is read once, when the server starts, and what is new is written by a thread. What is
lost on the way (a full queue, a database that fails, a kill) is computed again.
"""

import asyncio
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from handful.config import Settings
from handful.errors import StoreError
from handful.server.auth_store import log_failure
from handful.server.errors import fault
from handful.store.responses import CacheBounds, CachedResponses

NOTHING = CacheBounds(0, 0)
LARGEST_SHARE = 16
"""One answer takes at most this part (1/16) of the room: larger ones aren't kept."""
MAX_UNWRITTEN = 256
"""Answers that may wait to be written; what comes then stays in memory only."""


class ResponseCache:
    """Bodies by keys; belongs to one event loop. As it is made without arguments it keeps nothing."""

    def __init__(self, bounds: CacheBounds = NOTHING, kept: CachedResponses | None = None) -> None:
        self.bounds = bounds
        self._bodies: OrderedDict[str, str] = OrderedDict()
        self._num_bytes = 0
        self._kept = kept
        self._keeper = None if kept is None else ResponseKeeper(kept, bounds)

    @classmethod
    def from_settings(cls, settings: Settings, kept: CachedResponses | None) -> "ResponseCache":
        """A cache of the size that the operator set. Without a database it forgets when the server stops."""
        bounds = CacheBounds(settings.response_cache_mb * 1024 * 1024, settings.response_cache_entries)
        return cls(bounds, kept if settings.response_cache_mb else None)

    @property
    def is_on(self) -> bool:
        """Whether anything is kept at all."""
        return self.bounds.is_met(1, 1)

    def __len__(self) -> int:
        return len(self._bodies)

    async def start(self) -> None:
        """Read what was kept before, and begin to write."""
        if self._kept is None or self._keeper is None:
            return
        try:
            self.restore(await asyncio.to_thread(self._kept.newest, self.bounds))
        except StoreError as error:
            log_failure("kept answers can not be read", str(error))
        self._keeper.start()

    async def close(self) -> None:
        """Write what is left."""
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.close)

    def restore(self, bodies: Iterable[tuple[str, str]]) -> None:
        """Take in what was kept before, the oldest first."""
        for key, body in bodies:
            self._put(key, body)

    def find(self, key: str) -> Any | None:
        """The JSON value that was kept, or None. What isn't JSON any more is forgotten."""
        body = self._bodies.get(key)
        if body is None:
            return None
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            self._forget(key)
            return None
        self._bodies.move_to_end(key)
        return value

    def keep(self, key: str, value: Any) -> None:
        """Keep a JSON value, unless it is too large."""
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if self._put(key, body) and self._keeper is not None:
            self._keeper.take(key, body)

    def _put(self, key: str, body: str) -> bool:
        num_bytes = len(body.encode())
        if num_bytes * LARGEST_SHARE > self.bounds.max_bytes:
            return False
        self._forget(key)
        self._bodies[key] = body
        self._num_bytes += num_bytes
        while not self.bounds.is_met(self._num_bytes, len(self._bodies)):
            self._forget(next(iter(self._bodies)))
        return key in self._bodies

    def _forget(self, key: str) -> None:
        body = self._bodies.pop(key, None)
        if body is not None:
            self._num_bytes -= len(body.encode())


class ResponseKeeper:
    """A thread that writes answers to the database, all that came together in one transaction."""

    def __init__(self, kept: CachedResponses, bounds: CacheBounds) -> None:
        self._kept, self._bounds = kept, bounds
        self._changed = threading.Condition()
        self._unwritten: dict[str, str] = {}
        self._num_bytes = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._write_all, name="handful-responses", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def take(self, key: str, body: str) -> None:
        """Write an answer soon, unless too many wait already."""
        with self._changed:
            if len(self._unwritten) < MAX_UNWRITTEN and self._num_bytes < self._bounds.max_bytes:
                self._unwritten[key] = body
                self._num_bytes += len(body)
                self._changed.notify()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is left, once, and end."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _write_all(self) -> None:
        while bodies := self._next():
            try:
                self._kept.add(bodies, self._bounds)
            except StoreError as error:
                log_failure("answers were not kept", str(error))
            except Exception as error:  # noqa: BLE001 - a thread's last resort; `fault` logs it
                fault(error)

    def _next(self) -> dict[str, str]:
        """What has come together, as soon as there is something; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._unwritten or self._is_closing)
            bodies, self._unwritten, self._num_bytes = self._unwritten, {}, 0
            return bodies
