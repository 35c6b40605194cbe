"""The description of a request body that the server parses itself, for /openapi.json."""

from typing import Any

from pydantic import BaseModel


def json_body(schema: type[BaseModel]) -> dict[str, Any]:
    """What FastAPI's `openapi_extra` takes."""
    described = schema.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = described.pop("$defs", {})
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _inline(described, definitions)}}}
    }


def _inline(part: Any, definitions: dict[str, Any]) -> Any:
    """A schema with its `$ref`s replaced by what they stand for: the schemas here are not recursive."""
    if isinstance(part, list):
        return [_inline(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _inline(definitions[part["$ref"].rsplit("/", 1)[1]], definitions)
    return {key: _inline(value, definitions) for key, value in part.items()}
