"""A load generator that costs next to nothing, so that a server's own cost shows: HTTP/1.1 as bytes, no client library.

Each connection sends the next request as soon as its last one is answered. Requests are made beforehand; of an answer
only its status and length are read.
"""

import asyncio
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

_END_OF_HEAD = b"\r\n\r\n"


async def ask_all(url: str, requests: Sequence[bytes], num_connections: int) -> None:
    """Send all requests, so many at a time. Raises RuntimeError where one is not answered with 200."""
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    left = iter(requests)
    host, port = parts.hostname, parts.port
    assert host is not None
    assert port is not None
    opened = [
        await loop.create_connection(lambda: _Connection(left), host, port)
        for _ in range(min(num_connections, len(requests)))
    ]
    for _, connection in opened:
        connection.begin()
    await asyncio.gather(*(connection.ended for _, connection in opened))


def post(url: str, path: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    lines = (f"POST {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}", "Content-Type: application/json")
    head = "\r\n".join((*lines, f"Content-Length: {len(body)}"))
    return head.encode() + _END_OF_HEAD + body


class _Connection(asyncio.Protocol):
    """One after the other, until none is left."""

    def __init__(self, left: Iterator[bytes]) -> None:
        self._left = left
        self._answer = b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection; sending begins when all are open."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def begin(self) -> None:
        """Send the next request, or end."""
        request = next(self._left, None)
        if request is not None:
            self._transport.write(request)
        elif not self.ended.done():
            self.ended.set_result(None)
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """A whole answer makes room for the next request."""
        self._answer += data
        head, found, body = self._answer.partition(_END_OF_HEAD)
        if not found or len(body) < _length(head):
            return None
        if not head.startswith(b"HTTP/1.1 200 "):
            return self._fail(head + _END_OF_HEAD + body)
        self._answer = b""
        return self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server may not leave before all is answered."""
        self._fail(f"the connection was closed: {exc}".encode())

    def _fail(self, problem: bytes) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(problem.decode(errors="replace")))


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise RuntimeError(f"an answer without a length: {head!r}")
