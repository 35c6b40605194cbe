"""What /openapi.json says of bodies that the server parses itself, of answers, and of how requests fail."""

import json
from typing import Any

from pydantic import BaseModel, TypeAdapter

from handful.protocol import errors as wire
from handful.protocol.nlp_shapes import TASK_ANSWERS, TASK_SHAPES
from handful.protocol.shapes import Example
from handful.server.surface import Failure, Surface, shaped

AS_IS = "x-as-is"
"""Holds examples as a text until `openapi_document.py` unpacks them: FastAPI leaves out what is null."""
_PATHS: dict[Surface, str] = {"openai": "/v1/completions", "tgi": "/generate", "hugging face": "/models/default"}
_FAILURES = (
    (400, wire.VALIDATION, "`top_p` must be more than 0 and at most 1, not 2.", "What was asked can't be done."),
    (401, "unauthorized", "Invalid credentials in Authorization header.", "The server asks for a token."),
    (403, "forbidden", "This token may not do that.", "The token, or the page that asks, may not do this."),
    (404, wire.NOT_FOUND, "Model x does not exist.", "It isn't served."),
    (408, wire.TIMEOUT, "The body did not arrive within 30 seconds.", "The body came too slowly."),
    (409, "conflict", "The task x is at version 3, not 2.", "It has changed meanwhile, or the name is taken."),
    (413, wire.VALIDATION, "The body is larger than 16 MiB.", "The body is too large."),
    (422, wire.TOO_LONG, "The prompt has 9000 tokens.", "The prompt doesn't fit the model's context."),
    (429, wire.OVERLOADED, "The queue is full.", "Too many requests; `retry-after` says when to come back."),
    (500, wire.GENERATION, "handful failed; its log says where.", "handful's own fault."),
    (503, wire.NOT_READY, "Model x is currently loading", "Loading or shutting down; `retry-after` says how long."),
    (504, wire.TIMEOUT, "Not finished within 600 seconds.", "The deadline passed."),
)


def failures(surface: Surface) -> dict[int | str, dict[str, Any]]:
    """How requests to a surface fail, each status with an example; what FastAPI's `responses` takes."""
    described: dict[int | str, dict[str, Any]] = {}
    for status, kind, sentence, meaning in _FAILURES:
        told, body = shaped(Failure(status, kind, (sentence,)), _PATHS[surface])
        content = {"application/json": {"schema": _failed(surface, told), AS_IS: json.dumps({"example": body})}}
        described.setdefault(told, {"description": meaning, "content": content})
    return described


def _failed(surface: Surface, status: int) -> dict[str, Any]:
    """The shape of a failed request's body; errors may say more than this."""
    text: dict[str, Any] = {"type": "string"}
    if surface == "openai":
        told = {"message": text, "type": text, "code": {}, "param": {}}
        said: dict[str, Any] = {"type": "object", "properties": told, "required": list(told)}
    elif surface == "tgi" or status >= 500:
        said = text
    else:
        lines = {"type": "array", "items": text, "minItems": 1}
        fields = {"error": lines, "message": text, "error_type": text}
        return {"type": "object", "properties": fields, "required": ["error", "message"]}
    return {"type": "object", "properties": {"error": said}, "required": ["error"]}


def json_body(schema: type[BaseModel], *, but: str = "") -> dict[str, Any]:
    """What FastAPI's `openapi_extra` takes. The schema's first example becomes that of the body.

    `but` is a key that this route does not take.
    """
    described = _schema_of(schema)
    described["properties"].pop(but, None)
    examples = described.pop("examples", [])
    content = {"schema": described} | ({"example": examples[0]} if examples else {})
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def json_answer(shape: Any, example: Example, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """What FastAPI's `responses` takes of an answer that succeeds. `shape` is any type that pydantic describes."""
    content = {"schema": _schema_of(shape), AS_IS: json.dumps({"example": example})}
    return {status: {"description": "Done.", "content": {"application/json": content}}}


def task_answers() -> dict[int | str, dict[str, Any]]:
    """The same where the answer is that of a task of the Inference API: one of their shapes, an example of each."""
    schema = {
        "title": "TaskAnswer",
        "anyOf": [{"title": task} | _schema_of(shape) for task, shape in TASK_SHAPES.items()],
    }
    examples = {task: {"value": value} for task, value in TASK_ANSWERS.items()}
    content = {"schema": schema, AS_IS: json.dumps({"examples": examples})}
    return {200: {"description": "Done.", "content": {"application/json": content}}}


def _schema_of(shape: Any) -> dict[str, Any]:
    described = TypeAdapter(shape).json_schema(ref_template="#/components/schemas/{model}")
    definitions = described.pop("$defs", {})
    inlined: dict[str, Any] = _inline(described, definitions)
    return inlined


def _inline(part: Any, definitions: dict[str, Any]) -> Any:
    """A schema with its `$ref`s replaced by what they stand for: the schemas here are not recursive."""
    if isinstance(part, list):
        return [_inline(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _inline(definitions[part["$ref"].rsplit("/", 1)[1]], definitions)
    return {key: _inline(value, definitions) for key, value in part.items()}
