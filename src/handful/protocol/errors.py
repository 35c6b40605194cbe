"""Errors on the wire, read back: a status and a body become the `HandfulError` that the server raised.

Bodies are `{"error": [sentences], "error_type": ...}` below 500 and `{"error": "sentence", ...}` from 500 on and in
streams, which is what the Inference API's and TGI's clients expect. `parameter` and `estimated_time` where they apply.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from handful.errors import (
    BusyError,
    ConflictError,
    EngineError,
    HandfulError,
    InvalidInputError,
    InvalidParameterError,
    NotFoundError,
    NotReadyError,
    PromptTooLongError,
    RemoteError,
    RequestTimeoutError,
)

VALIDATION, GENERATION, OVERLOADED, INCOMPLETE = "validation", "generation", "overloaded", "incomplete_generation"
NOT_FOUND, TIMEOUT, NOT_READY, TOO_LONG = "not_found", "timeout", "not_ready", "prompt_too_long"
MAX_WAIT_S = 3600.0
_MAX_MESSAGE = 2000
_PLACE = re.compile(r"\AError in `[^`]*`: ")


def error_from_answer(status: int, headers: Mapping[str, str], body: bytes) -> HandfulError:
    """The error that an HTTP answer of 400 or more stands for. Unknown shapes become `RemoteError`."""
    fields = _fields(body)
    message = _message(fields) or f"The server answered {status} without saying why."
    if status == 429:
        return BusyError(message, retry_after_s=_seconds(headers.get("retry-after"), 1.0))
    if status == 503:
        return NotReadyError(message, estimated_time_s=_seconds(fields.get("estimated_time"), 0.0))
    if status in (408, 504):
        return RequestTimeoutError(message)
    if status == 404:
        return NotFoundError(message)
    if status == 409:
        return ConflictError(message)
    if status in (400, 413, 422):
        return _refusal(status, fields, message)
    if status == 500 and fields.get("error_type") == GENERATION:
        return EngineError(message)
    return RemoteError(message, status=status)


def error_from_event(fields: Mapping[str, Any]) -> HandfulError:
    """The error that an event of a stream stands for."""
    message = _message(fields) or "The stream ended with an error that it didn't name."
    kinds = {
        OVERLOADED: BusyError,
        TIMEOUT: RequestTimeoutError,
        NOT_READY: NotReadyError,
        TOO_LONG: PromptTooLongError,
        VALIDATION: InvalidInputError,
        GENERATION: EngineError,
    }
    kind = kinds.get(str(fields.get("error_type")))
    return kind(message) if kind else RemoteError(message, status=200)


def _refusal(status: int, fields: Mapping[str, Any], message: str) -> HandfulError:
    parameter = fields.get("parameter")
    if isinstance(parameter, str):
        return InvalidParameterError(parameter, _PLACE.sub("", message).removeprefix(f"`{parameter}` "))
    return PromptTooLongError(message) if status == 422 else InvalidInputError(message)


def _fields(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _message(fields: Mapping[str, Any]) -> str:
    error = fields.get("error")
    sentences = error if isinstance(error, list) else [error] if error is not None else []
    return " ".join(str(sentence) for sentence in sentences)[:_MAX_MESSAGE]


def _seconds(value: object, default: float) -> float:
    """A wait that a server named, as a number from 0 to `MAX_WAIT_S`; `default` where it isn't one."""
    try:
        seconds = float(str(value))
    except ValueError:
        return default
    return min(max(seconds, 0.0), MAX_WAIT_S) if math.isfinite(seconds) else default
