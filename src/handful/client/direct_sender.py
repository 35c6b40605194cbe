"""Sends over plain HTTP without a library in between: what most clients of handful do, on their own machine."""

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from importlib.metadata import version
from urllib.parse import urlsplit

from handful.client.connection import BROKEN, Connection
from handful.client.connections import Connections
from handful.client.exchange import Answer, Call, Failure
from handful.client.transport import Endpoint
from handful.errors import HandfulError

_TARGET = re.compile(r"/[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*")
_HEADER = re.compile(r"[ -~]*")


class DirectSender:
    """See `Sender`. httpx would send the same but for `accept-encoding` and its own name."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        parts = urlsplit(endpoint.url)
        self._host, self._port, self._prefix = parts.hostname or "", parts.port or 80, parts.path.rstrip("/")
        lines = [f"host: {parts.netloc}", "accept: */*", "accept-encoding: identity", "connection: keep-alive"]
        lines.append(f"user-agent: handful/{version('handful')}")
        lines += [f"{name}: {value}" for name, value in endpoint.headers.items()]
        self._head = "\r\n".join(lines)
        self._connections: Connections | None = None
        self._is_closed = False

    async def send(self, call: Call) -> Answer | Failure:
        """See `Sender.send`."""
        taken = await self._take()
        if isinstance(taken, Failure):
            return taken
        connections, connection = taken
        try:
            return await connection.ask(self._request(call))
        except BROKEN as error:
            return Failure(self._broken(error), was_sent=True)
        finally:
            connections.give(connection)

    async def open(self, call: Call) -> tuple[Answer | Failure, AsyncGenerator[bytes, None] | None]:
        """See `Sender.open`."""
        taken = await self._take()
        if isinstance(taken, Failure):
            return taken, None
        connections, connection = taken
        is_handed_on = False
        try:
            answer = await connection.open(self._request(call))
            is_handed_on = 200 <= answer.status < 300
            if is_handed_on:
                return answer, self._body(connections, connection)
            parts = [part async for part in _parts(connection)]
            return replace(answer, body=b"".join(parts)), None
        except BROKEN as error:
            return Failure(self._broken(error), was_sent=True), None
        finally:
            if not is_handed_on:
                connections.give(connection)

    async def close(self) -> None:
        """See `Sender.close`."""
        self._is_closed = True
        if self._connections is not None and self._connections.loop is asyncio.get_running_loop():
            self._connections.close()

    async def _body(self, connections: Connections, connection: Connection) -> AsyncGenerator[bytes, None]:
        try:
            async for part in _parts(connection):
                yield part
        except BROKEN as error:
            raise self._broken(error) from None
        finally:
            connections.give(connection)

    async def _take(self) -> tuple[Connections, Connection] | Failure:
        if self._is_closed:
            raise RuntimeError("the client is closed")
        if self._connections is None or self._connections.loop is not asyncio.get_running_loop():
            limits = {"timeout_s": self._endpoint.timeout_s, "connect_timeout_s": self._endpoint.connect_timeout_s}
            self._connections = Connections(self._host, self._port, **limits)
        connections = self._connections
        try:
            await connections.wait_for_room()
        except TimeoutError:
            return Failure(self._endpoint.silent(), was_sent=True)  # not to be tried again: it has waited long enough
        try:
            return connections, await connections.take()
        except OSError:
            return self._endpoint.unreachable()

    def _request(self, call: Call) -> bytes:
        """A request as it goes over the wire. Raises ValueError for a call that would not be one request."""
        target = self._prefix + call.path
        if not _TARGET.fullmatch(target) or not all(map(_HEADER.fullmatch, call.headers.values())):
            raise ValueError("a call's path or header has characters that can't be sent")
        head = f"{call.method} {target} HTTP/1.1\r\n{self._head}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
        body = call.body or b""
        if body or call.method in ("POST", "PUT", "PATCH"):
            head += f"content-length: {len(body)}\r\n"
        return f"{head}\r\n".encode("ascii") + body

    def _broken(self, error: BaseException) -> HandfulError:
        is_silent = isinstance(error, TimeoutError)
        return self._endpoint.silent() if is_silent else self._endpoint.lost(type(error).__name__)


async def _parts(connection: Connection) -> AsyncGenerator[bytes, None]:
    while part := await connection.read():
        yield part
