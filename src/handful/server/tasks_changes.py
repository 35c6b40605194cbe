"""POST /tasks, PUT and DELETE /tasks/{name}, its versions and its examples: tasks changed while they are served.

Each change makes a version; `If-Match` names the one it is meant for. See task_editor.py for what happens meanwhile.
"""

import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.errors import InvalidInputError, InvalidParameterError
from handful.protocol.task_shapes import EXAMPLE, SUMMARY, TASK, TaskExamples, TaskSummary, TaskVersion
from handful.server.attend import attend
from handful.server.json_response import JSONResponse
from handful.server.limits import read_body
from handful.server.openapi import json_answer
from handful.server.state import state_of
from handful.server.task_answers import (
    IF_MATCH,
    described,
    editor_of,
    expected_version,
    tagged,
)
from handful.server.task_body import id_of, read_examples, read_task, without
from handful.server.task_registry import ServedTask
from handful.task.task import Task

Result = TypeVar("Result")
router = APIRouter(tags=["tasks"])
_EXAMPLES = {"examples": TASK["examples"][:1]}
MAX_IDS = 1000


def _body(example: dict[str, Any], description: str) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": True, "description": description}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


_TASK_BODY = _body(TASK, "The keys of a task file, and `private` (only the owner's tokens see it). YAML is read too.")
_EXAMPLES_BODY = _body(_EXAMPLES, "`examples`, each as a task file has it.")
_ID: dict[str, Any] = {
    "name": "id",
    "in": "query",
    "description": "An example's id, as GET has it; repeatable.",
    "required": True,
    "schema": {"type": "array", "items": {"type": "string"}},
}
_CREATED, _CHANGED = (json_answer(TaskSummary, SUMMARY, status) for status in (201, 200))


@router.post("/tasks", openapi_extra=_TASK_BODY, responses=_CREATED, summary="Create a task", status_code=201)
async def create_task(request: Request) -> Response:
    """Make a task of the caller's account: public, or with `private` for its tokens alone."""
    sent = await read_task(await read_body(request, state_of(request).limits))
    served = await _done(request, editor_of(request).create(sent.task, is_private=bool(sent.is_private)))
    return tagged(served, described(served), 201, {"location": f"/tasks/{served.task.name}"})


@router.put("/tasks/{name}", openapi_extra=_TASK_BODY | IF_MATCH, responses=_CHANGED, summary="Update a task")
async def update_task(request: Request, name: str) -> Response:
    """Put another version in a task's place. What is the same as the newest makes none."""
    editor, expected = editor_of(request), expected_version(request)
    state_of(request).tasks.get(name)  # a wrong name is told before a body is read
    sent = await read_task(await read_body(request, state_of(request).limits), name)
    _check_private(state_of(request).tasks.get(name), sent.is_private)
    served = await _done(request, editor.change(name, lambda _: sent.task, expected))
    return tagged(served, described(served))


@router.delete("/tasks/{name}", openapi_extra=IF_MATCH, summary="Delete a task", status_code=204)
async def delete_task(request: Request, name: str) -> Response:
    """Remove a task and all its versions. Predictions that are under way are still answered."""
    await _done(request, editor_of(request).delete(name, expected_version(request)))
    return Response(status_code=204)


@router.get(
    "/tasks/{name}/versions",
    responses=json_answer(list[TaskVersion], [{"version": 1, "created_at": 1_700_000_000, "num_examples": 2}]),
    summary="List a task's versions",
)
async def list_versions(request: Request, name: str) -> Response:
    """The versions that are kept, the newest first; `/tasks/{name}?version=` shows, and asks, each."""
    history = await editor_of(request).history(name)
    return JSONResponse(
        [
            {
                "version": each.version,
                "created_at": each.created_at or None,
                "num_examples": len(json.loads(each.body).get("examples", ())),
            }
            for each in history
        ]
    )


@router.get(
    "/tasks/{name}/examples",
    responses=json_answer(TaskExamples, {"version": 1, "examples": [EXAMPLE]}),
    summary="List a task's examples",
)
async def list_examples(request: Request, name: str) -> Response:
    """Every example with its id."""
    served = state_of(request).tasks.get(name)
    return tagged(served, {"version": served.version, "examples": _shown(served.task)})


@router.post(
    "/tasks/{name}/examples",
    openapi_extra=_EXAMPLES_BODY | IF_MATCH,
    responses=_CHANGED,
    summary="Add examples",
)
async def add_examples(request: Request, name: str) -> Response:
    """Add examples behind those there are. Nobody waits: requests are answered by the old version until the model
    has read the new prefix."""
    editor, expected = editor_of(request), expected_version(request)
    state_of(request).tasks.get(name)
    body = await read_body(request, state_of(request).limits)

    def add(task: Task) -> Task:
        return task.with_examples((*task.examples, *read_examples(body, task)))

    served = await _done(request, editor.change(name, add, expected))
    return tagged(served, described(served))


@router.delete(
    "/tasks/{name}/examples",
    openapi_extra={"parameters": [_ID, *IF_MATCH["parameters"]]},
    responses=_CHANGED,
    summary="Remove examples",
)
async def remove_examples(request: Request, name: str) -> Response:
    """Remove the examples with these ids, in the same way."""
    ids = request.query_params.getlist("id")
    if not 1 <= len(ids) <= MAX_IDS:
        raise InvalidParameterError("id", f"must be given from one to {MAX_IDS} times.")
    expected = expected_version(request)
    change = editor_of(request).change(name, lambda task: task.with_examples(without(task, ids)), expected)
    served = await _done(request, change)
    return tagged(served, described(served))


async def _done(request: Request, change: Coroutine[Any, Any, Result]) -> Result:
    """The outcome of a change, which waits for the model to read a prefix: until the request's deadline at most.

    What is given up half-way has happened or not; another look at the database settles it (task_sync.py).
    """
    return await attend(change, state_of(request).watch(request))


def _shown(task: Task) -> list[dict[str, Any]]:
    return [{"id": id_of(each), "example": {**each.inputs, "output": each.output}} for each in task.examples]


def _check_private(served: ServedTask, is_private: bool | None) -> None:
    if is_private not in (None, served.private_to is not None):
        raise InvalidInputError("`private` can't be changed.", fix="Delete the task and make it anew.")
