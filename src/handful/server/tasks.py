"""POST /tasks/{name}: predictions, whole or streamed. GET /tasks, GET /tasks/{name}: which tasks there are."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.backend import AsyncBackend
from handful.errors import EngineError
from handful.protocol.task_shapes import PREDICTION, SUMMARY, TASK, TaskFile, TaskSummary
from handful.protocol.tasks import Query, TaskRequest, WirePrediction, count_characters
from handful.server.attend import attend, closing, side_by_side
from handful.server.cached import Slot, always_same, cache_headers, slot_for
from handful.server.classifier_answer import answer_with
from handful.server.event_stream import EventStream
from handful.server.headers import model_headers, work_headers
from handful.server.json_response import JSONResponse
from handful.server.limits import read_body
from handful.server.model_wish import model_of
from handful.server.models import check_device
from handful.server.openapi import json_answer, json_body
from handful.server.state import state_of
from handful.server.task_answers import VERSION, asked_version, described, editor_of, tagged
from handful.server.task_registry import ServedTask, check_runs_tasks
from handful.server.usage_tally import uncounted
from handful.task.fit import Fitter
from handful.task.predict import ameasure, apredict, stream

router = APIRouter(tags=["tasks"])


@router.get("/tasks", responses=json_answer(list[TaskSummary], [SUMMARY]), summary="List the tasks")
async def list_tasks(request: Request) -> Response:
    """Every task that the caller sees: what it is, its version, and whose it is."""
    return JSONResponse([described(served) for served in state_of(request).tasks])


@router.get(
    "/tasks/{name}",
    openapi_extra=VERSION,
    responses=json_answer(TaskFile, TASK | {"model": "default"}),
    summary="Show a task",
)
async def show_task(request: Request, name: str) -> Response:
    """A task as its file has it: template, examples, labels, parameters. `ETag` is its version."""
    served = await editor_of(request).version(name, asked_version(request))
    return tagged(served, served.task.to_dict() | {"model": served.model})


@router.post(
    "/tasks/{name}",
    openapi_extra=json_body(TaskRequest) | VERSION,
    responses=json_answer(list[WirePrediction], [PREDICTION]),
    summary="Predict",
)
async def predict(request: Request, name: str) -> Response:
    """One prediction for each input, always as a list in the order of the inputs; or, with `stream`, its text as it is
    written."""
    state = state_of(request)
    served = await editor_of(request).version(name, asked_version(request))
    asked = TaskRequest.from_body(await read_body(request, state.limits))
    state.limits.check_texts([count_characters(query) for query in asked.queries])
    watch = state.watch(request)
    backend = await model_of(request, served.model, watch, asked.options)
    check_device(asked.options, backend)
    headers = model_headers(backend.info, asked.num_characters) | {"x-task-version": str(served.version)}
    if served.classifier is not None:
        return await answer_with(served.classifier, backend, asked, watch, headers)
    check_runs_tasks(served.model, state.models.entry(served.model).task)
    fitter = state.tasks.fitter(served, backend)
    if asked.stream:
        return EventStream(_frames(fitter, backend, asked.queries[0]), watch, headers)
    slot = _slot(request, served, fitter, asked, backend)
    if (kept := slot.find()) is not None:
        return JSONResponse(kept.value, headers=cache_headers(headers, kept))
    started = time.perf_counter()
    works = [_predict_one(fitter, backend, query) for query in asked.queries]
    predictions = await attend(side_by_side(works), watch)
    headers |= work_headers(time.perf_counter() - started)
    if all(prediction.get("finish_reason") != "max_time" for prediction in predictions):
        slot.keep(predictions, headers)
    return JSONResponse(predictions, headers=headers)


def _slot(request: Request, served: ServedTask, fitter: Fitter, asked: TaskRequest, backend: AsyncBackend) -> Slot:
    def said() -> dict[str, Any]:
        return {"route": "task", "task": fitter.fingerprint, "inputs": asked.inputs}

    is_same = served.task.is_closed or always_same(served.task.parameters)
    wish = asked.options.wants_cache
    return slot_for(request, served.model, backend.info, said, is_wanted=wish, is_same=is_same)


async def _predict_one(fitter: Fitter, backend: AsyncBackend, query: Query) -> dict[str, Any]:
    await _measure(fitter, backend)
    return (await apredict(fitter.task, backend, query, fitter=fitter)).to_dict()


async def _measure(fitter: Fitter, backend: AsyncBackend) -> None:
    """The labels' bias, where the task's model measured none when it was loaded."""
    if fitter.label_bias is None:
        with uncounted():
            await ameasure(fitter, backend)


async def _frames(fitter: Fitter, backend: AsyncBackend, query: Query) -> AsyncGenerator[dict[str, Any], None]:
    has_ended = False
    await _measure(fitter, backend)
    async with closing(stream(fitter.task, backend, query, fitter=fitter)) as events:
        async for event in events:
            has_ended = event.prediction is not None
            last = {} if event.prediction is None else {"prediction": event.prediction.to_dict()}
            yield {"text": event.text} | last
    if not has_ended:
        raise EngineError("The stream ended before its text did.")
