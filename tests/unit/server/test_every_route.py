"""What holds on every route: the routes are those of /openapi.json, so a new one is walked too."""

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from handful.server.limits import Limits
from tests.unit.server.routes import (
    OPERATIONS,
    Site,
    body_schema,
    changed,
    leaves,
    shown_bodies,
    site_in,
)

WITH_BODY = [(path, method) for path, method in OPERATIONS if method in ("post", "put")]
WITH_JSON = [(path, method) for path, method in OPERATIONS if shown_bodies(path, method)]
CANARY = "canary-5b1e"
OUTSIDE = [
    "http://169.254.169.254/latest/meta-data",
    "http://[::ffff:169.254.169.254]/",
    "https://hub.example/a/b",
    "![x](http://127.0.0.1:9/x.png)",
    "file:///etc/passwd",
]
HUGE = (2**63, -(2**63), 1e308, "NaN", "Infinity", "1e999")
WRONG: tuple[Any, ...] = ([[]], {"surprise": 1}, True)
QUICK_S = 0.1


def numbers_of(schema: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places of all numbers that a body may have, below objects only."""
    if not isinstance(schema, dict):
        return
    for each in (schema, *schema.get("anyOf", ())):
        if place and each.get("type") in ("integer", "number"):
            yield place
        for name, part in each.get("properties", {}).items():
            yield from numbers_of(part, (*place, name))


NUMBERS = [
    (path, method, place)
    for path, method in WITH_JSON
    for place in sorted(set(numbers_of(body_schema(path, method))))
    if place[0] != "examples"
]


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 120))


def spelled(body: Any) -> bytes:
    """JSON with the numbers that JSON has not, as clients send them."""
    text = json.dumps(body)
    for name in ("NaN", "Infinity", "1e999"):
        text = text.replace(f'"{name}"', name)
    return text.encode()


def test_every_number_out_of_range_is_refused_at_once_and_computes_nothing(tmp_path: Path) -> None:
    assert len(NUMBERS) > 100

    async def check() -> None:
        async with site_in(tmp_path) as site:
            for path, method, place in NUMBERS:
                for value in HUGE:
                    await _refused(site, path, method, changed(shown_bodies(path, method)[0], place, value), place)

    run(check())


async def _refused(site: Site, path: str, method: str, body: Any, place: tuple[str, ...]) -> None:
    seconds = []
    for _ in range(2):  # whatever else the thread has to do, it hasn't twice
        started = time.thread_time()
        answer = await site.send(path, method, content=spelled(body))
        seconds.append(time.thread_time() - started)
    case = f"{method} {path} {place} {body}: {answer.status_code} {answer.text[:300]}"
    if answer.status_code != 200:
        assert 400 <= answer.status_code < 500, case
        assert min(seconds) < QUICK_S, case
    else:  # seeds have 64 bits, and what counts down to a bound may be as large as it likes
        assert place[-1] in ("seed", "top_k", "repetition_penalty"), case


def test_no_refusal_names_a_class_of_the_server(tmp_path: Path) -> None:
    """What is wrong is told in the words of the body, whatever of it has another type."""
    class_name = re.compile(r"\b[A-Z][a-z]+([A-Z][a-z]+)+\b|list\[")

    async def check() -> None:
        async with site_in(tmp_path) as site:
            for path, method in WITH_JSON:
                body = shown_bodies(path, method)[0]
                places = {place[:end] for place, _ in leaves(body) for end in range(1, len(place) + 1)}
                for place in [*sorted(places, key=str), ("parameters",), ("options",)]:
                    for value in WRONG:
                        said = (await site.send(path, method, json=changed(body, place, value))).text
                        assert not class_name.search(said), (path, place, value, said)

    run(check())


def test_a_body_is_refused_while_it_is_read(tmp_path: Path) -> None:
    num_sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal num_sent
        for _ in range(100_000):
            num_sent += 1
            yield b"a" * 1000

    async def check() -> None:
        nonlocal num_sent
        async with site_in(tmp_path, limits=Limits(max_body_bytes=5000, body_timeout_s=5)) as site:
            for path, method in WITH_BODY:
                num_sent = 0
                answer = await site.send(path, method, content=pieces())
                is_upload = path.endswith("/files/{filename}")  # of a bound of its own
                assert answer.status_code == 413, (path, method, answer.text)
                assert num_sent <= (1100 if is_upload else 10), (path, method)

    run(check())


def test_a_body_that_never_comes_is_given_up(tmp_path: Path) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    async def check() -> None:
        async with site_in(tmp_path, limits=Limits(body_timeout_s=0.05)) as site:
            for path, method in WITH_BODY:
                if not path.endswith("/files/{filename}"):  # whose silence is timed by itself
                    assert (await site.send(path, method, content=never())).status_code == 408, (path, method)

    run(check())


def test_nobody_is_asked_for_an_address_that_a_request_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No route looks up a name or opens a connection, wherever in a body an address stands."""
    asked: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        asked.append(arguments)
        raise OSError("not from a test")

    async def check() -> int:
        num_sent = 0
        async with site_in(tmp_path) as site:
            for name in ("connect", "connect_ex"):
                monkeypatch.setattr(socket.socket, name, refuse)
            monkeypatch.setattr(socket, "getaddrinfo", refuse)
            for path, method in WITH_JSON:
                for body in shown_bodies(path, method):
                    places = [place for place, value in leaves(body) if isinstance(value, str)]
                    for place in [*places, ("model",)]:
                        for address in OUTSIDE:
                            answer = await site.send(path, method, json=changed(body, place, address))
                            assert answer.status_code < 500 or "registered by a test" in answer.text, answer.text
                            num_sent += 1
        return num_sent

    assert run(check()) > 300
    assert asked == []


def test_no_text_of_a_request_reaches_a_log_or_a_figure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At debug level, in all loggers there are: the server's own, its libraries' too."""
    caplog.set_level(logging.DEBUG)

    async def check() -> str:
        async with site_in(tmp_path) as site:
            for path, method in OPERATIONS:
                await _send_canaries(site, path, method)
            site.model.error = ZeroDivisionError(CANARY)
            for path, method in WITH_JSON:
                await site.send(path, method, json=shown_bodies(path, method)[0])
            return (await site.send("/metrics", "get")).text

    figures = run(check())
    said = [record for record in caplog.records if record.name not in ("httpx", "asyncio")]  # the client's own
    assert len(said) > 200
    assert CANARY not in figures
    assert [record.getMessage() for record in said if CANARY in record.getMessage() + str(record.exc_info)] == []


async def _send_canaries(site: Site, path: str, method: str) -> None:
    headers = {"x-request-id": CANARY, "user-agent": CANARY, "cookie": CANARY, "referer": f"http://{CANARY}"}
    for body in shown_bodies(path, method) or [{}]:
        texts = [place for place, value in leaves(body) if isinstance(value, str)]
        await site.send(path, method, json=body, params={CANARY: CANARY}, headers=headers)
        for sent in ({CANARY: CANARY}, *(changed(body, place, CANARY) for place in texts)):
            await site.send(path, method, json=sent, headers=headers)
    await site.make_task()
    await site.client.request(method, f"{path}/{CANARY}", headers=headers | {"authorization": f"Bearer {CANARY}"})


def test_two_requests_of_one_id_at_a_time_are_two(tmp_path: Path) -> None:
    async def check() -> None:
        async with site_in(tmp_path) as site:
            headers = {"x-request-id": "mine"}
            bodies = [{"inputs": text, "parameters": {"max_new_tokens": 2}} for text in ("one", "two")]
            sent = [site.send("/models/{name}", "post", json=body, headers=headers) for body in bodies]
            answers = await asyncio.gather(*sent)
            assert [each.json()[0]["generated_text"] for each in answers] == ["one w1 w2", "two w1 w2"]
            ids = {each.headers["x-request-id"] for each in answers}
            assert len(ids) == 2
            assert "mine" not in ids

    run(check())


TEXTS = ["a", "b", "c"]
FANNED_OUT: list[tuple[str, Any, Any]] = [  # what makes nine of three, and what makes eight
    ("/models/fake", {"inputs": TEXTS, "parameters": {"num_return_sequences": 3, "do_sample": True}}, "inputs"),
    ("/", {"inputs": TEXTS, "parameters": {"num_return_sequences": 3, "do_sample": True}}, "inputs"),
    ("/generate", {"inputs": "a", "parameters": {"best_of": 9, "do_sample": True}}, None),
    ("/v1/completions", {"prompt": TEXTS, "n": 3, "max_tokens": 2}, "prompt"),
    ("/v1/completions", {"prompt": [[1], [2], [3]], "n": 1, "best_of": 3, "max_tokens": 2}, "prompt"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "n": 9}, None),
    ("/v1/embeddings", {"input": TEXTS * 3}, "input"),
    ("/models/fake/backend/generate", {"inputs": TEXTS, "parameters": {"n": 3, "temperature": 1.0}}, "inputs"),
    ("/models/fake/backend/embed", {"inputs": TEXTS * 3}, "inputs"),
    ("/models/fake/backend/score", {"inputs": TEXTS * 3, "continuations": ["x"]}, "inputs"),
    ("/models/fake/pipeline/feature-extraction", {"inputs": TEXTS * 3}, "inputs"),
    (
        "/models/fake/pipeline/zero-shot-classification",
        {"inputs": TEXTS, "parameters": {"candidate_labels": ["x", "y", "z"]}},
        "inputs",
    ),
    ("/tasks/sentiment", {"inputs": TEXTS * 3}, "inputs"),
]


@pytest.mark.parametrize(("path", "body", "many"), FANNED_OUT)
def test_what_a_request_makes_of_its_texts_counts(path: str, body: Any, many: str | None, tmp_path: Path) -> None:
    """Nine are more than eight, however they come about; and nothing of them is begun."""

    async def check() -> None:
        async with site_in(tmp_path, limits=Limits(max_completions=8)) as site:
            before = len(site.model.prompts)
            refused = await site.client.post(path, json=body, headers=site.headers)
            assert 400 <= refused.status_code < 423, refused.text
            assert "more than 8" in refused.text
            assert len(site.model.prompts) == before
            if many is not None:
                fewer = body | {many: body[many][:2]}
                answered = await site.client.post(path, json=fewer, headers=site.headers)
                assert answered.status_code == 200, answered.text

    run(check())
