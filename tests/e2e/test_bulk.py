"""Many requests over one websocket, with a real client and a real server."""

import json
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.e2e.conftest import Server, serving

PARAMETERS = {"max_new_tokens": 4}


@pytest.fixture(scope="module")
def bulk_server() -> Iterator[Server]:
    with serving("--precision=float32", MAX_BODY_MB="1") as running:
        yield running


def address(server: Server, path: str = "/bulk/stream/cpu/default") -> str:
    return server.url.replace("http://", "ws://") + path


def test_messages_are_answered_as_posts_are(bulk_server: Server) -> None:
    texts = [f"One, two, three, {word}," for word in ("four", "five", "six", "seven")]
    with connect(address(bulk_server), open_timeout=60) as socket:
        socket.send(b"Bearer api_org_anything")
        assert json.loads(socket.recv(60))["type"] == "status"
        for number, text in enumerate(texts):
            socket.send(json.dumps({"id": number, "inputs": text, "parameters": PARAMETERS}))
        socket.send(json.dumps({"id": "bad", "inputs": "a", "parameters": {"top_k": 0}}))
        answers = {answer["id"]: answer for answer in (json.loads(socket.recv(60)) for _ in range(5))}
    assert (answers["bad"]["type"], answers["bad"]["status"]) == ("error", 400)
    for number, text in enumerate(texts):
        posted = httpx.post(bulk_server.model_url, json={"inputs": text, "parameters": PARAMETERS}, timeout=60)
        assert answers[number]["outputs"] == posted.json()


def test_a_message_that_is_too_large_ends_its_connection_alone(bulk_server: Server) -> None:
    with connect(address(bulk_server), open_timeout=60) as socket, connect(address(bulk_server)) as other:
        with suppress(ConnectionClosed):  # the server may say so while it is sent
            socket.send("x" * (2**20 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        other.send(json.dumps({"id": 1, "inputs": "One, two,", "parameters": PARAMETERS}))
        assert [json.loads(other.recv(60))["type"] for _ in range(2)] == ["status", "results"]


def test_a_foreign_page_and_an_unknown_path_are_not_let_in(bulk_server: Server) -> None:
    evil = Origin("https://evil.example")
    with pytest.raises(InvalidStatus, match="403"), connect(address(bulk_server), origin=evil):
        pass
    with pytest.raises(InvalidStatus, match="403"), connect(address(bulk_server, "/elsewhere")):
        pass


def test_leaving_frees_the_places(bulk_server: Server) -> None:
    with connect(address(bulk_server), open_timeout=60) as socket:
        for number in range(8):
            long = {"max_new_tokens": 400, "temperature": 1.0}
            socket.send(json.dumps({"id": number, "inputs": "Once", "parameters": long}))
        assert json.loads(socket.recv(60))["type"] == "status"
    names = ("handful_requests_running", "handful_requests_waiting")
    assert any(all(figure(bulk_server, name) == 0 for name in names) for _ in range(5000))


def figure(server: Server, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def test_a_server_that_is_told_to_stop_ends_its_open_connections() -> None:
    with serving() as server, connect(address(server), open_timeout=60) as socket:
        socket.send(json.dumps({"id": 1, "inputs": "One, two,", "parameters": PARAMETERS}))
        assert [json.loads(socket.recv(60))["type"] for _ in range(2)] == ["status", "results"]
        server.terminate()
        with pytest.raises(ConnectionClosed):
            socket.recv(60)
        assert server.exit_code() == 0
