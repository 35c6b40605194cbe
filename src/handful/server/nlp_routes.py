"""The routes of the Inference API: POST /models/{model}, and with a task in the route.

    /models/{model}                    the task that the model is for, by its configuration
    /models/{model}/pipeline/{task}    the task of the route; 400 where the model can't do it
    /pipeline/{task}/{model}           the same, as older clients ask

A model that was made for sentence vectors answers both of its tasks at /models/{model}, by the inputs' form: an object
with `source_sentence` asks for similarities, texts ask for vectors.
"""

from typing import Any, Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.errors import InvalidInputError
from handful.nlp_types import NlpTask
from handful.protocol.hosted_shapes import Deployed
from handful.protocol.nlp_embedding import SimilarityRequest
from handful.protocol.nlp_request import RequestOptions
from handful.protocol.nlp_tasks import EXAMPLES, TEXT_GENERATION, task_named
from handful.protocol.payload import parse_request
from handful.protocol.text_generation import TextGenerationRequest
from handful.server.json_response import JSONResponse
from handful.server.limits import read_body
from handful.server.model_entry import ModelEntry
from handful.server.model_wish import model_of
from handful.server.models import generate_text
from handful.server.nlp_answer import answer_task
from handful.server.openapi import json_answer, json_body, task_answers
from handful.server.state import state_of

router = APIRouter(tags=["inference api"])
_VECTOR_TASKS = frozenset({"feature-extraction", "sentence-similarity"})


def _body() -> dict[str, Any]:
    """What the documentation says of a body: text generation in full, of each other task an example."""
    described = json_body(TextGenerationRequest)
    content = described["requestBody"]["content"]["application/json"]
    any_task = {"title": "Any task", "type": "object", "required": ["inputs"]}
    content["schema"] = {"title": "ModelRequest", "anyOf": [content["schema"], any_task]}
    content["examples"] = {TEXT_GENERATION: {"value": content.pop("example")}} | {
        task: {"value": example} for task, example in EXAMPLES.items()
    }
    return described


_BODY = _body()
_ANSWER = task_answers()
_DEPLOYED = {"model_id": "default", "task": TEXT_GENERATION, "sha": "", "compute_type": "cpu"}


@router.post("/models/{name}", openapi_extra=_BODY, responses=_ANSWER, summary="Ask a model")
async def ask(request: Request, name: str) -> Response:
    """What the model is for: a language model continues texts."""
    return await _answer(request, name, None)


@router.post("/models/{org}/{name}", openapi_extra=_BODY, responses=_ANSWER, summary="Ask a model")
async def ask_with_org(request: Request, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return await _answer(request, f"{org}/{name}", None)


@router.post("/models/{name}/pipeline/{task}", openapi_extra=_BODY, responses=_ANSWER, summary="Ask a model for a task")
async def ask_for_task(request: Request, name: str, task: str) -> Response:
    """The task of the route."""
    return await _answer(request, name, task)


@router.post(
    "/models/{org}/{name}/pipeline/{task}", openapi_extra=_BODY, responses=_ANSWER, summary="Ask a model for a task"
)
async def ask_for_task_with_org(request: Request, org: str, name: str, task: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return await _answer(request, f"{org}/{name}", task)


@router.post("/pipeline/{task}/{name}", openapi_extra=_BODY, responses=_ANSWER, summary="Ask a model for a task")
async def ask_pipeline(request: Request, task: str, name: str) -> Response:
    """The task of the route, as older clients ask for it."""
    return await _answer(request, name, task)


@router.post("/pipeline/{task}/{org}/{name}", openapi_extra=_BODY, responses=_ANSWER, summary="Ask a model for a task")
async def ask_pipeline_with_org(request: Request, task: str, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return await _answer(request, f"{org}/{name}", task)


async def _answer(request: Request, name: str, route_task: str | None) -> Response:
    state = state_of(request)
    entry = state.models.entry(name)  # a wrong name is told before a body is read
    asked_for = None if route_task is None else task_named(route_task)
    body = await read_body(request, state.limits)
    if entry.task is None:  # what it is for shows when it has loaded
        options = RequestOptions.from_body(body).options
        await model_of(request, name, state.watch(request), options)
    task = _task(entry.task, body) if asked_for is None else asked_for
    if task == TEXT_GENERATION:
        _check_generates(name, entry.task)
        return await generate_text(request, name, body)
    return await answer_task(request, name, task, body)


def _task(own: str | None, body: bytes) -> NlpTask | Literal["text-generation"]:
    """What a body without a task in its route asks for."""
    if own in _VECTOR_TASKS:
        value = parse_request(body)
        inputs = value.get("inputs", value)
        is_pair = isinstance(inputs, dict) and SimilarityRequest.bare_keys & inputs.keys()
        return "sentence-similarity" if is_pair else "feature-extraction"
    return task_named(own or TEXT_GENERATION)


def _check_generates(name: str, own: str | None) -> None:
    if own != TEXT_GENERATION:
        raise InvalidInputError(
            f"Model {name} can't do {TEXT_GENERATION}: it is for {own}.", fix="Ask a language model."
        )


@router.get(
    "/framework/{framework}",
    responses=json_answer(list[Deployed], [_DEPLOYED]),
    summary="List the models of a framework",
)
async def list_deployed(request: Request, framework: str) -> Response:
    """Served models as older clients list them: text-generation-inference, sentence-transformers or transformers."""
    entries = [state_of(request).models.entry(name) for name in state_of(request).models.names]
    return JSONResponse([_deployed(entry) for entry in entries if _framework(entry.task) == framework])


def _framework(task: str | None) -> str:
    if task == TEXT_GENERATION:
        return "text-generation-inference"
    return "sentence-transformers" if task == "sentence-similarity" else "transformers"


def _deployed(entry: ModelEntry) -> dict[str, Any]:
    info = None if entry.model is None else entry.model.info
    described = {"model_id": entry.source.name, "task": entry.task}
    return described | {"sha": info.revision if info else "", "compute_type": info.device if info else "cpu"}
