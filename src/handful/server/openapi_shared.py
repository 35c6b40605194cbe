"""What the document of all routes says again and again is said once, under `components`, and referred to.

Schemas with a name that have properties, whole bodies and answers, how requests fail, and headers: each has its place
there. What two routes say differently under one name has a number behind it.
"""

import re
from typing import Any

from handful.server.surface import surface_of

_NOT_A_SCHEMA = frozenset({"example", "examples", "default", "const", "enum"})
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def share(document: dict[str, Any]) -> None:
    """Move what is said more than once in a document of FastAPI's to its components."""
    components = _Components(document.setdefault("components", {}))
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for content in _contents(operation):
                content["schema"] = components.body(content["schema"])
            for status, answer in operation["responses"].items():
                if status >= "4":
                    name = f"{surface_of(path)} {status}"
                    operation["responses"][status] = components.put("responses", name, answer)
            for number, each in enumerate(operation.get("parameters", ())):
                if each["in"] == "header":
                    operation["parameters"][number] = components.put("parameters", each["name"], each)


def spoken(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """An operation with its own parameters and answers rather than references to them; schemas stay as they are."""

    def found(part: dict[str, Any]) -> Any:
        if "$ref" not in part:
            return part
        _, _, kind, name = part["$ref"].split("/")
        return document["components"][kind][name]

    parameters = [found(each) for each in operation.get("parameters", ())]
    answers = {status: found(each) for status, each in operation["responses"].items()}
    return operation | {"parameters": parameters, "responses": answers}


def _contents(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Bodies of requests and answers that have a schema."""
    sides = (operation.get("requestBody", {}), *operation["responses"].values())
    return [content for each in sides for content in each.get("content", {}).values() if "schema" in content]


class _Components:
    """Fills the components of a document."""

    def __init__(self, components: dict[str, Any]) -> None:
        self._components = components

    def put(self, kind: str, name: str, part: Any) -> dict[str, str]:
        """A reference to what is kept under a name like this one."""
        kept = self._components.setdefault(kind, {})
        key = name = _UNFIT.sub("_", name)
        number = 1
        while key in kept and kept[key] != part:
            number += 1
            key = f"{name}{number}"
        kept[key] = part
        return {"$ref": f"#/components/{kind}/{key}"}

    def body(self, schema: dict[str, Any]) -> Any:
        """The schema of a body or an answer."""
        shared = self.schema(schema)
        return self.put("schemas", schema["title"], shared) if "title" in schema and "$ref" not in shared else shared

    def schema(self, part: Any) -> Any:
        """A part of a schema, with what has a name and properties moved."""
        if isinstance(part, list):
            return [self.schema(each) for each in part]
        if not isinstance(part, dict):
            return part
        shared = {key: value if key in _NOT_A_SCHEMA else self.schema(value) for key, value in part.items()}
        is_named = isinstance(part.get("title"), str) and isinstance(part.get("properties"), dict)
        return self.put("schemas", part["title"], shared) if is_named else shared
