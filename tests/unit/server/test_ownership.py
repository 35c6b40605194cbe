"""A private model or task answers everybody but its owner as a name that never existed, on every route there is."""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from handful.server.app import create_app
from handful.server.model_entry import ModelSource
from handful.server.ownership import current_account, visible
from handful.server.registry import ModelRegistry
from handful.server.state import ServerState
from handful.store.accounts import Accounts
from handful.store.database import Database
from handful.store.tasks import TaskStore
from tests.unit.server.serving import SENTIMENT, FakeModel, client_of, run, until
from tests.unit.server.test_auth import patterns_of
from tests.unit.server.with_access import bearer, opened, state_over

# Of the same length, so that the answers are too. Models and a task of the first are private to ada.
PRIVATE, NEVER = "quiet-one", "never-was"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
OTHERS = {"task": "text-generation", "device": "cpu", "compute": "cpu", "filename": "config.json"}
CHANGING = re.compile(r"x-request-id|x-compute-time|date|x-ratelimit.*|ratelimit.*")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        Accounts(there).create("ada")
        Accounts(there).create("bob")
        store = TaskStore(there)
        store.create(PRIVATE, json.dumps(SENTIMENT.to_dict() | {"name": PRIVATE}), owner="ada", is_private=True)
        yield there


def state_of(database: Database, *, required: bool) -> ServerState:
    state = state_over(database, required=required)
    model = FakeModel()
    sources = [
        ModelSource("fake", model.load),
        ModelSource(f"ada/{PRIVATE}", model.load, private_to="ada"),
        ModelSource(PRIVATE, model.load, private_to="ada"),
    ]
    return ServerState(models=ModelRegistry(sources), tasks=state.tasks, access=state.access)


def filled(pattern: str, name: str) -> set[str]:
    """A route's paths about a name: as all that its pattern leaves open, and as its last part alone."""
    if "{" not in pattern:
        return {pattern, f"{pattern}?model={name}", f"{pattern}?name={name}"}
    owned = pattern.replace("{org}", "ada")
    usual = re.sub(r"{(\w+)[^}]*}", lambda found: OTHERS.get(found[1], name), owned)
    return {usual, re.sub(r"{[^}]*}", name, owned)}


def bodies(method: str, path: str, name: str) -> list[Any]:
    """What is sent: to POST routes that find a model in the body, every form in which they take one."""
    if method in ("GET", "HEAD"):
        return [None]
    if method != "POST" or name in path:
        return [{"inputs": "a"}]
    asked: list[Any] = [{"model": model, "inputs": "a"} for model in (name, f"http://localhost/models/{name}")]
    model = f"ada/{name}"
    asked += [{"model": model, "inputs": "a", "stream": True}, {"model": model, "prompt": "a"}, {"model_id": model}]
    return [*asked, {"model": model, "input": "a"}, {"model": model, "messages": [{"role": "user", "content": "a"}]}]


def seen(answer: httpx.Response, name: str) -> tuple[Any, ...]:
    """All that an answer says, with the name taken out."""
    headers = {key: value for key, value in answer.headers.items() if not CHANGING.fullmatch(key)}
    return answer.status_code, answer.text.replace(name, "NAME"), str(headers).replace(name, "NAME")


async def walk(client: httpx.AsyncClient, patterns: Iterable[str], name: str, headers: dict[str, str]) -> Any:
    """What each route answers about a name, by method, pattern and number of the body."""
    found = {}
    for pattern in sorted(patterns):
        for number, path in enumerate(sorted(filled(pattern, name), key=lambda path: path.replace(name, ""))):
            for method in METHODS:
                for which, body in enumerate(bodies(method, path, name)):
                    content = None if body is None else json.dumps(body)
                    answer = await client.request(method, path, headers=headers, content=content)
                    found[(method, pattern, number, which)] = seen(answer, name)
    return found


@pytest.mark.parametrize("who", ["stranger", "anonymous", "stranger where tokens are asked for"])
def test_to_others_a_private_name_is_one_that_never_existed(database: Database, who: str) -> None:
    async def check() -> None:
        state = state_of(database, required="asked" in who)
        headers = bearer(database, account="bob", scopes=("predict", "manage")) if "stranger" in who else {}
        async with client_of(state, wait=False) as client:
            await until(lambda: set(state.models.all_states().values()) == {"ready"})
            counting = {"/metrics", "/usage"}  # this walk itself; the test below looks at them
            patterns = set(patterns_of(create_app(state).routes)) - counting
            private, never = [await walk(client, patterns, name, headers) for name in (PRIVATE, NEVER)]
            assert len(private) > 300
            different = {key: (private[key], never[key]) for key in private if private[key] != never[key]}
            assert different == {}

    asyncio.run(check())


def test_no_list_shows_what_is_private_and_its_owner_sees_it(database: Database) -> None:
    async def check() -> None:
        state = state_of(database, required=False)
        ada, bob = (bearer(database, account=name) for name in ("ada", "bob"))
        async with client_of(state, wait=False) as client:
            await until(lambda: set(state.models.all_states().values()) == {"ready"})
            patterns = [each for each in patterns_of(create_app(state).routes) if "{" not in each]
            for headers in (bob, {}):
                for path in patterns:
                    assert PRIVATE not in (await client.get(path, headers=headers)).text, path
            for path in ("/tasks", "/v1/models"):
                assert PRIVATE in (await client.get(path, headers=ada)).text
            for path in (f"/models/ada/{PRIVATE}", f"/models/{PRIVATE}", f"/tasks/{PRIVATE}"):
                for headers, status in ((ada, 200), (bob, 404), ({}, 404)):
                    assert (await client.post(path, json={"inputs": "a"}, headers=headers)).status_code == status
            assert (await client.get(f"/tasks/{PRIVATE}", headers=ada)).status_code == 200

    run(check())


def test_over_a_websocket_a_private_name_never_existed_either(database: Database) -> None:
    def said(client: TestClient, name: str, headers: dict[str, str]) -> str:
        found: list[Any] = []
        with (
            suppress(WebSocketDisconnect),
            client.websocket_connect(f"/bulk/stream/cpu/ada/{name}", headers=headers) as socket,
        ):
            socket.send_json({"id": "1", "inputs": "a"})
            while len(found) < 2:
                found.append(socket.receive_json())
        return json.dumps(found).replace(name, "NAME")

    ada, bob = (bearer(database, account=name) for name in ("ada", "bob"))
    with TestClient(create_app(state_of(database, required=False)), base_url="http://localhost") as client:
        for headers in (bob, {}):
            assert said(client, PRIVATE, headers) == said(client, NEVER, headers)
        assert said(client, PRIVATE, ada) != said(client, NEVER, ada)


def test_outside_of_a_request_nobody_sees_what_is_private() -> None:
    assert visible(None)
    assert not visible("ada")
    token = current_account.set("ada")
    assert visible("ada")
    assert not visible("bob")
    current_account.reset(token)
