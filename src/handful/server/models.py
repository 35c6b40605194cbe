"""POST /models/{model}: text generation as the hosted Inference API answered it, whole or streamed."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from handful.backend import AsyncBackend
from handful.errors import EngineError, InvalidInputError, InvalidParameterError
from handful.protocol.generated_text import StreamWriter, answer
from handful.protocol.text_generation import TextGenerationOptions, TextGenerationRequest
from handful.server.attend import Watch, attend, closing, side_by_side
from handful.server.event_stream import EventStream
from handful.server.headers import model_headers, work_headers
from handful.server.limits import read_body
from handful.server.openapi import json_body
from handful.server.registry import HELD_NOT_READY_S
from handful.server.state import ServerState, state_of
from handful.types import Generation, GenerationParameters

router = APIRouter(tags=["text generation"])


@router.post("/models/{name}", openapi_extra=json_body(TextGenerationRequest), summary="Continue texts")
async def generate(request: Request, name: str) -> Response:
    """Continue one text or several. Always a list of objects with `generated_text`."""
    return await _generate(request, name)


@router.post("/models/{org}/{name}", openapi_extra=json_body(TextGenerationRequest), summary="Continue texts")
async def generate_with_org(request: Request, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return await _generate(request, f"{org}/{name}")


async def _generate(request: Request, name: str) -> Response:
    state = state_of(request)
    state.models.entry(name)  # a wrong name is told before a body is read
    asked = TextGenerationRequest.from_body(await read_body(request, state.limits))
    _check_model(asked.model, name, request)
    if asked.stream:
        return await stream_text(request, name, asked)
    generations, headers = await generate_texts(request, name, asked)
    return JSONResponse(answer(asked, generations), headers=headers)


async def generate_texts(
    request: Request, name: str, asked: TextGenerationRequest
) -> tuple[list[Generation], dict[str, str]]:
    """One generation for each prompt, and the answer's headers."""
    parameters, backend, watch = await _begin(request, name, asked)
    started = time.perf_counter()
    works = [backend.generate(prompt, parameters) for prompt in asked.prompts]
    generations = await attend(side_by_side(works), watch)
    headers = model_headers(backend.info, sum(map(len, asked.prompts)))
    return generations, headers | work_headers(time.perf_counter() - started, generations)


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
    state.limits.check_texts([len(prompt) for prompt in asked.prompts], parameters.num_drawn)
    watch = state.watch(request)
    backend = await attend(state.models.backend(name, wait_s=wait_s(request, asked.options, state)), watch)
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


def _check_model(named: str | None, name: str, request: Request) -> None:
    """Clients repeat the model in the body: its name, or the whole URL. Another model's name is a mistake."""
    if named is not None and named != name and not named.endswith(request.scope["path"]):
        raise InvalidInputError(f"`model` is not the model of this route, {name}.", fix="Leave it out.")


def wait_s(request: Request, options: TextGenerationOptions, state: ServerState) -> float:
    """How long to wait for a loading model: to the deadline where asked, by option or header; else a moment."""
    header = request.headers.get("x-wait-for-model", "").lower() in ("1", "true")
    return state.limits.request_timeout_s if options.wait_for_model or header else HELD_NOT_READY_S


def check_device(options: TextGenerationOptions, backend: AsyncBackend) -> None:
    """Refuse `use_gpu` where there is none."""
    if options.use_gpu and not backend.info.device.startswith("cuda"):
        raise InvalidParameterError(
            "use_gpu", "can't be honoured: this model doesn't run on a GPU.", fix="Leave it out."
        )
