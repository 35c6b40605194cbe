"""Text generation as the hosted Inference API answered it, whole or streamed. Its routes are in nlp_routes.py."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from handful.backend import AsyncBackend
from handful.errors import EngineError, InvalidInputError, InvalidParameterError
from handful.protocol.generated_text import StreamWriter, answer
from handful.protocol.text_generation import TextGenerationOptions, TextGenerationRequest
from handful.server.attend import Watch, attend, closing, side_by_side
from handful.server.cached import Slot, always_same, are_whole, cache_headers, slot_for
from handful.server.event_stream import EventStream
from handful.server.headers import model_headers, work_headers
from handful.server.json_response import JSONResponse
from handful.server.model_wish import model_of
from handful.server.state import state_of
from handful.types import GenerationParameters


async def generate_text(request: Request, name: str, body: bytes) -> Response:
    """Continue one text or several, whole or streamed. Whole: always a list of objects with `generated_text`."""
    asked = TextGenerationRequest.from_body(body)
    check_model(asked.model, name, request)
    if asked.stream:
        return await stream_text(request, name, asked)
    texts, headers = await generate_texts(request, name, asked)
    return JSONResponse(texts, headers=headers)


async def generate_texts(
    request: Request, name: str, asked: TextGenerationRequest
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The texts as the answer has them, and its headers."""
    parameters, backend, watch = await _begin(request, name, asked)
    started = time.perf_counter()
    headers = model_headers(backend.info, sum(map(len, asked.prompts)))
    slot = _slot(request, name, asked, parameters, backend)
    if (kept := slot.find()) is not None:
        return kept.value, cache_headers(headers, kept)
    works = [backend.generate(prompt, parameters) for prompt in asked.prompts]
    generations = await attend(side_by_side(works), watch)
    texts = answer(asked, generations)
    headers |= work_headers(time.perf_counter() - started, generations)
    if are_whole(generations):
        slot.keep(texts, headers)
    return texts, headers


def _slot(
    request: Request, name: str, asked: TextGenerationRequest, parameters: GenerationParameters, backend: AsyncBackend
) -> Slot:
    def said() -> dict[str, Any]:
        given = asked.parameters.model_dump(mode="json")
        return {"route": "text-generation", "inputs": asked.inputs, "parameters": given, "end_sequences": asked.stops}

    wish = asked.options.wants_cache
    return slot_for(request, name, backend.info, said, is_wanted=wish, is_same=always_same(parameters))


async def stream_text(request: Request, name: str, asked: TextGenerationRequest) -> Response:
    """The answer to a request that is streamed."""
    parameters, backend, watch = await _begin(request, name, asked)
    headers = model_headers(backend.info, sum(map(len, asked.prompts)))
    return EventStream(_frames(asked, parameters, backend), watch, headers)


async def _begin(
    request: Request, name: str, asked: TextGenerationRequest
) -> tuple[GenerationParameters, AsyncBackend, Watch]:
    """Check what is left to check, and find the model, waiting for it where that was asked for."""
    state = state_of(request)
    parameters = asked.generation_parameters()
    state.limits.check_texts(list(map(len, asked.prompts)), parameters.num_drawn)
    watch = state.watch(request)
    backend = await model_of(request, name, watch, asked.options)
    check_device(asked.options, backend)
    return parameters, backend, watch


async def _frames(
    asked: TextGenerationRequest, parameters: GenerationParameters, backend: AsyncBackend
) -> AsyncGenerator[dict[str, Any], None]:
    writer, has_ended = StreamWriter(asked), False
    async with closing(backend.stream(asked.prompts[0], parameters)) as events:
        async for event in events:
            has_ended = event.generation is not None
            yield writer.frame(event)
    if not has_ended:
        raise EngineError("The stream ended before its text did.")


def check_model(named: str | None, name: str, request: Request) -> None:
    """Clients repeat the model in the body: its name, or the whole URL. Another model's name is a mistake."""
    if named is not None and named != name and not named.endswith(request.scope["path"]):
        raise InvalidInputError(f"`model` is not the model of this route, {name}.", fix="Leave it out.")


def check_device(options: TextGenerationOptions, backend: AsyncBackend) -> None:
    """Refuse `use_gpu` where there is none."""
    if options.use_gpu and not backend.info.device.startswith("cuda"):
        raise InvalidParameterError(
            "use_gpu", "can't be honoured: this model doesn't run on a GPU.", fix="Leave it out."
        )
