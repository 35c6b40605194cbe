"""What /openapi.json says of a route beside its body: examples of the parts of its path, and the headers it reads."""

from collections.abc import Sequence
from typing import Any

from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.protocol.nlp_zero_shot import SHAPE_HEADER
from handful.server.auth_scopes import needed_scope
from handful.server.model_wish import CACHE, LOAD, WAIT
from handful.store.tokens import PREDICT

_IN_PATHS = {"org": "team", "name": "default", "task": TEXT_GENERATION, "framework": "transformers"}
_IN_TASKS = {"name": "sentiment", "version": 2, "id": ["34fc7d3857435fe6"]}
_IN_UPLOADS = {"org": "ada", "name": "mine", "filename": "config.json"}
_SWITCH = {"type": "string", "enum": ["1", "0", "true", "false"]}
_KEEPS_NOTHING = ("/tokenize", "/generate_stream")


def examples_of(path: str) -> dict[str, Any]:
    """A value for each parameter of a route, by the parameter's name."""
    below = (("/tasks", _IN_TASKS), ("/api/models", _IN_UPLOADS))
    return _IN_PATHS | next((values for start, values in below if path.startswith(start)), {})


def headers_of(method: str, path: str, tags: Sequence[str]) -> list[dict[str, Any]]:
    """The headers that a route reads, as parameters: those that ask a model."""
    if method != "post" or needed_scope({"type": "http", "method": "POST", "path": path}) != PREDICT:
        return []
    read = [
        _header(WAIT, "Wait for a model that is loading, instead of being told 503."),
        _header(LOAD, "0: answer 503 rather than load a model now."),
    ]
    if "backend" not in tags and path not in _KEEPS_NOTHING:
        read.append(_header(CACHE, "Whether a kept answer will do; unset: where it can't differ."))
    if "inference api" in tags:
        shapes = {"type": "string", "enum": ["dict", "list"]}
        said = "Which of the two shapes zero-shot-classification answers in; unset: by the client's User-Agent."
        read.append(_header(SHAPE_HEADER, said) | {"schema": shapes, "example": "list"})
    return read


def _header(name: str, said: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": said, "schema": _SWITCH, "example": "1"}
