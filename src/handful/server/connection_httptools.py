"""The same promises as connection.py's over httptools, whose parser is Node's, in C: the only importer of httptools.

Unlike h11 it takes heads of any size and keeps them whole, so their size is bounded here. And it would take the path
out of a whole URL, where uvicorn over h11 finds no route: who may do what is decided by the path, so a target is one.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from handful.server.head_deadline import HEAD_TIMEOUT_S, MAX_HEAD_BYTES, HeadDeadline


class PromptHttpToolsProtocol(HttpToolsProtocol):
    """HTTP/1.1 in which a whole head must arrive within `head_timeout_s` of the connection or of its first byte.

    A head of more than `MAX_HEAD_BYTES` (and what is read at a time) is answered with 400.
    """

    head_timeout_s = HEAD_TIMEOUT_S
    _num_head_bytes = 0
    _is_in_body = False
    _has_ended = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, for so long."""
        super().connection_made(transport)
        self._deadline = HeadDeadline(self.loop, transport, self.head_timeout_s)
        self._deadline.begin()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head that has begun, and for so much of it."""
        self._has_ended = False
        super().data_received(data)
        if self._is_in_body or self._has_ended:  # what of the data belongs to a next head is not known
            return
        self._deadline.begin()
        self._num_head_bytes += len(data)
        if self._num_head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """The head is whole. What is raised here is answered with 400."""
        if not self.url.startswith(b"/"):
            raise ValueError("the target of a request must be a path")
        self._deadline.end()
        self._num_head_bytes = 0
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is whole: what comes next is another head."""
        self._is_in_body, self._has_ended = False, True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._deadline.end()
        super().connection_lost(exc)
