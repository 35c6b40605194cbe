"""POST /v1/embeddings, for all models and below each model's path: texts in, vectors of length 1 out."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.backend import AsyncBackend
from handful.protocol.openai_embeddings import EmbeddingRequest, Vector, embedding_answer
from handful.protocol.openai_shapes import EMBEDDING, EmbeddingAnswer
from handful.server.attend import attend, side_by_side
from handful.server.cached import cache_headers, slot_for
from handful.server.headers import model_headers, work_headers
from handful.server.json_response import JSONResponse
from handful.server.limits import read_body
from handful.server.openai_streams import begin
from handful.server.openapi import json_answer, json_body
from handful.server.state import state_of
from handful.types import Prompt

router = APIRouter(tags=["openai"])
_BODY = json_body(EmbeddingRequest)
_ANSWER = json_answer(EmbeddingAnswer, EMBEDDING)


@router.post("/v1/embeddings", openapi_extra=_BODY, responses=_ANSWER, summary="Turn texts into vectors")
async def embed(request: Request) -> Response:
    """One vector for each input, with the model that the body names."""
    return await _embed(request, None)


@router.post("/models/{name}/v1/embeddings", openapi_extra=_BODY, responses=_ANSWER, summary="Turn texts into vectors")
async def embed_below_model(request: Request, name: str) -> Response:
    """The same, with the model of the path."""
    return await _embed(request, name)


@router.post(
    "/models/{org}/{name}/v1/embeddings", openapi_extra=_BODY, responses=_ANSWER, summary="Turn texts into vectors"
)
async def embed_below_model_with_org(request: Request, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return await _embed(request, f"{org}/{name}")


async def _embed(request: Request, route_model: str | None) -> Response:
    state = state_of(request)
    wire = EmbeddingRequest.from_body(await read_body(request, state.limits))
    prompts = wire.prompts
    state.limits.check_texts([len(prompt) for prompt in prompts])
    asked = await begin(request, state, wire.model, route_model, for_vectors=True)
    if asked.backend.info.hidden_size:  # 0 where it shows in the vectors only
        wire.check_dimensions(asked.backend.info.hidden_size)
    started = time.perf_counter()
    num_characters = sum(len(prompt) for prompt in prompts if isinstance(prompt, str))
    headers = model_headers(asked.backend.info, num_characters)

    def said() -> dict[str, Any]:
        return {"route": "embeddings"} | wire.model_dump(mode="json")

    slot = slot_for(request, asked.model, asked.backend.info, said, is_wanted=None, is_same=True)
    if (kept := slot.find()) is not None:
        return JSONResponse(kept.value, headers=cache_headers(headers, kept))
    found = await attend(side_by_side(_embed_one(asked.backend, prompt) for prompt in prompts), asked.watch)
    vectors, counts = [vector for vector, _ in found], [count for _, count in found]
    wire.check_dimensions(len(vectors[0]))
    value = embedding_answer(wire, asked.model, vectors, sum(counts))
    headers |= work_headers(time.perf_counter() - started)
    slot.keep(value, headers)
    return JSONResponse(value, headers=headers)


async def _embed_one(backend: AsyncBackend, prompt: Prompt) -> tuple[Vector, int]:
    """An input's vector and its number of tokens."""
    count = await backend.count_tokens(prompt) if isinstance(prompt, str) else len(prompt)
    return await backend.embed(prompt), count
