"""Served tasks made and changed by the clients: over a transport that is made up, and against the app itself."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from handful.client import AsyncClient, task_calls
from handful.errors import ConflictError, InvalidInputError, NotFoundError
from handful.server.app import create_app
from handful.task.task import Example, Task
from tests.unit.client.test_client import both
from tests.unit.server.serving import run
from tests.unit.server.with_access import opened, state_over

TASK = Task(name="mood", labels=("good", "bad"), examples=(Example({"input": "Sun."}, "good"),))
MORE = Example({"input": "Rain."}, "bad")
INFO = {"name": "mood", "version": 2}


@pytest.mark.parametrize(
    ("method", "arguments", "asked", "body"),
    [
        ("create_task", (TASK,), "POST /tasks", TASK.to_dict() | {"private": False}),
        ("update_task", (TASK,), "PUT /tasks/mood", TASK.to_dict()),
        (
            "add_examples",
            ("mood", [MORE]),
            "POST /tasks/mood/examples",
            {"examples": [{"input": "Rain.", "output": "bad"}]},
        ),
        ("remove_examples", ("mood", ["a", "b"]), "DELETE /tasks/mood/examples?id=a&id=b", None),
    ],
)
def test_both_clients_ask_alike(method: str, arguments: tuple[Any, ...], asked: str, body: Any) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert f"{request.method} {request.url.raw_path.decode()}" == asked
        assert (json.loads(request.content) if request.content else None) == body
        return httpx.Response(200, json=INFO)

    assert both(handler, method, *arguments) == INFO


def test_a_version_is_sent_as_the_server_reads_it() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["if-match"] == '"3"'
        return httpx.Response(409, json={"error": ["The task mood is at version 4, not 3."], "error_type": "conflict"})

    for method, arguments in (("update_task", (TASK,)), ("delete_task", ("mood",)), ("add_examples", ("mood", [MORE]))):
        with pytest.raises(ConflictError, match="at version 4"):
            both(handler, method, *arguments, version=3)


def test_one_text_is_never_taken_for_several_ids() -> None:
    with pytest.raises(InvalidInputError, match="list"):
        task_calls.remove_examples("mood", "abc", None)


def test_a_task_lives_from_its_making_to_its_end(tmp_path: Path) -> None:
    async def check() -> None:
        with opened(tmp_path) as database:
            app = create_app(state_over(database, required=False))
            transport = httpx.ASGITransport(app)
            async with app.router.lifespan_context(app), AsyncClient("http://localhost", transport=transport) as client:
                assert (await client.create_task(TASK))["version"] == 1
                assert (await client.add_examples("mood", [MORE], version=1))["num_examples"] == 2
                there = await client.examples("mood")
                assert list(there.values()) == [*TASK.examples, MORE]
                await client.remove_examples("mood", [next(iter(there))])
                assert (await client.task("mood")).examples == (MORE,)
                changed = await client.update_task(TASK.replace(description="Say how it is."))
                assert (changed["version"], changed["description"]) == (4, "Say how it is.")
                assert "mood" in [each["name"] for each in await client.tasks()]
                await client.delete_task("mood", version=4)
                with pytest.raises(NotFoundError):
                    await client.task("mood")

    run(check())
