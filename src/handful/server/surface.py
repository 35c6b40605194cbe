"""Which surface a path belongs to, and what a failed request's body is there.

* Hugging Face: a 4xx body's `error` is a list of sentences (the 2021 snippet joins them), from 500 on it is a string.
  Beside a list `message` has the sentences as one string: without one huggingface.js hides the list.
* TGI: `error` is a string beside an `error_type` that its clients know; what was asked wrongly is 422, a generation
  that failed 424.
* OpenAI: `{"error": {"message", "type", "code", "param"}}`; a prompt that is too long is 400.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from handful.protocol import errors as wire

Surface = Literal["hugging face", "tgi", "openai"]
TGI_PATHS = frozenset({"/", "/v1", "/generate", "/generate_stream", "/info", "/tokenize"})
_OPENAI_PATH = re.compile(r"(/models/[^/]+(/[^/]+)?)?/v1/.*", re.DOTALL)
_FIELD = re.compile(r"(?:Error in )?`([\w.-]{1,200})`")
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_OPENAI_CODES = {
    wire.TOO_LONG: "context_length_exceeded",
    wire.VALIDATION: None,
    wire.OVERLOADED: "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "unauthorized": "invalid_api_key",
}
_OPENAI_NAMES = {"choices": "guided_choice"}
_UNTYPED = frozenset({"unauthorized", "forbidden", "rate_limited"})
_TGI_STATUS = {(400, wire.VALIDATION): 422, (500, wire.GENERATION): 424}


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request: status and kind as the table has them, sentences, and what the body says beside them."""

    status: int
    kind: str
    sentences: tuple[str, ...]
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """All sentences in a row."""
        return " ".join(self.sentences)


def surface_of(path: str) -> Surface:
    """The surface that a path belongs to."""
    if _OPENAI_PATH.fullmatch(path):
        return "openai"
    return "tgi" if path in TGI_PATHS else "hugging face"


def shaped(failure: Failure, path: str) -> tuple[int, dict[str, Any]]:
    """Status and body of a failed request to `path`."""
    surface = surface_of(path)
    if surface == "openai":
        status = 400 if failure.kind == wire.TOO_LONG else failure.status
        return status, {"error": _openai_error(failure, status)}
    if surface == "tgi":
        kind = wire.VALIDATION if failure.kind == wire.TOO_LONG else failure.kind
        status = _TGI_STATUS.get((failure.status, failure.kind), failure.status)
        return status, {"error": failure.message} | _typed(kind) | failure.fields
    if failure.status >= 500:
        return failure.status, {"error": failure.message} | _typed(failure.kind) | failure.fields
    said = {"error": list(failure.sentences), "message": failure.message}
    return failure.status, said | _typed(failure.kind) | failure.fields


def _typed(kind: str) -> dict[str, str]:
    """huggingface_hub hides the status, and how long to wait, of an answer with an `error_type` it doesn't know."""
    return {} if kind in _UNTYPED else {"error_type": kind}


def shaped_event(failure: Failure, path: str) -> dict[str, Any]:
    """The last event of a stream that failed after its first one: `error` is never a list there."""
    _, body = shaped(failure, path)
    if surface_of(path) == "openai":
        return body
    return {name: part for name, part in body.items() if name != "message"} | {"error": failure.message}


def _openai_error(failure: Failure, status: int) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else _OPENAI_TYPES.get(status, "invalid_request_error")
    found = _FIELD.match(failure.message)
    param = found[1] if found else failure.fields.get("parameter")  # the sentence has the whole way to it
    name = _OPENAI_NAMES.get(str(param), param)  # what the model said of a parameter under its own name
    message = failure.message if name == param else failure.message.replace(f"`{param}`", f"`{name}`")
    return {"message": message, "type": kind, "code": _code(failure), "param": name}


def _code(failure: Failure) -> str | None:
    if failure.kind == wire.NOT_FOUND and failure.message.startswith("Model "):
        return "model_not_found"
    return _OPENAI_CODES.get(failure.kind, failure.kind)
