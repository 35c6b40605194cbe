"""TGI's routes on the model that is served first (or that the body names): /, /v1, /generate, /generate_stream,
/tokenize, /info; and /info and /health below each model's path, which huggingface_hub asks for.

POST /v1 is what huggingface_hub's text generation asks when it is given the base URL that is right for chats.
"""

import time
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.protocol.generated_text import GeneratedText
from handful.protocol.hosted_shapes import ModelHealth
from handful.protocol.nlp_shapes import TASK_ANSWERS, TASK_SHAPES
from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.protocol.text_generation import TextGenerationRequest
from handful.protocol.tgi import TokenizeRequest, generate_request, info_answer, tokenized
from handful.protocol.tgi_shapes import INFO, TOKENIZED, InfoAnswer, TokenizedToken
from handful.server.attend import attend
from handful.server.event_stream import EventStream
from handful.server.headers import model_headers, work_headers
from handful.server.json_response import JSONResponse
from handful.server.limits import read_body
from handful.server.model_wish import model_of
from handful.server.models import generate_texts, stream_text
from handful.server.nlp_served import served_behind
from handful.server.openai_models import named_model
from handful.server.openapi import json_answer, json_body
from handful.server.state import state_of

router = APIRouter(tags=["tgi"])
below_models = APIRouter(tags=["tgi"])  # whose errors are those of the Inference API, as everything there
_BODY = json_body(TextGenerationRequest)
_BODY_OF_ONE = json_body(TextGenerationRequest, but="stream")  # which is the affair of the route
_TEXTS = json_answer(TASK_SHAPES[TEXT_GENERATION], TASK_ANSWERS[TEXT_GENERATION])
_TEXT = json_answer(GeneratedText, TASK_ANSWERS[TEXT_GENERATION][0])
_INFO = json_answer(InfoAnswer, INFO)
_NOT_READY = json_answer(ModelHealth, {"status": "not ready"}, 503)[503] | {"description": "It doesn't, or not yet."}
_HEALTH = json_answer(ModelHealth, {"status": "ready"}) | {503: _NOT_READY}


@router.get("/", responses=_HEALTH, summary="Whether the first model answers")
async def root(request: Request) -> Response:
    """As TGI's root: 200 when the model that is served first is ready, else 503."""
    return _health(request, state_of(request).models.names[0])


@router.post("/", openapi_extra=_BODY, responses=_TEXTS, summary="Continue texts")
async def compatible(request: Request) -> Response:
    """As `POST /models/{model}`: always a list, streamed where the body says so."""
    state = state_of(request)
    asked = TextGenerationRequest.from_body(await read_body(request, state.limits))
    name = named_model(state.models, asked.model)
    if asked.stream:
        return await stream_text(request, name, asked)
    texts, headers = await generate_texts(request, name, asked)
    return JSONResponse(texts, headers=headers)


@router.post("/v1", openapi_extra=_BODY, responses=_TEXTS, summary="Continue texts")
async def compatible_below_v1(request: Request) -> Response:
    """The same as `POST /`."""
    return await compatible(request)


@router.post("/generate", openapi_extra=_BODY_OF_ONE, responses=_TEXT, summary="Continue a text")
async def generate(request: Request) -> Response:
    """Continue one text: an object with `generated_text`, and `details` where they are asked for."""
    state = state_of(request)
    asked = generate_request(await read_body(request, state.limits), stream=False)
    texts, headers = await generate_texts(request, named_model(state.models, asked.model), asked)
    return JSONResponse(texts[0], headers=headers)


@router.post(
    "/generate_stream",
    response_class=EventStream,
    status_code=200,
    openapi_extra=_BODY_OF_ONE,
    summary="Continue a text, streamed",
)
async def generate_stream(request: Request) -> Response:
    """Continue one text with server-sent events, one a token; the last has `generated_text` and `details`."""
    state = state_of(request)
    asked = generate_request(await read_body(request, state.limits), stream=True)
    return await stream_text(request, named_model(state.models, asked.model), asked)


@router.post(
    "/tokenize",
    openapi_extra=json_body(TokenizeRequest),
    responses=json_answer(list[TokenizedToken], TOKENIZED),
    summary="Tokenize a text",
)
async def tokenize(request: Request) -> Response:
    """The tokens of a text and where they stand in it."""
    state = state_of(request)
    asked = TokenizeRequest.from_body(await read_body(request, state.limits))
    state.limits.check_texts([len(asked.inputs)])
    watch = state.watch(request)
    backend = await model_of(request, named_model(state.models, asked.model), watch)
    started = time.perf_counter()
    spans = await attend(backend.tokenize(asked.inputs, add_special=asked.add_special_tokens), watch)
    headers = model_headers(backend.info, len(asked.inputs)) | work_headers(time.perf_counter() - started)
    return JSONResponse(tokenized(spans), headers=headers)


@router.get("/info", responses=_INFO, summary="What is served first")
async def info(request: Request) -> Response:
    """The model that is served first, and the server's limits."""
    return await _info(request, state_of(request).models.names[0])


@below_models.get("/models/{name}/info", responses=_INFO, summary="What a model is")
async def model_info(request: Request, name: str) -> Response:
    """A model and the server's limits."""
    return await _info(request, name)


@below_models.get("/models/{org}/{name}/info", responses=_INFO, summary="What a model is")
async def model_info_with_org(request: Request, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return await _info(request, f"{org}/{name}")


@below_models.get("/models/{name}/health", responses=_HEALTH, summary="Whether a model answers")
async def model_health(request: Request, name: str) -> Response:
    """200 when the model is ready, else 503."""
    return _health(request, name)


@below_models.get("/models/{org}/{name}/health", responses=_HEALTH, summary="Whether a model answers")
async def model_health_with_org(request: Request, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return _health(request, f"{org}/{name}")


async def _info(request: Request, name: str) -> Response:
    state = state_of(request)
    backend = await state.models.backend(name)
    limits: dict[str, Any] = {
        "max_client_batch_size": state.limits.max_completions,
        "max_input_characters": state.limits.max_input_characters,
    }
    served = served_behind(backend)
    task = TEXT_GENERATION if served is None else served.task
    return JSONResponse(info_answer(backend.info, name, version("handful"), limits, task))


def _health(request: Request, name: str) -> Response:
    is_ready = state_of(request).models.entry(name).state == "ready"
    return JSONResponse({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)
