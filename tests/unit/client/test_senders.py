"""Sending a call once: over our own connections, and over httpx, which have to do the same."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from handful.client import connections
from handful.client.async_driver import AsyncDriver
from handful.client.direct_sender import DirectSender
from handful.client.exchange import Answer, Call, Failure, RetryPolicy
from handful.client.httpx_sender import HttpxSender
from handful.client.sender import Sender
from handful.client.transport import Endpoint
from handful.errors import RemoteError, RequestTimeoutError

Writer = asyncio.StreamWriter
Speak = Callable[["Heard", Writer], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
CALL = Call("POST", "/tasks/mood", b'{"inputs": "a"}')
both_senders = pytest.mark.parametrize("kind", [DirectSender, HttpxSender])


class Heard:
    """What a server was told: requests, and how many connections there were and are."""

    def __init__(self) -> None:
        self.heads: list[list[str]] = []
        self.bodies: list[bytes] = []
        self.num_opened = self.num_now = self.most_at_once = 0


@asynccontextmanager
async def server(speak: Speak, port: int = 0) -> AsyncIterator[tuple[str, Heard]]:
    """A server that reads requests and has `speak` answer each."""
    heard, tasks = Heard(), set[asyncio.Task[object]]()

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        heard.num_opened += 1
        heard.num_now += 1
        heard.most_at_once = max(heard.most_at_once, heard.num_now)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
                length = [int(line.split(": ")[1]) for line in head if line.lower().startswith("content-length")]
                heard.heads.append(head)
                heard.bodies.append(await reader.readexactly(length[0] if length else 0))
                await speak(heard, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            heard.num_now -= 1
            writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield url_of(listening), heard
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # until the connections have closed


def url_of(listening: asyncio.Server) -> str:
    return f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def say(answer: bytes, *, then_closes: bool = False) -> Speak:
    async def speak(_: Heard, writer: Writer) -> None:
        writer.write(answer)
        if then_closes:
            writer.close()

    return speak


async def nothing(_: Heard, __: Writer) -> None:
    """Never an answer."""


@asynccontextmanager
async def sender_of(kind: type[DirectSender | HttpxSender], url: str, **fields: object) -> AsyncIterator[Sender]:
    sender = kind(Endpoint(url, "secret", **fields))  # type: ignore[arg-type]
    try:
        yield sender
    finally:
        await sender.close()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.005)


@both_senders
def test_a_call_goes_out_with_its_body_its_headers_and_the_token(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        async with server(say(OK)) as (url, heard), sender_of(kind, f"{url}/below/") as sender:
            for call in (CALL, Call("DELETE", "/tasks/a/examples?id=x%20y", headers={"if-match": '"3"'})):
                assert await sender.send(call) == Answer(200, {"content-length": "2"}, b"[]")
            assert [head[0] for head in heard.heads] == [
                "POST /below/tasks/mood HTTP/1.1",
                "DELETE /below/tasks/a/examples?id=x%20y HTTP/1.1",
            ]
            told = [{line.partition(": ")[0].lower(): line.partition(": ")[2] for line in it[1:]} for it in heard.heads]
            for each in told:
                assert each["host"] == url.removeprefix("http://")
                assert (each["authorization"], each["content-type"]) == ("Bearer secret", "application/json")
            assert told[0]["content-length"] == str(len(CALL.body or b""))
            assert told[1]["if-match"] == '"3"'
            assert heard.bodies == [CALL.body, b""]

    asyncio.run(check())


@both_senders
def test_a_connection_is_used_again(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        async with server(say(OK)) as (url, heard), sender_of(kind, url) as sender:
            for _ in range(3):
                await sender.send(CALL)
            assert heard.num_opened == 1
        await until(lambda: heard.num_now == 0)

    asyncio.run(check())


@both_senders
def test_a_connection_that_the_server_closed_is_not(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        async with server(say(OK, then_closes=True)) as (url, heard), sender_of(kind, url) as sender:
            for _ in range(2):
                assert isinstance(await sender.send(CALL), Answer)
                await until(lambda: heard.num_now == 0)
                await asyncio.sleep(0.01)
            assert heard.num_opened == 2

    asyncio.run(check())


def test_a_connection_that_nobody_used_for_long_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with server(say(OK)) as (url, heard), sender_of(DirectSender, url) as sender:
            await sender.send(CALL)
            await asyncio.sleep(0.02)
            await sender.send(CALL)
            assert heard.num_opened == 2
            await until(lambda: heard.num_now == 1)

    monkeypatch.setattr(connections, "IDLE_S", 0.01)
    asyncio.run(check())


@both_senders
def test_calls_side_by_side_have_a_connection_each(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        together = asyncio.Event()

        async def speak(heard: Heard, writer: Writer) -> None:
            if len(heard.bodies) == 8:
                together.set()
            await together.wait()
            writer.write(OK)

        async with server(speak) as (url, _), sender_of(kind, url) as sender:
            answers = await asyncio.gather(*(sender.send(CALL) for _ in range(8)))
            assert all(isinstance(each, Answer) for each in answers)

    asyncio.run(check())


def test_more_calls_than_connections_wait_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with server(say(OK)) as (url, heard), sender_of(DirectSender, url) as sender:
            answers = await asyncio.gather(*(sender.send(CALL) for _ in range(12)))
            assert all(isinstance(each, Answer) for each in answers)
            assert heard.most_at_once == 3

    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    asyncio.run(check())


def test_who_waits_too_long_for_a_connection_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with server(nothing) as (url, heard), sender_of(DirectSender, url, timeout_s=0.1) as sender:
            first, second = await asyncio.gather(sender.send(CALL), sender.send(CALL))
            for found in (first, second):
                assert isinstance(found, Failure)
                assert isinstance(found.error, RequestTimeoutError)
            assert heard.num_opened == 1

    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    asyncio.run(check())


@both_senders
def test_cancelling_a_call_closes_its_connection(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        async with server(nothing) as (url, heard), sender_of(kind, url) as sender:
            asking = asyncio.ensure_future(sender.send(CALL))
            await until(lambda: len(heard.bodies) == 1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await until(lambda: heard.num_now == 0)

    asyncio.run(check())


@both_senders
def test_a_silent_server_is_given_up(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        async with server(nothing) as (url, heard), sender_of(kind, url, timeout_s=0.1) as sender:
            found = await sender.send(CALL)
            assert isinstance(found, Failure)
            assert isinstance(found.error, RequestTimeoutError)
            assert found.was_sent
            await until(lambda: heard.num_now == 0)

    asyncio.run(check())


@both_senders
def test_a_slow_answer_is_not_a_silent_server(kind: type[DirectSender | HttpxSender]) -> None:
    async def speak(_: Heard, writer: Writer) -> None:
        for part in (OK[:7], OK[7:20], OK[20:-1], OK[-1:]):
            writer.write(part)
            await asyncio.sleep(0.12)

    async def check() -> None:
        async with server(speak) as (url, _), sender_of(kind, url, timeout_s=0.3) as sender:
            assert isinstance(await sender.send(CALL), Answer)

    asyncio.run(check())


def test_a_body_that_is_taken_slowly_is_not_a_silent_server() -> None:
    async def check() -> None:
        async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                for _ in range(num_parts):
                    await reader.readexactly(len(body) // num_parts)
                    await asyncio.sleep(0.05)
                writer.write(OK)
                await writer.drain()
            finally:
                writer.transport.abort()

        num_parts, body = 24, b"a" * (48 * 2**20)  # more than the system takes at once
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with listening, sender_of(DirectSender, url_of(listening), timeout_s=0.8) as sender:
            began = asyncio.get_running_loop().time()
            assert isinstance(await sender.send(Call("POST", "/", body)), Answer)
            assert asyncio.get_running_loop().time() - began > 0.9

    asyncio.run(check())


@both_senders
@pytest.mark.parametrize("said", [b"", OK[:-1], b"HTTP/1.1 200 OK\r\n", b"no HTTP at all\r\n\r\n"])
def test_a_connection_that_breaks_is_a_failure_that_is_not_tried_again(
    kind: type[DirectSender | HttpxSender], said: bytes
) -> None:
    async def check() -> None:
        async with server(say(said, then_closes=True)) as (url, _), sender_of(kind, url) as sender:
            found = await sender.send(CALL)
            assert isinstance(found, Failure)
            assert isinstance(found.error, RemoteError)
            assert found.was_sent
            assert "broke" in str(found.error)

    asyncio.run(check())


@both_senders
def test_where_nobody_listens_nothing_was_sent(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        async with server(nothing) as (url, _):
            pass
        async with sender_of(kind, url) as sender:
            for found in (await sender.send(CALL), (await sender.open(CALL))[0]):
                assert isinstance(found, Failure)
                assert not found.was_sent
                assert "No server answers" in str(found.error)

    asyncio.run(check())


async def streaming(heard: Heard, writer: Writer) -> None:
    """Parts for as long as somebody reads."""
    writer.write(CHUNKED)
    while heard.num_now and not writer.is_closing():
        writer.write(b"400\r\n" + b"a" * 1024 + b"\r\n")
        await writer.drain()


async def opened(sender: Sender) -> AsyncGenerator[bytes, None]:
    answer, body = await sender.open(CALL)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (200, b"")
    assert body is not None
    return body


@both_senders
def test_a_stream_is_read_as_it_comes_and_its_connection_is_used_again(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        goes_on = asyncio.Event()

        async def speak(_: Heard, writer: Writer) -> None:
            writer.write(CHUNKED + b"1\r\na\r\n")
            await goes_on.wait()
            writer.write(b"1\r\nb\r\n0\r\n\r\n")

        async with server(speak) as (url, heard), sender_of(kind, url) as sender:
            for _ in range(2):
                goes_on.clear()
                body = await opened(sender)
                assert await anext(body) == b"a"
                goes_on.set()
                assert [part async for part in body] == [b"b"]
            assert heard.num_opened == 1

    asyncio.run(check())


@both_senders
def test_closing_a_stream_closes_its_connection(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        async with server(streaming) as (url, heard), sender_of(kind, url) as sender:
            body = await opened(sender)
            await anext(body)
            await body.aclose()
            await until(lambda: heard.num_now == 0)

    asyncio.run(check())


def test_a_stream_that_nobody_reads_is_held_back() -> None:
    async def check() -> None:
        num_written = 0

        async def speak(heard: Heard, writer: Writer) -> None:
            nonlocal num_written
            writer.write(CHUNKED)
            while not writer.is_closing():
                writer.write(b"10000\r\n" + b"a" * 2**16 + b"\r\n")
                await writer.drain()
                num_written += 2**16

        async with server(speak) as (url, _), sender_of(DirectSender, url) as sender:
            body = await opened(sender)
            await anext(body)
            before = -1
            async with asyncio.timeout(5):
                while num_written != before:
                    before = num_written
                    await asyncio.sleep(0.1)
            assert num_written < 2**24
            async for _ in body:
                if num_written > before + 2**22:
                    break
            await body.aclose()

    asyncio.run(check())


@both_senders
def test_a_stream_that_breaks_raises_what_its_connection_does(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        async with server(say(CHUNKED + b"1\r\na\r\n", then_closes=True)) as (url, _), sender_of(kind, url) as sender:
            body = await opened(sender)
            assert await anext(body) == b"a"
            with pytest.raises(RemoteError, match="broke"):
                await anext(body)

    asyncio.run(check())


@both_senders
def test_a_stream_that_falls_silent_is_given_up(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        async with server(say(CHUNKED + b"1\r\na\r\n")) as (url, _), sender_of(kind, url, timeout_s=0.1) as sender:
            body = await opened(sender)
            assert await anext(body) == b"a"
            with pytest.raises(RequestTimeoutError):
                await anext(body)

    asyncio.run(check())


@both_senders
def test_a_stream_that_is_refused_is_read(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        refused = b"HTTP/1.1 429 Too Many\r\ncontent-length: 4\r\nretry-after: 1\r\n\r\nbusy"
        async with server(say(refused)) as (url, heard), sender_of(kind, url) as sender:
            for _ in range(2):
                answer, body = await sender.open(CALL)
                assert answer == Answer(429, {"content-length": "4", "retry-after": "1"}, b"busy")
                assert body is None
            assert heard.num_opened == 1

    asyncio.run(check())


@both_senders
def test_a_redirect_is_an_answer(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        away = b"HTTP/1.1 307 Away\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
        async with server(say(away)) as (url, heard), sender_of(kind, url) as sender:
            answer = await sender.send(CALL)
            assert isinstance(answer, Answer)
            assert answer.status == 307
            assert len(heard.heads) == 1

    asyncio.run(check())


def test_a_sender_goes_from_one_event_loop_to_the_next() -> None:
    async def check(port: int) -> str:
        async with server(say(OK), port) as (url, heard):
            sender = senders.setdefault(None, DirectSender(Endpoint(url)))
            for _ in range(2):
                assert isinstance(await sender.send(CALL), Answer)
            assert heard.num_opened == 1
        return url

    senders: dict[None, DirectSender] = {}
    url = asyncio.run(check(0))
    assert asyncio.run(check(int(url.rpartition(":")[2]))) == url


@both_senders
def test_a_closed_sender_sends_nothing(kind: type[DirectSender | HttpxSender]) -> None:
    async def check() -> None:
        async with server(say(OK)) as (url, heard):
            async with sender_of(kind, url) as sender:
                pass
            with pytest.raises(RuntimeError, match="closed"):
                await sender.send(CALL)
            await sender.close()
            assert heard.heads == []

    asyncio.run(check())


@pytest.mark.parametrize("path", ["/a b", "/a\r\nx: y", "//ä", "/a#b", "a"])
def test_what_would_not_be_one_request_is_not_sent(path: str) -> None:
    async def check() -> None:
        async with server(say(OK)) as (url, heard), sender_of(DirectSender, url) as sender:
            for call in (Call("GET", path), Call("GET", "/", headers={"if-match": path + "\r\n"})):
                with pytest.raises(ValueError, match="can't be sent"):
                    await sender.send(call)
            assert heard.heads == []

    asyncio.run(check())


@pytest.mark.parametrize(
    ("url", "proxy", "is_direct"),
    [
        ("http://127.0.0.1:8000", "", True),
        ("http://127.0.0.1:8000", "http://proxy:1", True),
        ("http://[::1]:8000/below", "", True),
        ("http://models.example", "", True),
        ("http://models.example", "http://proxy:1", False),
        ("https://127.0.0.1:8000", "", False),
        ("http://möbel.example", "", False),
        ("http://models.example/a%20b", "", False),
    ],
)
def test_httpx_sends_what_is_more_than_plain_http(
    monkeypatch: pytest.MonkeyPatch, url: str, proxy: str, is_direct: bool
) -> None:
    monkeypatch.setattr("handful.client.transport.getproxies", lambda: {"http": proxy} if proxy else {})

    async def check() -> None:
        driver = AsyncDriver(Endpoint(url), RetryPolicy())
        assert isinstance(driver._sender, DirectSender) == is_direct
        await driver.close()

    asyncio.run(check())


def test_without_httptools_httpx_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handful.client.async_driver.find_spec", lambda _: None)

    async def check() -> None:
        async with server(say(OK)) as (url, heard):
            driver = AsyncDriver(Endpoint(url), RetryPolicy())
            assert json.loads((await driver.run(CALL)).body) == []
            assert "python-httpx" in "".join(heard.heads[0])
            await driver.close()

    asyncio.run(check())
