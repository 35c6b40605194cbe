"""Requests that nobody should send: each is refused by itself, quickly, and the others go on."""

import asyncio
import json
import random
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from handful import AsyncClient
from tests.e2e.conftest import Server


def post(server: Server, content: bytes, path: str = "/models/default") -> httpx.Response:
    return httpx.post(f"{server.url}{path}", content=content, timeout=60)


def body(inputs: Any = "a", **parameters: Any) -> bytes:
    return json.dumps({"inputs": inputs, "parameters": {"max_new_tokens": 1} | parameters}).encode()


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/models/default", body("a " * 25_000, max_new_tokens=8000), 422),
        ("/models/default", body("x" * 100_000), 400),
        ("/models/default", body("a " * 10_000), 422),
        ("/models/default", b"x" * 1_100_000, 413),
        ("/models/default", b'{"inputs": "\xff"}', 400),
        ("/models/default", b'{"inputs": "\\ud800"}', 400),
        ("/models/default", b"[" * 100_000, 400),
        ("/models/default", b'{"inputs": ""}', 400),
        ("/models/default", b"", 400),
        ("/models/default", body(["a"] * 2000), 400),
        ("/models/default", body(temperature=101), 400),
        ("/models/default", body(top_p=1.5), 400),
        ("/models/default", body(num_return_sequences=10**9), 400),
        ("/models/default", body(max_new_tokens=2**63), 400),
        ("/models/default", body(max_new_tokens=1_000_000), 422),
        ("/models/default", b'{"inputs": "a", "parameters": {"temperature": NaN}}', 400),
        ("/models/nope", body(), 404),
        ("/models/..%2F..%2Fetc%2Fpasswd", body(), 404),
        ("/tasks/nope", body(), 404),
        ("/tasks/sentiment", b'{"inputs": ""}', 400),
        ("/tasks/sentiment", b'{"inputs": "   "}', 400),
        ("/tasks/sentiment", b'{"inputs": [[]]}', 400),
        ("/tasks/sentiment", b'{"inputs": {"wrong": "field"}}', 400),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(server: Server, path: str, content: bytes, status: int) -> None:
    response = post(server, content, path)
    assert response.status_code == status
    assert all(isinstance(sentence, str) for sentence in response.json()["error"])
    assert "Traceback" not in response.text


def test_text_that_only_looks_dangerous_is_text(server: Server) -> None:
    hostile = "{{ ''.__class__.__mro__ }} \0 \r\n\r\ndata: {} <script> %s ../../etc/passwd 🙂"
    assert post(server, body(hostile)).json()[0]["generated_text"].startswith(hostile)


def test_bad_requests_change_nothing_for_the_good_ones_beside_them(server: Server) -> None:
    noise = random.Random(1)

    def garbage() -> bytes:
        kind = noise.randrange(4)
        if kind == 0:
            return noise.randbytes(200)
        if kind == 1:
            return b"{" * noise.randrange(1, 5000)
        if kind == 2:
            return body("a", **{noise.choice(["top_k", "seed", "stop", "foo"]): noise.choice([-1, [], {}, 2**70])})
        return body(noise.choice([5, {}, [None], ""]))

    async def check() -> None:
        async with AsyncClient(server.url) as client, httpx.AsyncClient(timeout=60) as bare:

            async def streamed(i: int) -> str:
                stream = await client.text_generation(f"Count: {i},", max_new_tokens=6, stream=True)
                return "".join([text async for text in stream])

            async def bad() -> None:
                for _ in range(25):
                    await bare.post(f"{server.url}/models/default", content=garbage())

            alone = [await streamed(i) for i in range(8)]
            together = await asyncio.gather(*(streamed(i) for i in range(8)), *(bad() for _ in range(4)))
            assert together[:8] == alone

    asyncio.run(check())


def raw(server: Server, *pieces: bytes) -> bytes:
    """What the server answers to bytes on a socket; sending stops when it closes the connection."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass
        try:
            return connection.recv(65536)
        except OSError:
            return b""


def test_headers_without_end_are_cut_off(server: Server) -> None:
    lines = [b"GET /health HTTP/1.1\r\nhost: localhost\r\n", *[b"x-a: " + b"b" * 1000 + b"\r\n"] * 2000]
    assert not raw(server, *lines).startswith(b"HTTP/1.1 200")


def test_a_body_in_endless_chunks_is_cut_off(server: Server) -> None:
    head = b"POST /models/default HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    answer = raw(server, head, *[chunk] * 32)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("host", [b"evil.example", b"x/health?", b"localhost@evil.example", b"localhost.evil.example"])
def test_a_foreign_host_is_refused(server: Server, host: bytes) -> None:
    assert raw(server, b"GET /tasks HTTP/1.1\r\nhost: " + host + b"\r\n\r\n").split()[1] in (b"400", b"403")


def test_a_foreign_page_is_refused(server: Server) -> None:
    response = httpx.post(server.model_url, content=body(), headers={"origin": "http://evil.example"})
    assert response.status_code == 403


def test_health_answers_quickly_under_load(server: Server) -> None:
    async def check() -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            work = [
                asyncio.ensure_future(client.post(server.model_url, content=body(f"Count: {i},", max_new_tokens=4)))
                for i in range(64)
            ]
            await asyncio.sleep(0.2)
            slowest = 0.0
            for _ in range(5):
                started = time.perf_counter()
                assert (await client.get(f"{server.url}/health")).status_code == 200
                slowest = max(slowest, time.perf_counter() - started)
                await asyncio.sleep(0.05)
            assert {answer.status_code for answer in await asyncio.gather(*work)} == {200}
            assert slowest < 2  # a busy machine of two cores; without the queue being asked it is milliseconds

    asyncio.run(check())


def test_no_text_reaches_the_log(server: Server) -> None:
    canary = "canary-91c2"
    for content in (body(canary), body(canary, temperature=-1), canary.encode() + b"\xff", b"{" + canary.encode()):
        post(server, content)
    httpx.get(f"{server.url}/{canary}?key={canary}", headers={"authorization": f"Bearer {canary}"})
    assert server.log
    assert canary not in "".join(server.log)
