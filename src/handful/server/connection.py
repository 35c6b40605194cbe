"""A connection that says nothing is not kept: uvicorn's HTTP protocol with a deadline for a request's head.

uvicorn closes a connection that stays silent between two requests, but waits for ever for the first one, and for the
rest of one whose head has begun. So thousands of connections could be held open for nothing.

Where httptools is installed, connection_httptools.py does the same over a parser in C.
"""

import asyncio
from importlib.util import find_spec

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from handful.server.head_deadline import HEAD_TIMEOUT_S, HeadDeadline


def fastest_protocol() -> type[asyncio.Protocol]:
    """The protocol to serve with."""
    if find_spec("httptools") is None:
        return PromptProtocol
    from handful.server.connection_httptools import PromptHttpToolsProtocol

    return PromptHttpToolsProtocol


class PromptProtocol(H11Protocol):
    """HTTP/1.1 in which a whole head must arrive within `head_timeout_s` of the connection or of its first byte.

    h11 bounds the size of a head.
    """

    head_timeout_s = HEAD_TIMEOUT_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, for so long."""
        super().connection_made(transport)
        self._deadline = HeadDeadline(self.loop, transport, self.head_timeout_s)
        self._deadline.begin()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head that has begun."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._deadline.end()
        else:
            self._deadline.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._deadline.end()
        super().connection_lost(exc)
