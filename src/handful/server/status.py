"""GET /status/{model}: whether a model is in memory, or how far on its way. /usage/pinned_models: which stay there.

Asking for a status loads nothing. Pinned models are loaded where they aren't; who pins replaces the whole list of the
models that the caller sees. Pins outlive the server: see model_pins.py.
"""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.errors import InvalidParameterError
from handful.protocol.hosted import PinnedModels, compute_type, status_answer
from handful.protocol.hosted_shapes import PINNED, STATUS, ModelStatus, PinnedDone, PinnedNow
from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.server.json_response import JSONResponse
from handful.server.limits import read_body
from handful.server.model_entry import ModelEntry
from handful.server.openapi import json_answer, json_body
from handful.server.registry import ModelRegistry
from handful.server.state import state_of

router = APIRouter(tags=["models"])
_STATUS = json_answer(ModelStatus, STATUS)
_DONE = "Pinned {} models, please wait while we load them."


@router.get("/status/{name}", responses=_STATUS, summary="Whether a model is loaded")
async def status(request: Request, name: str) -> Response:
    """State, where it runs, how long its loading may still take, and how much of it is downloaded."""
    return _status(request, name)


@router.get("/status/{org}/{name}", responses=_STATUS, summary="Whether a model is loaded")
async def status_with_org(request: Request, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return _status(request, f"{org}/{name}")


def _status(request: Request, name: str) -> Response:
    models = state_of(request).models
    entry = models.entry(name)
    info = entry.model.info if entry.model is not None else None
    expected = "native" if entry.task == TEXT_GENERATION else "transformers"
    engine = info.engine if info is not None else expected
    told = status_answer(info is not None, models.room.is_too_big(entry), _device(models, entry), engine)
    told |= {"status": entry.state, "pinned": entry.is_pinned} | _way(models, entry)
    return JSONResponse(told)


def _way(models: ModelRegistry, entry: ModelEntry) -> dict[str, Any]:
    """How far a model that is being loaded is."""
    if not entry.is_loading:
        return {}
    way: dict[str, Any] = {"estimated_time": round(models.estimate_s(entry.source.name), 1)}
    if entry.downloaded is not None:
        num_done, num_all = entry.downloaded
        way["download"] = {"bytes": num_done, "of": num_all}
    return way


@router.get(
    "/usage/pinned_models",
    responses=json_answer(PinnedNow, {"pinned_models": PINNED, "allowed_pinned_models": 2}),
    summary="List the pinned models",
)
async def show_pinned(request: Request) -> Response:
    """The models that stay in memory, and how many may."""
    models = state_of(request).models
    return JSONResponse({"pinned_models": _pinned(models), "allowed_pinned_models": len(models.names)})


@router.post(
    "/usage/pinned_models",
    openapi_extra=json_body(PinnedModels),
    responses=json_answer(PinnedDone, {"ok": _DONE.format(1), "pinned_models": PINNED}),
    summary="Pin models",
)
async def pin(request: Request) -> Response:
    """Keep these models in memory, and no others."""
    state = state_of(request)
    models = state.models
    wanted = PinnedModels.from_body(await read_body(request, state.limits)).pinned_models
    for each in wanted:
        _check_device(models, each.model_id, each.compute_type)
    await request.app.state.model_pins.replace(each.model_id for each in wanted)
    return JSONResponse({"ok": _DONE.format(len(_pinned(models))), "pinned_models": _pinned(models)})


def _check_device(models: ModelRegistry, name: str, wanted: str | None) -> None:
    there = compute_type(_device(models, models.entry(name)))
    if wanted not in (None, there):
        raise InvalidParameterError("compute_type", f"can't be {wanted}: {name} runs on {there}.", fix="Leave it out.")


def _device(models: ModelRegistry, entry: ModelEntry) -> str:
    return entry.model.info.device if entry.model is not None else models.device


def _pinned(models: ModelRegistry) -> list[dict[str, Any]]:
    entries = [models.entry(name) for name in models.names]
    return [
        {"model_id": entry.source.name, "compute_type": compute_type(_device(models, entry)), "replicas": 1}
        for entry in entries
        if entry.is_pinned
    ]
