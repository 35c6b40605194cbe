"""All routes of a server as /openapi.json has them, each with a path to what is there and bodies that show its use."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from handful.errors import NotFoundError
from handful.protocol.task_shapes import TASK
from handful.server.app import create_app
from handful.server.auth_state import Access
from handful.server.model_host import ModelHost
from handful.server.served_model import ServedModel
from handful.store.models import StoredModel
from handful.types import ChatTemplate
from tests.unit.server.serving import FakeModel, client_of, state_with
from tests.unit.server.with_access import bearer, opened

DESCRIBED = create_app(state_with(FakeModel())).openapi()


def spelt_out(part: Any, document: dict[str, Any]) -> Any:
    """A part of a document with what it refers to in its place."""
    if isinstance(part, list):
        return [spelt_out(each, document) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        found: Any = document
        for key in part["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        return spelt_out(found, document)
    return {key: spelt_out(value, document) for key, value in part.items()}


SPELT_OUT: dict[str, Any] = spelt_out(DESCRIBED, DESCRIBED)
OPERATIONS = [(path, method) for path, methods in DESCRIBED["paths"].items() for method in methods]
NAMES = {"name": "fake", "org": "org", "task": "text-generation", "framework": "transformers"}
NAMES_BELOW = {
    "/tasks": {"name": "sentiment"},
    "/api/models/{org}/{name}/files": {"org": "default", "name": "sent", "filename": "config.json"},
    "/api/models": {"org": "default", "name": "mine"},
}


def known_names(path: str) -> dict[str, str]:
    """What a route's parameters are to be for something that is there."""
    return NAMES | next((names for start, names in NAMES_BELOW.items() if path.startswith(start)), {})


def known_path(path: str) -> str:
    """A path of the route, to something that is there."""
    names = known_names(path)
    return re.sub(r"{(\w+)}", lambda found: names[found[1]], path)


def body_schema(path: str, method: str) -> dict[str, Any] | None:
    """The schema of a route's JSON body."""
    content = SPELT_OUT["paths"][path][method].get("requestBody", {}).get("content", {}).get("application/json", {})
    schema: dict[str, Any] | None = content.get("schema")
    return schema


def shown_bodies(path: str, method: str) -> list[dict[str, Any]]:
    """The bodies that the documentation shows, each for the model of the route."""
    content = DESCRIBED["paths"][path][method].get("requestBody", {}).get("content", {}).get("application/json", {})
    examples = [each["value"] for each in content.get("examples", {}).values()]
    examples = examples or ([content["example"]] if "example" in content else [])
    model = {"model": None} if path.endswith(("completions", "embeddings")) else {}
    return [{**example, **model} for example in examples]


@dataclass
class Site:
    """A server in this process, and a token that may change everything but name its files."""

    client: httpx.AsyncClient
    headers: dict[str, str]
    model: FakeModel

    async def make_task(self) -> None:
        """Have the task that the documentation shows, unless it is there."""
        await self.client.post("/tasks", json=TASK, headers=self.headers)

    async def drop_task(self) -> None:
        """Have it no longer."""
        await self.client.delete(f"/tasks/{TASK['name']}", headers=self.headers)

    async def send(self, path: str, method: str, **request: Any) -> httpx.Response:
        """A request to what is there."""
        headers = self.headers | request.pop("headers", {})
        return await self.client.request(method.upper(), known_path(path), headers=headers, **request)


def _load_nothing(model: StoredModel, token: str | None) -> ServedModel:
    raise NotFoundError(f"{model.name} is registered by a test and is nowhere.")


@asynccontextmanager
async def site_in(folder: Path, model: FakeModel | None = None, **fields: Any) -> AsyncIterator[Site]:
    """A server with models, the task of the documentation, accounts and uploads."""
    served = model or FakeModel(chat_template=ChatTemplate("{{ messages[0].content }}"))
    with opened(folder) as database:
        access = Access.over(database, tokens_required=True)
        host = ModelHost(_load_nothing, lambda _: None, folder / "models", 1 << 20)
        async with client_of(state_with(served, access=access, host=host, **fields)) as client:
            site = Site(client, bearer(database, scopes=("predict", "manage")), served)
            await site.make_task()
            yield site


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every text and number in a JSON value, with the keys that lead to it."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*place, key))
    else:
        yield place, value


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with another one at a place; objects on the way are made."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in place[:-1]:
        inner = inner.setdefault(key, {}) if isinstance(inner, dict) else inner[key]
    inner[place[-1]] = new
    return copy
