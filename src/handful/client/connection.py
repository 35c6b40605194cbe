"""HTTP/1.1 to a server over one connection, one request at a time."""

import asyncio
from typing import cast

from handful.client.answer_parser import UNREADABLE, AnswerParser
from handful.client.exchange import Answer

BROKEN = (OSError, *UNREADABLE)
"""What is raised in whoever waits for an answer that doesn't come: TimeoutError (itself an OSError) when nothing came
for so long, else a ConnectionError, or what the parser could not read."""
MAX_UNREAD_BYTES = 256 * 1024
"""A stream that nobody reads is held back at so much."""


class Connection(asyncio.Protocol):
    """A connection in the event loop that runs here. `timeout_s` bounds how long nothing comes. Raises `BROKEN`."""

    def __init__(self, timeout_s: float) -> None:
        self._loop, self._timeout_s = asyncio.get_running_loop(), timeout_s
        self._answer = AnswerParser()
        self._transport: asyncio.Transport | None = None
        self._error: Exception | None = None
        self._is_streamed = False
        self._woken: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._active_at, self._num_unsent = 0.0, 0

    @property
    def is_reusable(self) -> bool:
        """Whether another request can be sent."""
        is_open = self._transport is not None and self._error is None
        return is_open and self._answer.is_complete and self._answer.keeps_open

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read its answer."""
        self._send(request, is_streamed=False)
        while not self._answer.is_complete:
            await self._wait()
        return Answer(self._answer.status, self._answer.headers, self._answer.take_body())

    async def open(self, request: bytes) -> Answer:
        """Send a request and read the head of its answer. `read` gives the body."""
        self._send(request, is_streamed=True)
        while not self._answer.has_head:
            await self._wait()
        return Answer(self._answer.status, self._answer.headers)

    async def read(self) -> bytes:
        """What has come of the body, b"" at its end."""
        while not self._answer.num_unread and not self._answer.is_complete:
            await self._wait()
        found = self._answer.take_body()
        if self._transport is not None:
            self._transport.resume_reading()
        return found

    def abort(self) -> None:
        """Close it, whatever is going on."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._active_at = self._loop.time()
        try:
            self._answer.feed(data)
        except BROKEN as error:
            return self._fail(error)
        if self._is_streamed and self._answer.num_unread > MAX_UNREAD_BYTES and self._transport is not None:
            self._transport.pause_reading()
        if self._answer.is_complete or (self._is_streamed and self._answer.has_head):
            self._wake()
        return None

    def eof_received(self) -> None:
        """The server has said all."""
        self._answer.end()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing will come any more."""
        self._transport = None
        if not self._answer.is_complete and self._error is None:
            self._error = exc or ConnectionResetError("the connection was closed")
        self._wake()

    def _send(self, request: bytes, *, is_streamed: bool) -> None:
        if self._transport is None:
            raise ConnectionResetError("the connection was closed")
        self._answer.begin()
        self._is_streamed = is_streamed
        self._transport.write(request)
        self._num_unsent = self._transport.get_write_buffer_size()

    async def _wait(self) -> None:
        """Until something has come. Raises what broke the connection."""
        if self._error is None:
            self._woken = self._loop.create_future()
            self._active_at = self._loop.time()
            self._timer = self._loop.call_later(self._timeout_s, self._check_time)
            try:
                await self._woken
            finally:
                self._woken = None
                self._timer.cancel()
        if self._error is not None:
            raise self._error

    def _check_time(self) -> None:
        """Give up on what is silent; while a body still goes out nothing need come."""
        num_unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        if num_unsent < self._num_unsent:
            self._num_unsent, self._active_at = num_unsent, self._loop.time()
        left_s = self._active_at + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._check_time)
        else:
            self._fail(TimeoutError("nothing came"))

    def _fail(self, error: Exception) -> None:
        self._error = error
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
