"""The one table of what an error is on the wire, and the handlers that answer with it.

The body's shape is that of the surface that was asked (surface.py). Nothing of a request's texts and nothing of an
unexpected exception's message is ever in one.
"""

import json
import math
import traceback
from http import HTTPStatus
from logging import getLogger
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from handful import errors
from handful.protocol import errors as wire
from handful.protocol.problems import InvalidRequestError
from handful.server.json_response import JSONResponse
from handful.server.surface import Failure, shaped, shaped_event

_log = getLogger("handful.server")
STATUS_CLIENT_LEFT = 499
"""In the log only (nginx's number): there was nobody to answer."""


class BodyTooLargeError(errors.InvalidInputError):
    """A request's body is larger than the server reads."""


class SlowBodyError(errors.RequestTimeoutError):
    """A request's body didn't arrive in time."""


class ClientLeftError(errors.RequestAbortedError):
    """The client closed the connection; nobody reads an answer."""


class ForeignHostError(errors.UserError):
    """A request names a host or comes from a web page that this server doesn't know."""


class UnauthorizedError(errors.UserError):
    """A request has no token, or none that is valid."""


class ForbiddenError(errors.UserError):
    """A request's token may not do what it asks for."""


class RateLimitedError(errors.BusyError):
    """A token has used up one of its limits."""


# The first class that fits counts, so a class stands before its base.
_TABLE: tuple[tuple[type[errors.HandfulError], int, str], ...] = (
    (BodyTooLargeError, 413, wire.VALIDATION),
    (SlowBodyError, 408, wire.TIMEOUT),
    (ForeignHostError, 403, "forbidden"),
    (UnauthorizedError, 401, "unauthorized"),
    (ForbiddenError, 403, "forbidden"),
    (ClientLeftError, STATUS_CLIENT_LEFT, wire.INCOMPLETE),
    (errors.NotFoundError, 404, wire.NOT_FOUND),
    (errors.ConflictError, 409, "conflict"),
    (errors.PromptTooLongError, 422, wire.TOO_LONG),
    (errors.CheckpointError, 500, "checkpoint"),
    (errors.UserError, 400, wire.VALIDATION),
    (RateLimitedError, 429, "rate_limited"),
    (errors.BusyError, 429, wire.OVERLOADED),
    (errors.NotReadyError, 503, wire.NOT_READY),
    (errors.RequestTimeoutError, 504, wire.TIMEOUT),
    (errors.RequestAbortedError, 503, wire.INCOMPLETE),
    (errors.StoreError, 503, "database"),
    (errors.RemoteError, 502, "remote"),
    (errors.EngineError, 500, wire.GENERATION),
    (errors.HandfulError, 500, wire.GENERATION),
)


def status_of(error: errors.HandfulError) -> tuple[int, str]:
    """HTTP status and `error_type` of an error."""
    return next((status, kind) for cls, status, kind in _TABLE if isinstance(error, cls))


def error_fields(error: errors.HandfulError) -> dict[str, Any]:
    """What an error adds to its body beside the sentences."""
    fields: dict[str, Any] = {}
    if isinstance(error, errors.InvalidParameterError | InvalidRequestError) and error.parameter:
        fields["parameter"] = error.parameter
    if isinstance(error, errors.NotReadyError):
        fields["estimated_time"] = round(error.estimated_time_s, 1)
    return fields


def failure_of(error: errors.HandfulError) -> Failure:
    """An error as every surface tells it in its own shape."""
    sentences = error.problems if isinstance(error, InvalidRequestError) else [str(error)]
    return Failure(*status_of(error), tuple(sentences), error_fields(error))


def error_response(error: errors.HandfulError, path: str = "") -> Response:
    """The whole answer to a request to `path` that failed."""
    status, body = shaped(failure_of(error), path)
    return JSONResponse(body, status_code=status, headers=_headers(error, status))


def _headers(error: errors.HandfulError, status: int) -> dict[str, str]:
    if isinstance(error, errors.BusyError):
        return {"retry-after": str(max(1, math.ceil(error.retry_after_s)))}
    if isinstance(error, errors.NotReadyError):
        return {"retry-after": str(max(1, math.ceil(error.estimated_time_s)))}
    if isinstance(error, errors.StoreError):
        return {"retry-after": "1"}
    # The rest of a body that was not read would be taken for the next request.
    return {"connection": "close"} if status in (408, 413) else {}


def error_event(error: errors.HandfulError, path: str = "") -> dict[str, Any]:
    """The last event of a stream that failed after its first token. TGI's clients know four error types."""
    return shaped_event(failure_of(error), path)


def fault(error: BaseException) -> errors.EngineError:
    """Log where an unexpected exception came from, without its message (it may quote a prompt), and stand in for it."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    _log.error(json.dumps({"event": "fault", "kind": type(error).__name__, "frames": frames}))
    return _unexpected()


def _unexpected() -> errors.EngineError:
    return errors.EngineError("handful failed; its log says where.", fix="The request may be sent again once.")


async def _answer_handful_error(request: Request, error: Exception) -> Response:
    return error_response(error if isinstance(error, errors.HandfulError) else fault(error), request.scope["path"])


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """What the router refuses: no such route (404), not this method (405)."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    sentences = [HTTPStatus(status).phrase + "."]
    if status in (404, 405):
        sentences = [f"No such route for {request.method}.", "See GET /openapi.json for those there are."]
    headers = error.headers if isinstance(error, HTTPException) else None
    kind = wire.NOT_FOUND if status == 404 else wire.VALIDATION
    status, body = shaped(Failure(status, kind, tuple(sentences)), request.scope["path"])
    return JSONResponse(body, status_code=status, headers=headers)


async def _answer_unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette calls it so
    """What no handler took. It is raised on, behind this answer, to the access log, which logs its place."""
    return error_response(_unexpected(), request.scope["path"])


def install_error_handlers(app: FastAPI) -> None:
    """Let every error that leaves a route be answered by the table."""
    app.add_exception_handler(errors.HandfulError, _answer_handful_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(Exception, _answer_unexpected)
