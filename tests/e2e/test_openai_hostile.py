"""Requests to OpenAI's and TGI's surfaces that nobody should send: each gets its own 4xx, and the others go on."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Server


def completion(**fields: Any) -> bytes:
    return json.dumps({"prompt": "a", "max_tokens": 1} | fields).encode()


def chat(content: Any, **fields: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": 1} | fields).encode()


CASES: list[tuple[str, bytes, int]] = [
    ("/v1/completions", b"", 400),
    ("/v1/completions", b"{", 400),
    ("/v1/completions", b"[" * 100_000, 400),
    ("/v1/completions", b'{"prompt": "\xff"}', 400),
    ("/v1/completions", b"x" * 1_100_000, 413),
    ("/v1/completions", completion(prompt="x" * 100_000), 400),
    ("/v1/completions", completion(prompt=["a"] * 2000), 400),
    ("/v1/completions", completion(prompt=[10**9]), 400),
    ("/v1/completions", completion(prompt=[[-1]]), 400),
    ("/v1/completions", completion(prompt=[1] * 9000), 400),
    ("/v1/completions", completion(prompt=[[]] * 5), 400),
    ("/v1/completions", completion(max_tokens=10**6), 400),
    ("/v1/completions", completion(n=10**6), 400),
    ("/v1/completions", completion(logit_bias={"999999": 1}), 400),
    ("/v1/completions", completion(logit_bias={str(i): 1 for i in range(2000)}), 400),
    ("/v1/completions", completion(model="../../etc/passwd"), 404),
    ("/v1/completions", completion(model="http://localhost/models/../../etc/passwd"), 404),
    ("/v1/chat/completions", chat({"a": 1}), 400),
    ("/v1/chat/completions", chat("x" * 100_000), 400),
    ("/v1/chat/completions", chat("a " * 20_000), 400),
    ("/v1/chat/completions", json.dumps({"messages": [{"role": "user", "content": "a"}] * 5000}).encode(), 400),
    ("/v1/embeddings", b'{"input": {}}', 400),
    ("/v1/embeddings", json.dumps({"input": [1] * 9000}).encode(), 400),
    ("/v1", b"[" * 100_000, 422),
    ("/generate", b'{"inputs": ["a"]}', 422),
    ("/tokenize", b'{"inputs": 5}', 422),
    ("/tokenize", b"x" * 1_100_000, 413),
]


@pytest.mark.parametrize(("path", "content", "status"), CASES)
def test_a_bad_request_is_told_what_is_wrong(server: Server, path: str, content: bytes, status: int) -> None:
    response = httpx.post(server.url + path, content=content, timeout=60)
    assert response.status_code == status
    error = response.json()["error"]
    assert len(error["message"] if isinstance(error, dict) else error) > 10
    assert "Traceback" not in response.text


def test_what_a_message_spells_is_text_and_no_template(server: Server) -> None:
    for text in ("{{ 7 * 191 }}", "{% for i in range(10 ** 9) %}{% endfor %}", "{{ ''.__class__ }}"):
        response = httpx.post(f"{server.url}/v1/chat/completions", content=chat(text), timeout=60)
        assert response.status_code == 200


def test_streams_that_are_left_change_no_other(server: Server) -> None:
    async def leave(client: httpx.AsyncClient, i: int) -> None:
        body = {"prompt": [f"Count: {i},", "Once"], "n": 2, "max_tokens": 500, "stream": True}
        async with client.stream("POST", f"{server.url}/v1/completions", json=body) as response:
            async for _ in response.aiter_lines():
                return

    async def check() -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            body = {"prompt": "Count: 1, 2,", "max_tokens": 8, "temperature": 0}

            async def text() -> str:
                answered = await client.post(f"{server.url}/v1/completions", json=body)
                return str(answered.json()["choices"][0]["text"])

            alone = await text()
            *_, together = await asyncio.gather(*(leave(client, i) for i in range(6)), text())
            assert together == alone
            for _ in range(100):
                figures = (await client.get(f"{server.url}/metrics")).text
                if "\nhandful_requests_running 0.0" in figures:
                    return
                await asyncio.sleep(0.1)
            raise AssertionError("what was left is still computed")

    asyncio.run(check())


def test_no_text_reaches_the_log_or_the_figures(server: Server) -> None:
    canary = "canary-4f1b"
    for path, content in (
        ("/v1/completions", completion(prompt=canary)),
        ("/v1/completions", completion(**{canary: 1})),
        ("/v1/completions", completion(model=canary)),
        ("/v1/chat/completions", chat(canary)),
        ("/v1/embeddings", json.dumps({"input": canary}).encode()),
        ("/tokenize", json.dumps({"inputs": canary}).encode()),
        (f"/v1/{canary}", b""),
    ):
        httpx.post(server.url + path, content=content, timeout=60, headers={"authorization": f"Bearer {canary}"})
    assert canary not in httpx.get(f"{server.url}/metrics").text
    assert server.log
    assert canary not in "".join(server.log)
