"""Connections on which no request arrives, over real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from handful.server.connection import PromptProtocol
from handful.server.connection_httptools import PromptHttpToolsProtocol
from tests.unit.server.serving import run

REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Hurried(PromptProtocol):
    head_timeout_s = 0.3


class HurriedHttpTools(PromptHttpToolsProtocol):
    head_timeout_s = 0.3


Protocol = type[Hurried] | type[HurriedHttpTools]
both = pytest.mark.parametrize("protocol", [Hurried, HurriedHttpTools])


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.6)  # longer than a head may take
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def connected(protocol: Protocol) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None, timeout_keep_alive=60)
    config.load()
    state = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    make: Callable[[], asyncio.Protocol] = lambda: protocol(config, state, {})  # noqa: E731
    server = await loop.create_server(make, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


@both
@pytest.mark.parametrize("head", [b"", b"GET / HT", REQUEST[:-2]])
def test_a_head_that_does_not_come_whole_ends_the_connection(protocol: Protocol, head: bytes) -> None:
    async def check() -> None:
        async with connected(protocol) as (reader, writer):
            started = time.monotonic()
            writer.write(head)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            assert 0.2 < time.monotonic() - started < 2

    run(check())


@both
def test_a_head_that_comes_in_drops_has_no_more_time(protocol: Protocol) -> None:
    async def check() -> None:
        async with connected(protocol) as (reader, writer):
            started = time.monotonic()
            writer.write(REQUEST[:-2] + b"x: ")
            ended = asyncio.ensure_future(reader.read())
            while not ended.done() and time.monotonic() - started < 5:
                writer.write(b"x")
                await asyncio.wait([ended], timeout=0.05)
            assert time.monotonic() - started < 4
            with suppress(ConnectionError):  # a drop that came behind the end
                assert await ended == b""

    run(check())


@both
@pytest.mark.parametrize("head", [b"X-Long: " + b"a" * 1024, b"X-A: b\r\n" * 128])
def test_a_head_without_end_is_refused(protocol: Protocol, head: bytes) -> None:
    async def check() -> None:
        async with connected(protocol) as (reader, writer):
            writer.write(REQUEST[:-2])
            ended = asyncio.ensure_future(reader.read())
            num_sent = 0
            with suppress(ConnectionError):
                while not ended.done() and num_sent < 2**20:
                    writer.write(head)
                    num_sent += len(head)
                    await writer.drain()
                    await asyncio.sleep(0)
            assert num_sent < 2**20
            with suppress(ConnectionError):
                assert (await ended).startswith(b"HTTP/1.1 400 ")

    run(check())


@pytest.mark.parametrize("target", [b"http://localhost/", b"http://localhost/health?/models/x", b"*", b"localhost:1"])
def test_a_target_that_is_no_path_is_refused(target: bytes) -> None:
    async def check() -> None:
        async with connected(HurriedHttpTools) as (reader, writer):
            writer.write(b"OPTIONS " + target + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")

    run(check())


@both
def test_a_large_body_is_no_head(protocol: Protocol) -> None:
    async def check() -> None:
        async with connected(protocol) as (reader, writer):
            for _ in range(2):
                body = b"b" * 300_000
                writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 300000\r\n\r\n" + body)
                assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")

    run(check())


@both
def test_an_answer_may_take_longer_and_a_second_request_has_its_own_time(protocol: Protocol) -> None:
    async def check() -> None:
        async with connected(protocol) as (reader, writer):
            for _ in range(2):
                writer.write(REQUEST)
                assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
                await asyncio.sleep(0.4)
            writer.write(REQUEST[:-2])
            assert await asyncio.wait_for(reader.read(), 5) == b""

    run(check())
