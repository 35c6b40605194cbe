"""TGI's surface: its shapes, its errors, its routes below models."""

import json
from typing import Any

import httpx
import pytest

from handful.errors import EngineError, PromptTooLongError
from handful.protocol.sse import EventParser
from tests.unit.server.serving import FakeModel, ask, client_of, run, state_with


def post(path: str, model: FakeModel | None = None, **fields: Any) -> httpx.Response:
    body = {"inputs": "Hello", "parameters": {"max_new_tokens": 2}} | fields
    return ask(model or FakeModel(), path, json.dumps(body))


def get(path: str, model: FakeModel | None = None) -> httpx.Response:
    async def check() -> httpx.Response:
        async with client_of(state_with(model or FakeModel())) as client:
            return await client.get(path)

    return run(check())


@pytest.mark.parametrize("path", ["/", "/v1"])
def test_the_root_answers_as_the_inference_api(path: str) -> None:
    assert post(path).json() == [{"generated_text": "Hello w1 w2"}]
    assert [each["generated_text"] for each in post(path, inputs=["a", "b"]).json()] == ["a w1 w2", "b w1 w2"]
    frames = [json.loads(event.data) for event in EventParser().feed(post(path, stream=True).content)]
    assert frames[-1]["generated_text"] == "Hello w1 w2"


def test_generate_answers_with_one_object_without_the_prompt() -> None:
    assert post("/generate").json() == {"generated_text": " w1 w2"}
    full = {"max_new_tokens": 1, "return_full_text": True, "details": True}
    answered = post("/generate", parameters=full).json()
    assert answered["generated_text"] == "Hello w1"
    assert answered["details"]["finish_reason"] == "length"


def test_generate_stream_streams_the_same() -> None:
    response = post("/generate_stream")
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = [json.loads(event.data) for event in EventParser().feed(response.content)]
    assert frames[-1]["generated_text"] == " w1 w2"
    assert b"[DONE]" not in response.content


def test_nulls_are_unset() -> None:
    names = ("temperature", "top_k", "seed", "return_full_text", "truncate", "grammar", "best_of", "max_new_tokens")
    assert post("/generate", parameters=dict.fromkeys(names)).json()["generated_text"].startswith(" w1")


@pytest.mark.parametrize(
    ("path", "fields", "says"),
    [
        ("/generate", {"inputs": ["a"]}, "inputs"),
        ("/generate", {"stream": True}, "stream"),
        ("/generate_stream", {"stream": False}, "stream"),
        ("/generate", {"parameters": {"num_return_sequences": 2, "temperature": 1}}, "num_return_sequences"),
        ("/generate_stream", {"parameters": {"best_of": 2, "temperature": 1}}, "best_of"),
        ("/generate", {"parameters": {"temperature": -1}}, "temperature"),
        ("/generate", {"parameters": {"foo": 1}}, "foo"),
        ("/", {"parameters": {"truncate": 5}}, "truncate"),
        ("/v1", {"inputs": ""}, "inputs"),
        ("/tokenize", {"inputs": ["a"]}, "inputs"),
        ("/tokenize", {"parameters": {"truncate": 1}}, "parameters"),
    ],
)
def test_what_is_wrong_is_422_and_one_sentence(path: str, fields: dict[str, Any], says: str) -> None:
    response = post(path, **fields)
    assert response.status_code == 422
    assert says in response.json()["error"]
    assert response.json()["error_type"] == "validation"


@pytest.mark.parametrize(
    ("model", "status", "kind"),
    [
        (FakeModel(error=PromptTooLongError("Too long.")), 422, "validation"),
        (FakeModel(error=EngineError("Broke.")), 424, "generation"),
        (FakeModel(error=ZeroDivisionError("secret")), 424, "generation"),
        (FakeModel(max_running=0), 429, "overloaded"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/generate", "/generate_stream", "/v1"])
def test_a_failure_has_tgis_status_and_type(path: str, model: FakeModel, status: int, kind: str) -> None:
    response = post(path, model)
    assert (response.status_code, response.json()["error_type"]) == (status, kind)
    assert isinstance(response.json()["error"], str)
    assert "secret" not in response.text


def test_the_body_may_name_a_model() -> None:
    named = ask(FakeModel(), "/generate", json.dumps({"inputs": "a", "model": "org/fake"}))
    assert named.status_code == 200
    assert ask(FakeModel(), "/generate", json.dumps({"inputs": "a", "model": "nope"})).status_code == 404


def test_a_text_is_tokenized() -> None:
    response = ask(FakeModel(), "/tokenize", json.dumps({"inputs": "ab"}))
    assert response.json() == [
        {"id": 0, "text": "<s>", "start": 0, "stop": 0},
        {"id": 97, "text": "a", "start": 0, "stop": 1},
        {"id": 98, "text": "b", "start": 1, "stop": 2},
    ]
    bare = ask(FakeModel(), "/tokenize", json.dumps({"inputs": "a", "add_special_tokens": False}))
    assert [token["id"] for token in bare.json()] == [97]


@pytest.mark.parametrize(
    ("path", "name"), [("/info", "fake"), ("/models/fake/info", "fake"), ("/models/org/fake/info", "org/fake")]
)
def test_info_says_what_is_served(path: str, name: str) -> None:
    info = get(path).json()
    assert (info["model_id"], info["model_sha"], info["max_total_tokens"]) == (name, "abc123", 10_000)


@pytest.mark.parametrize("path", ["/", "/models/fake/health", "/models/org/fake/health"])
def test_a_models_health_is_its_own(path: str) -> None:
    assert get(path).status_code == 200
    dead = FakeModel()
    dead.statistics.is_alive = False
    assert get(path, dead).status_code == 503


@pytest.mark.parametrize("path", ["/models/nope/info", "/models/org/nope/health"])
def test_a_model_that_is_not_served_is_404(path: str) -> None:
    assert get(path).status_code == 404
