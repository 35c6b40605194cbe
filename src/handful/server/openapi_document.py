"""What /openapi.json says of the server as a whole: its groups of routes, who is let in, which answers stream."""

import json
from typing import Any

from fastapi import FastAPI

from handful.protocol.sse import CONTENT_TYPE
from handful.server.auth_scopes import is_open
from handful.server.openapi import AS_IS
from handful.server.openapi_parameters import examples_of, headers_of
from handful.server.openapi_shared import share
from handful.server.openapi_tasks import asked_of

SCHEME = "token"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "hf_...",
    "description": "A token of `handful tokens create`. On a loopback address the server may be open without one.",
}
_TAGS = {
    "inference api": "Models for all tasks, as the hosted Inference API was asked.",
    "openai": "Completions, chat and embeddings, as OpenAI's clients ask.",
    "tgi": "Text generation, as clients of Text Generation Inference ask.",
    "tasks": "Tasks with labels and examples: asked, made and changed while the server runs.",
    "models": "What is served, and models of an account's own.",
    "backend": "What handful's own client asks: the verbs of a model.",
    "accounts": "What was used.",
    "health": "Probes, figures, and this description.",
}
_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
_EVENTS = _EVENT | {"description": "Server-sent events, one a token; `data` is JSON."}
_TOKEN = {"id": 45, "text": " fox", "logprob": -1.25, "special": False}
_EVENT_OF = {
    "openai": {"id": "cmpl-1", "object": "text_completion", "choices": [{"index": 0, "text": " fox"}]},
    "tasks": {"text": " O\u00f9 est"},
    "backend": {"text": " fox", "generation": None},
}
_ANY_EVENT = {"index": 1, "token": _TOKEN, "generated_text": None, "details": None}
_FIGURES = "# TYPE handful_requests_waiting gauge\nhandful_requests_waiting 0.0\n"
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")
"""What FastAPI describes of failures that never happen here: routes take texts and read their bodies themselves."""


def describe(app: FastAPI) -> None:
    """Have the app's document say all this; to be called once its routes are there."""
    routes_alone = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(routes_alone())
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]  # how FastAPI has its document changed


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if not is_open({"type": "http", "method": method.upper(), "path": path}):
                operation["security"] = [{SCHEME: []}]
            for answer in operation["responses"].values():
                _unpack(answer.get("content", {}).get("application/json", {}))
            if _can_stream(operation):
                operation["responses"]["200"].setdefault("content", {})[CONTENT_TYPE] = _stream_of(operation)
            _describe_parameters(operation, method, path)
            _describe_tasks(operation, path)
            if _FRAMEWORKS_OWN[0] in json.dumps(operation["responses"].get("422", {})):
                del operation["responses"]["422"]
    document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]["text/plain"]["example"] = _FIGURES
    components = document.setdefault("components", {})
    for name in _FRAMEWORKS_OWN:
        components.get("schemas", {}).pop(name, None)
    components["securitySchemes"] = {SCHEME: _SCHEME}
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    share(document)
    return document


def _describe_parameters(operation: dict[str, Any], method: str, path: str) -> None:
    """Examples of what stands in the path and behind the `?`, and the headers that the route reads."""
    described: list[dict[str, Any]] = [*operation.get("parameters", ()), *headers_of(method, path, operation["tags"])]
    known = examples_of(path)
    for each in described:
        if each["name"] in known:
            each["example"] = known[each["name"]]
    if described:
        operation["parameters"] = described


def _describe_tasks(operation: dict[str, Any], path: str) -> None:
    """Beside the example of each task's body, which model is asked."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    for task, example in content.get("examples", {}).items():
        example.update(asked_of(task, path))


def _stream_of(operation: dict[str, Any]) -> dict[str, Any]:
    event = next((_EVENT_OF[tag] for tag in operation["tags"] if tag in _EVENT_OF), _ANY_EVENT)
    return {"schema": _EVENTS, "example": {"data": json.dumps(event)}}


def _unpack(content: dict[str, Any]) -> None:
    content |= json.loads(content.pop(AS_IS, "{}"))


def _can_stream(operation: dict[str, Any]) -> bool:
    if CONTENT_TYPE in operation["responses"].get("200", {}).get("content", {}):
        return True
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = content.get("schema", {})
    return any("stream" in each.get("properties", {}) for each in (schema, *schema.get("anyOf", ())))
