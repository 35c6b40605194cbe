"""GET /health: the process lives and its engines do. GET /ready: every model is loaded and requests are accepted.

Neither asks an engine for anything, so a full queue slows down neither.
"""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.protocol.hosted_shapes import Health
from handful.server.json_response import JSONResponse
from handful.server.openapi import json_answer
from handful.server.state import state_of

router = APIRouter(tags=["health"])
_MODELS = {"default": "ready"}
_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"description": "Something stands behind the `?`, where nothing is read."},
    403: {"description": "Another host or page than this server's is named."},
    503: {"description": "No; the body is the same."},
}


@router.get(
    "/health", responses=json_answer(Health, {"status": "ok", "models": _MODELS}) | _FAILURES, summary="Liveness"
)
async def health(request: Request) -> Response:
    """200 while all engines live, 503 once one has died or couldn't be loaded: the process should be restarted."""
    models = state_of(request).models
    states = models.states()
    is_well = "dead" not in models.all_states().values() and "failed" not in states.values()
    return JSONResponse({"status": "ok" if is_well else "failed", "models": states}, 200 if is_well else 503)


@router.get(
    "/ready", responses=json_answer(Health, {"status": "ready", "models": _MODELS}) | _FAILURES, summary="Readiness"
)
async def ready(request: Request) -> Response:
    """200 when requests will be answered (lazy models may be unloaded), 503 while loading or shutting down."""
    state = state_of(request)
    states = state.models.states()
    is_ready = {"ready", "unloaded"}.issuperset(states.values()) and not state.drain.is_draining
    status = "ready" if is_ready else "draining" if state.drain.is_draining else "not ready"
    return JSONResponse({"status": status, "models": states}, 200 if is_ready else 503)
