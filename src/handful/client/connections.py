"""The connections of a client to its one server, kept for as long as they are used."""

import asyncio
from collections import deque

from handful.client.connection import Connection

MAX_CONNECTIONS = 100
IDLE_S = 5.0
"""Far shorter than servers keep one: where both take as long, one closes it while the other sends."""


class Connections:
    """Opens connections to one address, at most `MAX_CONNECTIONS`, and reuses the one that was used last.

    Belongs to the event loop in which it was made.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float, connect_timeout_s: float) -> None:
        self.loop = asyncio.get_running_loop()
        self._host, self._port = host, port
        self._timeout_s, self._connect_timeout_s = timeout_s, connect_timeout_s
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._idle: deque[tuple[float, Connection]] = deque()  # since when; the one that was used last is last
        self._used: set[Connection] = set()

    async def wait_for_room(self) -> None:
        """Until one more may be used; then `take` it, and `give` it back. Raises TimeoutError."""
        if not self._room.locked():
            await self._room.acquire()
            return
        async with asyncio.timeout(self._timeout_s):
            await self._room.acquire()

    async def take(self) -> Connection:
        """A connection. Raises TimeoutError and OSError where there is no way to the server."""
        try:
            found = self._find_idle() or await self._open()
        except BaseException:
            self._room.release()
            raise
        self._used.add(found)
        return found

    def give(self, connection: Connection) -> None:
        """Let others use it, or close it where an answer was not read to its end."""
        self._used.discard(connection)
        if connection.is_reusable:
            self._idle.append((self.loop.time(), connection))
        else:
            connection.abort()
        self._room.release()

    def close(self) -> None:
        """Close all, whatever they are doing."""
        for _, connection in self._idle:
            connection.abort()
        self._idle.clear()
        for connection in self._used:
            connection.abort()

    def _find_idle(self) -> Connection | None:
        too_old = self.loop.time() - IDLE_S
        while self._idle and (self._idle[0][0] < too_old or not self._idle[0][1].is_reusable):
            self._idle.popleft()[1].abort()
        while self._idle:
            _, connection = self._idle.pop()
            if connection.is_reusable:
                return connection
        return None

    async def _open(self) -> Connection:
        async with asyncio.timeout(self._connect_timeout_s):
            _, connection = await self.loop.create_connection(
                lambda: Connection(self._timeout_s), self._host, self._port
            )
        return connection
