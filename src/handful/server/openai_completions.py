"""POST /v1/completions, for all models and below each model's path: texts or token ids in, texts out."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.protocol.openai_completion_answer import CompletionWriter, completion_answer
from handful.protocol.openai_completions import CompletionRequest
from handful.protocol.openai_shapes import COMPLETION, CompletionAnswer
from handful.server.attend import attend, side_by_side
from handful.server.cached import always_same, are_whole, cache_headers, slot_for
from handful.server.event_stream import EventStream
from handful.server.headers import model_headers, work_headers
from handful.server.json_response import JSONResponse
from handful.server.limits import read_body
from handful.server.openai_streams import begin, chunks
from handful.server.openapi import json_answer, json_body
from handful.server.state import state_of

router = APIRouter(tags=["openai"])
_BODY = json_body(CompletionRequest)
_ANSWER = json_answer(CompletionAnswer, COMPLETION)


@router.post("/v1/completions", openapi_extra=_BODY, responses=_ANSWER, summary="Continue texts")
async def complete(request: Request) -> Response:
    """Continue one prompt or several, with the model that the body names."""
    return await _complete(request, None)


@router.post("/models/{name}/v1/completions", openapi_extra=_BODY, responses=_ANSWER, summary="Continue texts")
async def complete_below_model(request: Request, name: str) -> Response:
    """The same, with the model of the path."""
    return await _complete(request, name)


@router.post("/models/{org}/{name}/v1/completions", openapi_extra=_BODY, responses=_ANSWER, summary="Continue texts")
async def complete_below_model_with_org(request: Request, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return await _complete(request, f"{org}/{name}")


async def _complete(request: Request, route_model: str | None) -> Response:
    state = state_of(request)
    wire = CompletionRequest.from_body(await read_body(request, state.limits))
    prompts, parameters = wire.prompts, wire.generation_parameters()
    lengths = [len(prompt) for prompt in prompts]
    state.limits.check_texts(lengths, parameters.num_drawn)
    asked = await begin(request, state, wire.model, route_model)
    heading = asked.heading("cmpl")
    headers = model_headers(asked.backend.info, sum(len(prompt) for prompt in prompts if isinstance(prompt, str)))
    if wire.stream:
        writer = CompletionWriter(wire, heading)
        return EventStream(chunks(asked.backend, prompts, parameters, writer), asked.watch, headers)
    started = time.perf_counter()

    def said() -> dict[str, Any]:
        return {"route": "completions"} | wire.model_dump(mode="json")

    slot = slot_for(request, asked.model, asked.backend.info, said, is_wanted=None, is_same=always_same(parameters))
    if (kept := slot.find()) is not None:
        own = {"id": heading.id, "created": heading.created}
        return JSONResponse(kept.value | own, headers=cache_headers(headers, kept))
    works = [asked.backend.generate(prompt, parameters) for prompt in prompts]
    generations = await attend(side_by_side(works), asked.watch)
    value = completion_answer(wire, heading, generations)
    headers |= work_headers(time.perf_counter() - started, generations)
    if are_whole(generations):
        slot.keep(value, headers)
    return JSONResponse(value, headers=headers)
