"""/api/models: models of an account's own, by Hub id, path or upload, registered while the server runs."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.protocol.hosted_shapes import REGISTERED, RegisteredModel, UploadedFile
from handful.protocol.model_registration import ModelRegistration
from handful.protocol.names import check_name
from handful.server.auth import caller_of
from handful.server.json_response import JSONResponse
from handful.server.limits import read_body
from handful.server.model_catalog import ModelCatalog, own_name
from handful.server.model_uploads import body_of
from handful.server.openapi import json_answer, json_body
from handful.server.state import state_of
from handful.store.models import StoredModel
from handful.store.tokens import ADMIN

router = APIRouter(tags=["models"])
_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/api/models", responses=json_answer(list[RegisteredModel], [REGISTERED]), summary="List registered models")
async def list_models(request: Request) -> Response:
    """The models that accounts registered, as far as the caller sees them."""
    state, catalog = state_of(request), _catalog(request)
    return JSONResponse([_described(each, state.models.entry(each.name).state) for each in catalog.visible()])


@router.post(
    "/api/models",
    openapi_extra=json_body(ModelRegistration),
    responses=json_answer(RegisteredModel, REGISTERED, 201),
    summary="Register a model",
    status_code=201,
)
async def register_model(request: Request) -> Response:
    """Serve a model of the Hub, of a folder, or that was uploaded, as `account/name`. It is loaded when it is asked."""
    asked = ModelRegistration.from_body(await read_body(request, state_of(request).limits))
    token = caller_of(request.scope).token
    may_name_paths = token is not None and ADMIN in token.scopes
    made = await _catalog(request).register(asked, may_name_paths=may_name_paths)
    return JSONResponse(_described(made, "unloaded"), 201, headers={"location": f"/models/{made.name}"})


@router.put(
    "/api/models/{org}/{name}/files/{filename}",
    openapi_extra=_FILE,
    responses=json_answer(UploadedFile, {"name": "ada/mine", "file": "config.json", "bytes": 694}),
    summary="Upload a file of a model",
)
async def upload_file(request: Request, org: str, name: str, filename: str) -> Response:
    """Send one file. Nothing is served before `POST /api/models` with `"upload": true` has checked all of them."""
    full = own_name(check_name("model", f"{org}/{name}"))
    models, uploads = state_of(request).models, _catalog(request).uploads
    models.check_free(full)
    declared = request.headers.get("content-length", "")
    num_bytes = int(declared) if declared.isdecimal() and len(declared) < 20 else 0
    written = await uploads.receive(full, filename, body_of(request.stream()), num_bytes)
    return JSONResponse({"name": full, "file": filename, "bytes": written})


@router.delete("/api/models/{org}/{name}", summary="Remove a registered model", status_code=204)
async def remove_model(request: Request, org: str, name: str) -> Response:
    """Serve it no longer; what was uploaded is deleted."""
    await _catalog(request).remove(f"{org}/{name}")
    return Response(status_code=204)


def _catalog(request: Request) -> ModelCatalog:
    catalog: ModelCatalog = request.app.state.model_catalog
    return catalog


def _described(model: StoredModel, state: str) -> dict[str, Any]:
    """A model without what only its owner and the operator need to know: paths."""
    return {
        "name": model.name,
        "private": model.is_private,
        "owner": model.owner,
        "source": model.kind,
        "hub_id": model.location if model.kind == "hub" else None,
        "revision": model.revision,
        "created_at": model.created_at,
        "state": state,
    }
