"""Following what other servers on the same database change, and what a lost answer of the database left open.

Models, pins and tasks are looked at when the server starts, and then again and again: a change is everywhere within
`REFRESH_S`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from handful.errors import StoreError

REFRESH_S = 2.0


class StoreSync:
    """Looks, in the order given, as long as it runs. Belongs to one event loop."""

    def __init__(self, *looks: Callable[[], Awaitable[None]]) -> None:
        self._looks = looks
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look once, and go on. While the database can't be used, what is known stays."""
        await self._look()
        self._running = asyncio.ensure_future(self._keep_looking())

    async def close(self) -> None:
        """Stop looking."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _look(self) -> None:
        for look in self._looks:
            with suppress(StoreError):  # it was logged
                await look()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self._look()
