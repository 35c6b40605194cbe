"""POST /models/{model}/backend/{verb}: what a `Backend` does, over HTTP, for `handful.connect` and its like.

A client's prefix is kept like any other shared text, as long as there is room: only a server's own tasks are pinned.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from handful.backend import AsyncBackend
from handful.errors import EngineError
from handful.protocol.backend_answers import COUNTS, EVENT, GENERATIONS, SCORES, vectors_on_the_wire
from handful.protocol.backend_requests import (
    BackendRequest,
    CountRequest,
    EmbedRequest,
    GenerateRequest,
    ScoreRequest,
)
from handful.server.attend import attend, closing, side_by_side
from handful.server.event_stream import EventStream
from handful.server.headers import model_headers, work_headers
from handful.server.limits import read_body
from handful.server.openai_streams import Asked, begin
from handful.server.openapi import json_answer, json_body
from handful.server.state import state_of
from handful.types import Completion, Generation, GenerationParameters, Prompt, Score

Wire = TypeVar("Wire", bound=BackendRequest)
Result = TypeVar("Result")
Answer = Callable[[Request, str], Awaitable[Response]]
router = APIRouter(tags=["backend"])
_VECTORS = TypeAdapter(list[Any])


async def _generate(request: Request, name: str) -> Response:
    """For each input its completions with their tokens and what the prompt cost; or the events of a stream."""
    wire = await _read(request, name, GenerateRequest)
    parameters = wire.parameters.generation_parameters()
    asked = await _begin(request, name, wire, parameters.num_drawn)
    if wire.stream:
        headers = model_headers(asked.backend.info, wire.num_characters)
        return EventStream(_events(asked.backend, wire.prompts[0], parameters), asked.watch, headers)
    works = (asked.backend.generate(prompt, parameters) for prompt in wire.prompts)
    return await _answer(asked, wire, works, GENERATIONS)


async def _score(request: Request, name: str) -> Response:
    """For each input the log-probability of every continuation behind it."""
    wire = await _read(request, name, ScoreRequest)
    asked = await _begin(request, name, wire)
    works = (asked.backend.score(text, wire.wanted) for text in wire.texts)
    return await _answer(asked, wire, works, SCORES)


async def _embed(request: Request, name: str) -> Response:
    """For each input the model's hidden state at its last token."""
    wire = await _read(request, name, EmbedRequest)
    asked = await _begin(request, name, wire)
    started = time.perf_counter()
    vectors = await attend(
        side_by_side(asked.backend.embed(prompt, layer=wire.layer) for prompt in wire.prompts), asked.watch
    )
    return _response(asked, wire, _VECTORS.dump_json(vectors_on_the_wire(vectors, wire.encoding_format)), started)


async def _count_tokens(request: Request, name: str) -> Response:
    """For each input how many tokens it has as a prompt."""
    wire = await _read(request, name, CountRequest)
    asked = await _begin(request, name, wire)
    return await _answer(asked, wire, (asked.backend.count_tokens(text) for text in wire.texts), COUNTS)


async def _read(request: Request, name: str, schema: type[Wire]) -> Wire:
    state = state_of(request)
    state.models.entry(name)  # a wrong name is told before a body is read
    return schema.from_body(await read_body(request, state.limits))


async def _begin(request: Request, name: str, wire: BackendRequest, completions_each: int = 1) -> Asked:
    state = state_of(request)
    state.limits.check_texts(wire.lengths, completions_each)
    return await begin(request, state, None, name)


async def _answer(
    asked: Asked, wire: BackendRequest, works: Iterable[Coroutine[Any, Any, Result]], adapter: TypeAdapter[list[Result]]
) -> Response:
    started = time.perf_counter()
    results = await attend(side_by_side(works), asked.watch)
    return _response(asked, wire, adapter.dump_json(results), started)


def _response(asked: Asked, wire: BackendRequest, body: bytes, started: float) -> Response:
    headers = model_headers(asked.backend.info, wire.num_characters) | work_headers(time.perf_counter() - started)
    return Response(body, media_type="application/json", headers=headers)


async def _events(
    backend: AsyncBackend, prompt: Prompt, parameters: GenerationParameters
) -> AsyncGenerator[dict[str, Any], None]:
    has_ended = False
    async with closing(backend.stream(prompt, parameters)) as events:
        async for event in events:
            has_ended = event.generation is not None
            yield EVENT.dump_python(event, mode="json")
    if not has_ended:
        raise EngineError("The stream ended before its text did.")


def _add(verb: str, answer: Answer, schema: type[BackendRequest], answers: Any, summary: str) -> None:
    """Route a verb below each model's path, with and without an organisation."""

    async def below_model(request: Request, name: str) -> Response:
        return await answer(request, name)

    async def below_model_with_org(request: Request, org: str, name: str) -> Response:
        return await answer(request, f"{org}/{name}")

    described: dict[str, Any] = {
        "openapi_extra": json_body(schema),
        "responses": json_answer(*answers),
        "summary": summary,
        "description": answer.__doc__,
    }
    for path, handler in (("{name}", below_model), ("{org}/{name}", below_model_with_org)):
        router.add_api_route(f"/models/{path}/backend/{verb}", handler, methods=["POST"], **described)


_GENERATION = Generation((Completion(" there was a fox.", "length"),), 4)
_SCORE = Score((-2.1, -5.6), (1, 1), 6)
_add(
    "generate",
    _generate,
    GenerateRequest,
    (list[Generation], GENERATIONS.dump_python([_GENERATION], mode="json")),
    "Continue prompts",
)
_add("score", _score, ScoreRequest, (list[Score], SCORES.dump_python([_SCORE], mode="json")), "Score continuations")
_add("embed", _embed, EmbedRequest, (list[list[float]] | list[str], [[0.25, -0.5]]), "Show hidden states")
_add("count_tokens", _count_tokens, CountRequest, (list[int], [4]), "Count tokens")
