"""Tasks made, changed and deleted over HTTP while the server runs."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from handful.errors import EngineError, PromptTooLongError
from handful.server import store_sync, task_pins
from handful.server.app import create_app
from handful.store.accounts import Accounts
from handful.store.database import Database
from handful.store.tasks import TaskStore
from handful.task.render import prefix
from handful.task.task import Example, Task
from handful.types import Score
from tests.unit.server.serving import SENTIMENT, FakeModel, client_of, run, until
from tests.unit.server.with_access import bearer, opened, state_over

MOOD: dict[str, Any] = {
    "name": "mood",
    "input": "Text: {text}",
    "output": "Mood: {output}",
    "labels": ["good", "bad"],
    "examples": [{"text": "Sun.", "output": "good"}, {"text": "Rain.", "output": "bad"}],
}
MORE = {"text": "Snow.", "output": "good"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


@dataclass
class Site:
    """A server with tokens of the accounts ada and bob, and no token at all."""

    client: httpx.AsyncClient
    model: FakeModel
    ada: dict[str, str]
    bob: dict[str, str]

    async def create(self, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
        return await self.client.post("/tasks", json=MOOD | changes, headers=headers)


@asynccontextmanager
async def site_of(database: Database, model: FakeModel | None = None, **fields: Any) -> AsyncIterator[Site]:
    names = {account.name for account in Accounts(database).list()}
    for name in {"ada", "bob"} - names:
        Accounts(database).create(name)
    tokens = [bearer(database, account=name, scopes=("predict", "manage")) for name in ("ada", "bob")]
    model = model or FakeModel()
    async with client_of(state_over(database, model, **{"required": False} | fields)) as client:
        yield Site(client, model, *tokens)


def test_a_task_is_created_shown_and_asked(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            made = await site.create()
            assert (made.status_code, made.headers["location"], made.headers["etag"]) == (201, "/tasks/mood", '"1"')
            assert made.json()["num_examples"] == 2
            shown = await site.client.get("/tasks/mood")
            assert shown.json() == Task.from_dict(MOOD | {"model": "fake"}).to_dict()
            (prediction,) = (await site.client.post("/tasks/mood", json={"inputs": "Fog."})).json()
            assert prediction["prediction"] == "good"
            assert [task["name"] for task in (await site.client.get("/tasks")).json()] == ["sentiment", "upper", "mood"]

    run(check())


def test_yaml_is_read_as_a_task_file_is(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            text = "name: yes\ninput: 'Q: {q}'\nlabels: [yes, no]\nexamples:\n- q: a\n  output: yes\n"
            assert (await site.client.post("/tasks", content=text)).status_code == 201
            assert (await site.client.get("/tasks/yes")).json()["labels"] == ["yes", "no"]

    run(check())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input": "no variable", "examples": []}, "`input`: has no place for the query."),
        ({"input": "{text.__class__}", "examples": []}, "which is more than a name"),
        ({"labels": ["good", "good"]}, "label 2"),
        ({"examples": [{"text": "a", "output": "middling"}]}, "example 1, `output`: 'middling' is none of the labels"),
        ({"nmae": "x"}, "`nmae`: is no key of a task. Did you mean `name`?"),
        ({"name": "../etc"}, "`name`: can't be '../etc'"),
        ({"model": "nope"}, "`model`: Model nope does not exist"),
        ({"private": "perhaps"}, "`private` must be true or false"),
        ({"parameters": {"temperature": -1}}, "`temperature`"),
    ],
)
def test_what_is_no_task_is_refused_as_in_a_file(database: Database, changes: dict[str, Any], says: str) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            refused = await site.create(**changes)
            assert refused.status_code == 400
            assert isinstance(refused.json()["error"], list)
            assert says in " ".join(refused.json()["error"])
            assert (await site.client.get("/tasks/mood")).status_code == 404

    run(check())


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"5", b"\xff", b"a: [", b'{"name": NaN}', b"!!python/none x"])
def test_what_is_no_object_is_refused(database: Database, content: bytes) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            refused = await site.client.post("/tasks", content=content)
            assert refused.status_code == 400, refused.text

    run(check())


def test_a_task_larger_than_a_file_may_be_is_413(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            assert (await site.create(description="x" * 1024 * 1024)).status_code == 413

    run(check())


def test_a_name_that_is_taken_is_409(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create()
            for taken in ("mood", "sentiment"):
                refused = await site.create(name=taken)
                assert (refused.status_code, refused.json()["error_type"]) == (409, "conflict")

    run(check())


def test_an_update_is_a_new_version_and_the_older_ones_still_answer(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create()
            changed = await site.client.put("/tasks/mood", json=MOOD | {"labels": ["bad", "good"]})
            assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
            for version, first in ((1, "good"), (2, "bad")):
                answer = await site.client.post(f"/tasks/mood?version={version}", json={"inputs": "Fog."})
                assert (answer.json()[0]["prediction"], answer.headers["x-task-version"]) == (first, str(version))
                shown = await site.client.get(f"/tasks/mood?version={version}")
                assert shown.json()["labels"][0] == first
            assert (await site.client.get("/tasks/mood?version=3")).status_code == 404
            versions = (await site.client.get("/tasks/mood/versions")).json()
            assert [each["version"] for each in versions] == [2, 1]

    run(check())


def test_putting_what_is_there_already_makes_no_version(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create()
            for same in ((await site.client.get("/tasks/mood")).json(), MOOD):
                assert (await site.client.put("/tasks/mood", json=same)).headers["etag"] == '"1"'

    run(check())


@pytest.mark.parametrize("given", ['"2"', "2", '"7"'])
def test_a_change_of_another_version_is_409_and_changes_nothing(database: Database, given: str) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create()
            headers = {"if-match": given}
            asked = [
                await site.client.put("/tasks/mood", json=MOOD | {"description": "x"}, headers=headers),
                await site.client.post("/tasks/mood/examples", json={"examples": [MORE]}, headers=headers),
                await site.client.delete("/tasks/mood", headers=headers),
            ]
            assert [answer.status_code for answer in asked] == [409] * 3
            assert "is at version 1" in asked[0].json()["error"][0]
            assert (await site.client.get("/tasks/mood")).headers["etag"] == '"1"'
            right = {"if-match": '"1"'}
            assert (await site.client.delete("/tasks/mood", headers=right)).status_code == 204

    run(check())


@pytest.mark.parametrize("given", ["", "abc", '"1", "2"', 'W/"1"', '"0"', "99999999999"])
def test_a_version_that_is_none_is_refused(database: Database, given: str) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create()
            refused = await site.client.delete("/tasks/mood", headers={"if-match": given})
            assert (refused.status_code, refused.json()["parameter"]) == (400, "If-Match")

    run(check())


def test_parameters_behind_the_question_mark_that_mean_nothing_are_refused(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create()
            for method, path in (
                ("POST", "/tasks?x=1"),
                ("POST", "/tasks/mood?x=1"),
                ("POST", "/tasks/mood?version=x"),
                ("GET", "/tasks/mood?version=0"),
                ("DELETE", "/tasks/mood?x=1"),
                ("DELETE", "/tasks/mood/examples"),
            ):
                refused = await site.client.request(method, path, json={"inputs": "a"})
                assert refused.status_code == 400, path
                assert "parameter" in refused.json()

    run(check())


def test_examples_are_added_and_removed_by_what_they_say(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create()
            added = await site.client.post("/tasks/mood/examples", json={"examples": [MORE]})
            assert (added.json()["num_examples"], added.headers["etag"]) == (3, '"2"')
            listed = (await site.client.get("/tasks/mood/examples")).json()
            assert [each["example"] for each in listed["examples"]] == [*MOOD["examples"], MORE]
            wanted = listed["examples"][0]["id"]
            removed = await site.client.delete(f"/tasks/mood/examples?id={wanted}&id={listed['examples'][2]['id']}")
            assert removed.json()["num_examples"] == 1
            shown = (await site.client.get("/tasks/mood")).json()
            assert shown["examples"] == MOOD["examples"][1:]
            again = await site.client.delete(f"/tasks/mood/examples?id={wanted}")
            assert again.status_code == 400
            assert "has the id" in again.json()["error"][0]

    run(check())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"examples": [{"text": "a"}]}, "example 1, `output`: is missing."),
        ({"examples": [{"text": "a", "output": "x"}]}, "is none of the labels"),
        ({"examples": []}, "at least one example"),
        ({"example": [MORE]}, "`examples` must be a list"),
        ({"examples": [MORE], "x": 1}, "`x`"),
        ([MORE], "`examples` must be a list"),
    ],
)
def test_what_is_no_example_is_refused(database: Database, body: Any, says: str) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create()
            refused = await site.client.post("/tasks/mood/examples", json=body)
            assert refused.status_code == 400
            assert says in refused.json()["error"][0]

    run(check())


def test_examples_that_many_add_at_once_are_all_there(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create()
            adding = [
                site.client.post("/tasks/mood/examples", json={"examples": [{"text": f"t{i}", "output": "bad"}]})
                for i in range(10)
            ]
            assert {answer.status_code for answer in await asyncio.gather(*adding)} == {200}
            shown = (await site.client.get("/tasks/mood")).json()["examples"]
            assert {each["text"] for each in shown} == {"Sun.", "Rain.", *(f"t{i}" for i in range(10))}

    run(check())


def test_a_deleted_task_is_gone_and_its_prefix_let_go(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create()
            assert prefix(Task.from_dict(MOOD)) in site.model.pinned
            assert (await site.client.delete("/tasks/mood")).status_code == 204
            assert (await site.client.get("/tasks/mood")).status_code == 404
            assert prefix(Task.from_dict(MOOD)) not in site.model.pinned
            assert (await site.create()).headers["etag"] == '"1"'

    run(check())


def test_tasks_survive_a_restart_with_their_versions(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create(site.ada, private=True)
            await site.client.post("/tasks/mood/examples", json={"examples": [MORE]}, headers=site.ada)
        async with site_of(database) as site:
            shown = await site.client.get("/tasks/mood", headers=site.ada)
            assert (shown.headers["etag"], len(shown.json()["examples"])) == ('"2"', 3)
            older = await site.client.get("/tasks/mood?version=1", headers=site.ada)
            assert len(older.json()["examples"]) == 2
            await until(lambda: any("Snow." in text for text in site.model.pinned))

    run(check())


def test_a_task_of_a_file_stays_as_it_is(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            for method, path, body in (
                ("PUT", "/tasks/sentiment", SENTIMENT.to_dict()),
                ("POST", "/tasks/sentiment/examples", {"examples": [{"text": "a", "output": "positive"}]}),
                ("DELETE", "/tasks/sentiment", None),
            ):
                refused = await site.client.request(method, path, json=body, headers=site.ada)
                assert refused.status_code == 403
                assert "comes from a file" in refused.json()["error"][0]
            assert (await site.client.get("/tasks/sentiment/versions")).json()[0]["version"] == 1
            assert (await site.client.post("/tasks/sentiment?version=1", json={"inputs": "a"})).status_code == 200
            assert (await site.client.get("/tasks/sentiment?version=2")).status_code == 404

    run(check())


def test_another_accounts_public_task_can_be_asked_and_not_changed(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            await site.create(site.ada)
            assert (await site.client.post("/tasks/mood", json={"inputs": "a"}, headers=site.bob)).status_code == 200
            for headers in (site.bob, {}):
                refused = await site.client.put("/tasks/mood", json=MOOD, headers=headers)
                assert refused.status_code == 403
            assert (await site.client.delete("/tasks/mood", headers=site.ada)).status_code == 204

    run(check())


def test_a_private_task_takes_no_name_away(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            assert (await site.create(site.ada, private=True, description="ada's")).status_code == 201
            assert (await site.create(site.bob, private=True, description="bob's")).status_code == 201
            assert (await site.create(description="everybody's")).status_code == 201
            for headers, says in ((site.ada, "ada's"), (site.bob, "bob's"), ({}, "everybody's")):
                shown = await site.client.get("/tasks/mood", headers=headers)
                assert shown.json()["description"] == says
                listed = (await site.client.get("/tasks", headers=headers)).json()
                assert [each["description"] for each in listed if each["name"] == "mood"] == [says]
            refused = await site.create(private=True)
            assert (refused.status_code, "needs an owner" in refused.text) == (400, True)
            changed = await site.client.put("/tasks/mood", json=MOOD | {"private": False}, headers=site.ada)
            assert "can't be changed" in changed.json()["error"][0]

    run(check())


def test_without_a_database_tasks_are_asked_and_not_made() -> None:
    async def check() -> None:
        from tests.unit.server.serving import state_with

        async with client_of(state_with(FakeModel(), SENTIMENT)) as client:
            assert (await client.post("/tasks", json=MOOD)).status_code == 503
            assert (await client.post("/tasks/sentiment", json={"inputs": "a"})).status_code == 200

    run(check())


class SlowPin(FakeModel):
    """Reads a prefix only when it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_pin = asyncio.Event()
        self.may_pin.set()
        self.num_waiting = 0

    async def pin(self, prefix: str) -> None:
        self.num_waiting += 1
        await self.may_pin.wait()
        self.num_waiting -= 1
        await super().pin(prefix)


def test_while_the_new_prefix_is_computed_the_old_version_answers(database: Database) -> None:
    async def check() -> None:
        model = SlowPin()
        async with site_of(database, model) as site:
            await site.create()
            model.may_pin.clear()
            adding = asyncio.ensure_future(site.client.post("/tasks/mood/examples", json={"examples": [MORE]}))
            await until(lambda: model.num_waiting)
            answer = await site.client.post("/tasks/mood", json={"inputs": "Fog."})
            assert (answer.status_code, answer.headers["x-task-version"]) == (200, "1")
            old, new = (prefix(Task.from_dict(MOOD | {"examples": MOOD["examples"] + more})) for more in ([], [MORE]))
            assert (old in model.pinned, new in model.pinned) == (True, False)
            model.may_pin.set()
            assert (await adding).status_code == 200
            answer = await site.client.post("/tasks/mood", json={"inputs": "Fog."})
            assert answer.headers["x-task-version"] == "2"
            assert (old in model.pinned, new in model.pinned) == (False, True)

    run(check())


def test_the_calibration_of_a_new_version_is_measured_before_anybody_is_answered_by_it(database: Database) -> None:
    class Counting(FakeModel):
        num_scores = 0

        async def score(self, prompt: str, continuations: Sequence[str]) -> Score:
            self.num_scores += 1
            return await super().score(prompt, continuations)

    async def check() -> None:
        model = Counting()
        async with site_of(database, model) as site:
            await site.create()
            await site.client.post("/tasks/mood/examples", json={"examples": [MORE]})
            before = model.num_scores
            await site.client.post("/tasks/mood", json={"inputs": "Fog."})
            assert model.num_scores == before + 1
            before = model.num_scores
            for _ in range(2):  # an older version is measured once
                await site.client.post(
                    "/tasks/mood?version=1", json={"inputs": "Fog.", "options": {"use_cache": False}}
                )
            assert model.num_scores <= before + 2 + 2 * 23

    run(check())


def test_a_prefix_that_cannot_be_kept_is_no_reason_to_refuse_a_task(database: Database) -> None:
    class NoRoom(FakeModel):
        async def pin(self, prefix: str) -> None:
            raise PromptTooLongError("Too long.") if "Sun" in prefix else EngineError("No room.")

    async def check() -> None:
        async with site_of(database, NoRoom()) as site:
            assert (await site.create()).status_code == 201
            assert (await site.client.post("/tasks/mood", json={"inputs": "Fog."})).status_code == 200

    run(check())


def test_a_queue_that_stays_full_refuses_the_change_and_leaves_the_task(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(FakeModel):
        async def pin(self, prefix: str) -> None:
            if "Snow" in prefix:
                from handful.errors import BusyError

                raise BusyError("The queue is full.", retry_after_s=2)

    async def check() -> None:
        monkeypatch.setattr(task_pins, "_NUM_TRIES", 2)
        async with site_of(database, Full()) as site:
            await site.create()
            refused = await site.client.post("/tasks/mood/examples", json={"examples": [MORE]})
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
            assert (await site.client.get("/tasks/mood")).headers["etag"] == '"1"'

    run(check())


def test_a_stream_has_the_pieces_and_then_the_prediction(database: Database) -> None:
    async def check() -> None:
        async with site_of(database) as site:
            whole = (await site.client.post("/tasks/upper", json={"inputs": "a"})).json()[0]
            answer = await site.client.post("/tasks/upper", json={"inputs": "a", "stream": True})
            assert answer.headers["content-type"].startswith("text/event-stream")
            events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
            assert "".join(event["text"] for event in events) == whole["completion"]
            assert [event for event in events if "prediction" in event] == [events[-1]]
            assert events[-1]["prediction"]["prediction"] == whole["prediction"]
            closed = await site.client.post("/tasks/sentiment", json={"inputs": "a", "stream": True})
            assert json.loads(closed.text.removeprefix("data: "))["prediction"]["prediction"] == "positive"
            refused = await site.client.post("/tasks/upper", json={"inputs": ["a"], "stream": True})
            assert refused.status_code == 400

    run(check())


def test_the_changes_of_another_server_are_seen(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        monkeypatch.setattr(store_sync, "REFRESH_S", 0.05)
        async with site_of(database) as site, site_of(database) as other:
            await site.create()
            await until_true(lambda: is_at(other, '"1"'))
            await site.client.post("/tasks/mood/examples", json={"examples": [MORE]})
            # without a version it is taken as a change of the newest, also where this server hasn't seen that yet
            added = await other.client.post("/tasks/mood/examples", json={"examples": [MORE | {"text": "Hail."}]})
            assert (added.status_code, added.headers["etag"], added.json()["num_examples"]) == (200, '"3"', 4)
            changed = await site.client.put("/tasks/mood", json=MOOD, headers={"if-match": '"3"'})
            assert changed.headers["etag"] == '"4"'
            await other.client.delete("/tasks/mood")
            await until_true(lambda: is_gone(site))
            assert not any("Sun." in text for text in site.model.pinned + other.model.pinned)

    run(check())


async def is_at(site: Site, etag: str) -> bool:
    return bool((await site.client.get("/tasks/mood")).headers.get("etag") == etag)


async def is_gone(site: Site) -> bool:
    return (await site.client.get("/tasks/mood")).status_code == 404


async def until_true(condition: Any) -> None:
    while not await condition():
        await asyncio.sleep(0.01)


def test_what_the_database_has_and_nobody_can_read_is_left_out(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        TaskStore(database).create("new", '{"name": "new", "colour": "red"}')
        TaskStore(database).create("sentiment", json.dumps(MOOD | {"name": "sentiment"}))
        async with site_of(database) as site:
            assert (await site.client.get("/tasks/new")).status_code == 404
            assert (await site.client.get("/tasks/sentiment")).json()["labels"] == list(SENTIMENT.labels)
        assert caplog.text.count("task not served") == 2

    run(check())


def test_every_example_makes_the_routes_and_their_documents(database: Database) -> None:
    paths = create_app(state_over(database, FakeModel())).openapi()["paths"]
    for path, method in (("/tasks", "post"), ("/tasks/{name}", "put"), ("/tasks/{name}/examples", "post")):
        content = paths[path][method]["requestBody"]["content"]["application/json"]
        assert content["example"]
    Task.from_dict(paths["/tasks"]["post"]["requestBody"]["content"]["application/json"]["example"])


def test_an_example_has_the_same_id_everywhere() -> None:
    from handful.server.task_body import id_of

    one, other = Example({"a": "1", "b": "2"}, "x"), Example({"b": "2", "a": "1"}, "x")
    assert id_of(one) == id_of(other) == "34fc7d3857435fe6"
