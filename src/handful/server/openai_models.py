"""GET /v1/models and /v1/models/{id}: what is served. And which model a request of OpenAI's surface means.

`model` in a body may be a served name; a URL, as huggingface.js sends it (the model in its path, or the first where
there is none); or left out, null, "dummy" or "tgi", which stand for no choice in clients that must send something
(huggingface_hub, TGI's examples): then it is the route's model, or the first; for vectors, the first encoder.
"""

from typing import Any
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.errors import InvalidParameterError
from handful.protocol.openai_shapes import ModelCard, ModelCards
from handful.server.json_response import JSONResponse
from handful.server.openapi import json_answer
from handful.server.registry import ModelRegistry
from handful.server.state import ServerState, state_of

router = APIRouter(tags=["openai"])
PLACEHOLDERS = frozenset({"dummy", "tgi"})
_VECTOR_TASKS = frozenset({"sentence-similarity", "feature-extraction"})
_EXAMPLE = {"id": "default", "object": "model", "created": 0, "owned_by": "handful", "max_model_len": 8192}
_ONE = json_answer(ModelCard, _EXAMPLE)
_LIST = json_answer(ModelCards, {"object": "list", "data": [_EXAMPLE]})


def named_model(
    models: ModelRegistry, named: str | None, route_model: str | None = None, *, for_vectors: bool = False
) -> str:
    """The served name that a request means. Where it makes no choice and is `for_vectors`, an encoder is meant first.

    Raises NotFoundError for a model that isn't served, InvalidParameterError for one that isn't the route's.
    """
    if route_model is not None:
        models.entry(route_model)
    name = named if named in models.names else _name_in_url(named or "", models)
    if name is None and (named is None or named in PLACEHOLDERS):
        name = route_model or (_first_encoder(models) if for_vectors else None) or models.names[0]
    name = models.entry(name or named or "").source.name
    if route_model not in (None, name):
        raise InvalidParameterError("model", f"is not the model of this route, {route_model}.", fix="Leave it out.")
    return name


def _first_encoder(models: ModelRegistry) -> str | None:
    return next((name for name in models.names if models.entry(name).task in _VECTOR_TASKS), None)


def _name_in_url(named: str, models: ModelRegistry) -> str | None:
    """The model that a URL names: what stands behind /models/, else the first. None where it is no URL."""
    if not named.startswith(("http://", "https://")):
        return None
    try:
        path = urlsplit(named).path
    except ValueError:
        return None
    _, found, name = path.partition("/models/")
    if not found:
        return models.names[0]
    return unquote(name).rstrip("/").removesuffix("/v1")


@router.get("/v1/models", responses=_LIST, summary="List the models")
async def list_models(request: Request) -> Response:
    """Every served model."""
    state = state_of(request)
    return JSONResponse({"object": "list", "data": [_described(state, name) for name in state.models.names]})


@router.get("/v1/models/{name}", responses=_ONE, summary="Show a model")
async def show_model(request: Request, name: str) -> Response:
    """One model; 404 where it isn't served."""
    return JSONResponse(_described(state_of(request), name))


@router.get("/v1/models/{org}/{name}", responses=_ONE, summary="Show a model")
async def show_model_with_org(request: Request, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return JSONResponse(_described(state_of(request), f"{org}/{name}"))


@router.get("/models/{name}/v1/models", responses=_LIST, summary="List the model of the route")
async def list_model(request: Request, name: str) -> Response:
    """The one model that is served below this path."""
    return JSONResponse({"object": "list", "data": [_described(state_of(request), name)]})


@router.get("/models/{org}/{name}/v1/models", responses=_LIST, summary="List the model of the route")
async def list_model_with_org(request: Request, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return JSONResponse({"object": "list", "data": [_described(state_of(request), f"{org}/{name}")]})


def _described(state: ServerState, name: str) -> dict[str, Any]:
    """A model as OpenAI describes one. When it was created isn't known; its context is, once it has loaded."""
    entry = state.models.entry(name)
    described = {"id": name, "object": "model", "created": 0, "owned_by": "handful"}
    if entry.model is not None and entry.model.info.context_length:
        described["max_model_len"] = entry.model.info.context_length
    return described
