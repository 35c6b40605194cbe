"""What holds on every route that works for a model, however it answers: deadlines, drains, ends of streams."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from handful.errors import HandfulError
from handful.server.drain import HEALTH_PATHS, Drain
from handful.server.limits import Limits
from handful.types import ChatTemplate
from tests.unit.server.routes import DESCRIBED, OPERATIONS, known_path, shown_bodies, site_in
from tests.unit.server.serving import FakeModel, run

STREAMED = [
    (path, method)
    for path, method in OPERATIONS
    if "text/event-stream" in DESCRIBED["paths"][path][method]["responses"].get("200", {}).get("content", {})
]
ASKING = [(path, method) for path, method in OPERATIONS if method == "post" and shown_bodies(path, method)]


def chatting(**fields: Any) -> FakeModel:
    return FakeModel(chat_template=ChatTemplate("{{ messages[0].content }}"), **fields)


def streamed(path: str, method: str) -> dict[str, Any]:
    """A body that asks for a stream of one text."""
    body = shown_bodies(path, method)[0] | ({} if path == "/generate_stream" else {"stream": True})
    for key in ("inputs", "prompt"):
        if isinstance(body.get(key), list):
            body[key] = body[key][0]
    return body


def test_there_are_streams_on_every_surface() -> None:
    assert {known_path(path) for path, _ in STREAMED} >= {
        "/",
        "/generate_stream",
        "/v1/completions",
        "/v1/chat/completions",
        "/models/fake",
        "/models/fake/v1/completions",
        "/models/fake/backend/generate",
        "/tasks/sentiment",
    }


@pytest.mark.parametrize(
    "how", [{"fail_at_token": 2}, {"ends_streams": False}, {}], ids=["fails", "breaks off", "ends"]
)
def test_a_stream_ends_with_one_last_event_or_one_error(how: dict[str, Any], tmp_path: Path) -> None:
    async def check() -> None:
        async with site_in(tmp_path, chatting(**how)) as site:
            for path, method in STREAMED:
                if path == "/tasks/{name}":  # a closed task scores, which is no stream to break off
                    continue
                answer = await site.send(path, method, json=streamed(path, method))
                assert answer.status_code == 200, answer.text
                frames = [part.removeprefix("data:").strip() for part in answer.text.split("\n\n") if part.strip()]
                frames = [part for part in frames if part != "[DONE]"]
                errors = [json.loads(part) for part in frames if "error" in json.loads(part)]
                assert len(errors) == (1 if how else 0), (path, frames)
                assert not how or json.loads(frames[-1]) == errors[0], (path, frames)
                is_openai = "/v1/" in path
                assert answer.text.endswith("[DONE]\n\n") == (is_openai and not how), (path, answer.text)

    run(check())


def test_no_request_outlives_its_deadline(tmp_path: Path) -> None:
    """The model never answers: whatever asks it is told so when its time is up, and has left nothing running."""
    limits = Limits(request_timeout_s=0.05)

    async def check() -> set[int]:
        statuses = set()
        async with site_in(tmp_path, limits=limits) as site:
            site.model.gate = asyncio.Event()
            for path, method in ASKING:
                bodies = [shown_bodies(path, method)[0]]
                bodies += [streamed(path, method)] if (path, method) in STREAMED else []
                for body in bodies:
                    started = time.monotonic()
                    answer = await site.send(path, method, json=body)
                    statuses.add(answer.status_code)
                    assert answer.status_code in (200, 201, 400, 404, 409, 504), (path, answer.text)
                    assert time.monotonic() - started < 5, path
            assert site.model.num_running == 0
            assert site.model.num_aborted > 15
        return statuses

    assert 504 in run(check())


def test_while_it_drains_every_route_refuses_but_the_probes(tmp_path: Path) -> None:
    async def check() -> None:
        drain = Drain()
        async with site_in(tmp_path, drain=drain) as site:
            await drain.run(timeout_s=1)
            for path, method in OPERATIONS:
                answer = await site.send(path, method, json=(shown_bodies(path, method) or [{}])[0])
                if path in HEALTH_PATHS:
                    assert answer.status_code == (503 if path == "/ready" else 200), path
                else:
                    assert answer.status_code == 503, (path, method, answer.text)
                    assert answer.headers["retry-after"]

    run(check())


def test_a_fault_of_the_server_is_told_in_the_surfaces_words_and_nothing_else(tmp_path: Path) -> None:
    """An exception that nobody foresaw, with a text in it that is nobody's business."""

    async def check() -> None:
        async with site_in(tmp_path, chatting(error=ZeroDivisionError("secret-4d1c"))) as site:
            told = set()
            for path, method in ASKING:
                answer = await site.send(path, method, json=shown_bodies(path, method)[0])
                assert "secret-4d1c" not in answer.text
                told.add(answer.status_code)
            assert {424, 500} <= told
            site.model.error = HandfulError("It broke.")
            assert (await site.send("/models/{name}", "post", json={"inputs": "a"})).status_code == 500

    run(check())
