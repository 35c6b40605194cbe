"""What the routes of tasks have in common: which version is asked for or expected, and how a task is described."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from handful.errors import InvalidParameterError
from handful.server.json_response import JSONResponse
from handful.server.task_editor import TaskEditor
from handful.server.task_registry import ServedTask

VERSION: dict[str, Any] = {
    "parameters": [
        {
            "name": "version",
            "in": "query",
            "description": "An older version of the task; the newest where it is left out.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
        }
    ]
}
IF_MATCH: dict[str, Any] = {
    "parameters": [
        {
            "name": "if-match",
            "in": "header",
            "description": "The version that is to be changed, as `ETag` had it; 409 where the task is at another one.",
            "schema": {"type": "string"},
            "example": '"3"',
        }
    ]
}
_MAX_VERSION = 2**31 - 1
_TAG = re.compile(r'"?([0-9]{1,10})"?')


def editor_of(request: Request) -> TaskEditor:
    """Who changes the tasks of the server that received a request."""
    editor: TaskEditor = request.app.state.task_editor
    return editor


def asked_version(request: Request) -> int | None:
    """`?version=`, or None where it is left out. Raises InvalidParameterError."""
    asked = request.query_params.get("version")
    return None if asked is None else _number(asked, "version")


def expected_version(request: Request) -> int | None:
    """The version in `If-Match`, or None where any will do. Raises InvalidParameterError."""
    given = request.headers.get("if-match", "*").strip()
    if given == "*":
        return None
    found = _TAG.fullmatch(given)
    if found is None:
        raise InvalidParameterError("If-Match", "must be one version, as ETag had it.", fix='For example: "3"')
    return _number(found[1], "If-Match")


def described(served: ServedTask) -> dict[str, Any]:
    """What a task is, its version, and whose it is, without its examples."""
    task, stored = served.task, served.stored
    return {
        "name": task.name,
        "description": task.description,
        "variables": list(task.variables),
        "labels": list(task.labels),
        "model": served.model,
        "num_examples": len(task.examples),
        "version": served.version,
        "private": served.private_to is not None,
        "owner": stored.owner if stored is not None else None,
        "read_only": stored is None,
    } | ({} if served.classifier is None else {"classifier": served.classifier.described()})


def tagged(served: ServedTask, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer about a version of a task."""
    return JSONResponse(body, status, headers={"etag": f'"{served.version}"'} | (headers or {}))


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and 1 <= int(text) <= _MAX_VERSION):
        raise InvalidParameterError(name, f"must be a whole number from 1 to {_MAX_VERSION}.")
    return int(text)
