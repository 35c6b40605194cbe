"""Many requests over one connection, each answered as a request of its own."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from handful.server import bulk
from handful.server.app import create_app
from handful.server.state import ServerState
from handful.store.accounts import Accounts
from handful.store.database import Database
from handful.store.tokens import TokenLimits
from tests.unit.server.serving import FakeModel, state_with
from tests.unit.server.with_access import bearer, opened, state_over, written

PATH = "/bulk/stream/cpu/fake"
ONE: dict[str, Any] = {"id": "1", "inputs": "a", "parameters": {"max_new_tokens": 2}}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


@contextmanager
def connected(state: ServerState, path: str = PATH, **headers: str) -> Iterator[WebSocketTestSession]:
    with serving(create_app(state)) as client, client.websocket_connect(path, headers=headers) as socket:
        yield socket


@contextmanager
def serving(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://localhost") as client:
        while client.get("/ready").status_code != 200:
            pass
        yield client


def ask(socket: WebSocketTestSession, *messages: Any) -> list[dict[str, Any]]:
    """The answers, in the order in which they came."""
    for message in messages:
        socket.send_text(message if isinstance(message, str) else json.dumps(message))
    return [socket.receive_json() for _ in messages]


def test_each_message_is_answered_under_its_id_as_a_post_would_be() -> None:
    with serving(create_app(state_with(FakeModel()))) as client:
        posted = client.post("/models/fake", json={key: ONE[key] for key in ("inputs", "parameters")}).json()
        with client.websocket_connect(PATH) as socket:
            for number in ("1", 2, "drei"):
                socket.send_json(ONE | {"id": number})
            frames = [socket.receive_json() for _ in range(4)]
            answers = frames[1:]
    assert frames[0]["type"] == "status"
    assert {answer["id"] for answer in answers} == {"1", 2, "drei"}
    assert all(answer == {"type": "results", "id": answer["id"], "outputs": posted} for answer in answers)


def test_a_first_frame_of_bytes_with_a_token_is_understood_where_none_is_needed() -> None:
    with connected(state_with(FakeModel()), "/bulk/stream/cpu/org/fake") as socket:
        socket.send_bytes(b"Bearer api_org_anything")
        assert socket.receive_json()["type"] == "status"
        assert ask(socket, ONE)[0]["type"] == "results"


@pytest.mark.parametrize(
    ("message", "status", "said"),
    [
        ("no json", 400, "JSON"),
        ("[1]", 400, "object"),
        ({"id": {}, "inputs": "a"}, 400, "`id`"),
        ({"id": "x" * 201, "inputs": "a"}, 400, "`id`"),
        ({"id": "1"}, 400, "inputs"),
        ({"id": "1", "inputs": "a", "stream": True}, 400, "stream"),
        ({"id": "1", "inputs": "a", "parameters": {"top_k": 0}}, 400, "top_k"),
        ({"id": "1", "inputs": "a", "color": "red"}, 400, "color"),
        ("[" * 100_000, 400, "nested"),
    ],
)
def test_a_bad_message_is_told_what_is_wrong_and_the_next_is_answered(message: Any, status: int, said: str) -> None:
    with connected(state_with(FakeModel())) as socket:
        assert ask(socket, "Bearer x")[0]["type"] == "status"
        (refused,) = ask(socket, message)
        assert (refused["type"], refused["status"]) == ("error", status)
        assert said in json.dumps(refused)
        assert ask(socket, ONE)[0]["type"] == "results"


def closed_with(socket: WebSocketTestSession) -> int:
    with pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_json()
    return closed.value.code


def refused_at_the_door(state: ServerState, path: str, first: str) -> tuple[int, int]:
    """The status that was told, and the code of the close."""
    with connected(state, path) as socket:
        socket.send_text(first)
        return int(socket.receive_json()["status"]), closed_with(socket)


def test_a_model_that_is_not_there_is_told_before_anything_is_asked() -> None:
    model = FakeModel()
    assert refused_at_the_door(state_with(model), "/bulk/stream/cpu/nope", json.dumps(ONE)) == (404, 1008)
    assert refused_at_the_door(state_with(model), "/bulk/stream/gpu/fake", json.dumps(ONE)) == (400, 1008)
    assert refused_at_the_door(state_with(model), "/bulk/stream/tpu/fake", json.dumps(ONE)) == (400, 1008)
    assert model.prompts == []


@pytest.mark.parametrize("first", [json.dumps(ONE), "Bearer hf_wrong", "Bearer "])
def test_without_a_token_that_may_nothing_is_asked(database: Database, first: str) -> None:
    model = FakeModel()
    status, code = refused_at_the_door(state_over(database, model), PATH, first)
    assert status in (401, 403)
    assert code == 1008
    assert model.prompts == []


def test_the_token_of_the_first_frame_or_the_header_lets_in_and_is_counted(database: Database) -> None:
    headers = bearer(database)
    for way in ("frame", "header"):
        with connected(state_over(database), PATH, **(headers if way == "header" else {})) as socket:
            if way == "frame":
                socket.send_bytes(headers["authorization"].encode())
                assert socket.receive_json()["type"] == "status"
            socket.send_json(ONE)
            kinds = [socket.receive_json()["type"] for _ in range(2 if way == "header" else 1)]
            assert kinds[-1] == "results"
    assert written(database)["fake"].requests == 2


def test_another_accounts_limits_are_each_messages(database: Database) -> None:
    Accounts(database).create("ada")
    headers = bearer(database, account="ada", limits=TokenLimits(requests_per_minute=2))
    with connected(state_over(database)) as socket:
        socket.send_text(headers["authorization"])
        assert socket.receive_json()["type"] == "status"
        answers = ask(socket, *[ONE] * 3)
    assert sorted(answer.get("status", 200) for answer in answers) == [200, 200, 429]


def test_a_page_of_another_origin_is_refused() -> None:
    state = state_with(FakeModel(), allowed_hosts=frozenset({"localhost"}))
    with (
        serving(create_app(state)) as client,
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(PATH, headers={"origin": "https://evil.example"}),
    ):
        pass


def test_no_more_messages_than_that_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MAX_AT_ONCE", 3)
    seen: list[int] = []

    class Counting(FakeModel):
        async def generate(self, prompt: Any, parameters: Any) -> Any:
            seen.append(self.num_running)
            await asyncio.sleep(0)
            return await super().generate(prompt, parameters)

    with connected(state_with(Counting())) as socket:
        for number in range(30):
            socket.send_json(ONE | {"id": number})
        frames = [socket.receive_json() for _ in range(31)]
    assert {frame.get("id") for frame in frames[1:]} == set(range(30))
    assert max(seen) < 3


def test_past_the_most_connections_one_is_told_to_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MAX_CONNECTIONS", 1)
    with serving(create_app(state_with(FakeModel()))) as client:
        with client.websocket_connect(PATH) as first:
            first.send_json(ONE)
            assert first.receive_json()["type"] == "status"
            with client.websocket_connect(PATH) as second:
                assert closed_with(second) == 1013
        with client.websocket_connect(PATH) as third:
            third.send_json(ONE)
            assert third.receive_json()["type"] == "status"


@pytest.mark.parametrize(("name", "says_hello"), [("FIRST_FRAME_S", False), ("SILENCE_S", True)])
def test_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch, name: str, says_hello: bool) -> None:
    monkeypatch.setattr(bulk, name, 0.05)
    with connected(state_with(FakeModel())) as socket:
        if says_hello:
            socket.send_text("Bearer x")
            assert socket.receive_json()["type"] == "status"
        assert closed_with(socket) == 1001


def test_leaving_gives_up_what_isnt_answered() -> None:
    model = FakeModel(gate=asyncio.Event())
    with serving(create_app(state_with(model))) as client:
        with client.websocket_connect(PATH) as socket:
            for _ in range(3):
                socket.send_json(ONE)
            assert socket.receive_json()["type"] == "status"
            wait_for(client, lambda: model.num_running == 3)
        wait_for(client, lambda: model.num_running == 0)
    assert model.num_aborted == 3


def wait_for(client: TestClient, condition: Callable[[], bool]) -> None:
    while not condition():
        client.get("/health")
