"""POST /tasks/{name}: predictions. GET /tasks, GET /tasks/{name}: which tasks there are and what they are made of."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from handful.backend import AsyncBackend
from handful.protocol.tasks import Query, TaskRequest, count_characters
from handful.server.attend import attend, side_by_side
from handful.server.headers import model_headers, work_headers
from handful.server.limits import read_body
from handful.server.models import check_device, wait_s
from handful.server.openapi import json_body
from handful.server.state import state_of
from handful.server.task_registry import ServedTask
from handful.task.fit import Fitter
from handful.task.predict import apredict

router = APIRouter(tags=["tasks"])


@router.get("/tasks", summary="List the tasks")
async def list_tasks(request: Request) -> Response:
    """Name, description and labels of every task."""
    return JSONResponse([_summary(served) for served in state_of(request).tasks])


@router.get("/tasks/{name}", summary="Show a task")
async def show_task(request: Request, name: str) -> Response:
    """A task as its file has it: template, examples, labels, parameters."""
    served = state_of(request).tasks.get(name)
    return JSONResponse(served.task.to_dict() | {"model": served.model})


@router.post("/tasks/{name}", openapi_extra=json_body(TaskRequest), summary="Predict")
async def predict(request: Request, name: str) -> Response:
    """One prediction for each input, always as a list in the order of the inputs."""
    state = state_of(request)
    served = state.tasks.get(name)
    asked = TaskRequest.from_body(await read_body(request, state.limits))
    state.limits.check_texts([count_characters(query) for query in asked.queries])
    watch = state.watch(request)
    waiting = state.models.backend(served.model, wait_s=wait_s(request, asked.options, state))
    backend = await attend(waiting, watch)
    check_device(asked.options, backend)
    started = time.perf_counter()
    fitter = state.tasks.fitter(served, backend)
    works = [_predict_one(fitter, backend, query) for query in asked.queries]
    predictions = await attend(side_by_side(works), watch)
    headers = model_headers(backend.info, asked.num_characters) | work_headers(time.perf_counter() - started)
    return JSONResponse(predictions, headers=headers)


async def _predict_one(fitter: Fitter, backend: AsyncBackend, query: Query) -> dict[str, Any]:
    return (await apredict(fitter.task, backend, query, fitter=fitter)).to_dict()


def _summary(served: ServedTask) -> dict[str, Any]:
    task = served.task
    return {
        "name": task.name,
        "description": task.description,
        "variables": list(task.variables),
        "labels": list(task.labels),
        "model": served.model,
    }
