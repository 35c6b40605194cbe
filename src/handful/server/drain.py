"""Who is being answered, and how the answering comes to an end.

Three states, in one direction: serving; draining (nothing new is accepted, what was accepted goes on); ended (what is
still going on gets an error). SIGTERM moves it on, see `process.py`.
"""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from handful.errors import NotReadyError
from handful.server.errors import error_response

HEALTH_PATHS = frozenset({"/health", "/ready", "/metrics"})


class Drain:
    """Counts accepted requests; belongs to one event loop."""

    def __init__(self) -> None:
        self.num_accepted = 0
        self.is_draining = False
        self.has_ended = False
        self._at_end: set[Callable[[], None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """A request was accepted. Raises NotReadyError while draining."""
        if self.is_draining:
            raise NotReadyError("The server is shutting down.", fix="Send the request to another server.")
        self.num_accepted += 1
        self._idle.clear()

    def leave(self) -> None:
        """An accepted request was answered or given up."""
        self.num_accepted -= 1
        if self.num_accepted == 0:
            self._idle.set()

    def at_end(self, call: Callable[[], None]) -> None:
        """Have `call` called when what is still going on has to end, unless it is forgotten before."""
        self._at_end.add(call)

    def forget(self, call: Callable[[], None]) -> None:
        """Not to be called any more."""
        self._at_end.discard(call)

    async def run(self, timeout_s: float, last_words_s: float = 2.0) -> None:
        """Refuse new requests, wait for the accepted ones, then end those that are left and let them say so."""
        self.is_draining = True
        if not await self._wait_idle(timeout_s):
            await self.end(last_words_s)

    async def end(self, last_words_s: float) -> None:
        """End what is still going on, and wait until everybody was told."""
        self.is_draining = self.has_ended = True
        for call in list(self._at_end):
            call()
        await self._wait_idle(last_words_s)

    async def _wait_idle(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True


class DrainGate:
    """ASGI middleware: counts requests in and out and refuses new ones while draining. Health and metrics go past."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app, self._drain = app, drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in HEALTH_PATHS:
            return await self._app(scope, receive, send)
        try:
            self._drain.enter()
        except NotReadyError as error:
            response = error_response(error, scope["path"])
            response.headers["connection"] = "close"
            return await response(scope, receive, send)
        try:
            await self._app(scope, receive, send)
        finally:
            self._drain.leave()
        return None
