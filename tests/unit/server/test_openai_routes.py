"""OpenAI's surface: which model a request means, answers, streams, and errors in OpenAI's shape."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from handful.errors import EngineError, InvalidParameterError, PromptTooLongError
from handful.protocol.sse import EventParser
from handful.server.limits import Limits
from handful.types import ChatTemplate
from tests.unit.server.serving import FakeModel, ask, client_of, run, state_with

TEMPLATE = ChatTemplate("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}", (("bos_token", "^"),))
HELLO = [{"role": "user", "content": "Hello"}]
PATHS = ["/v1/completions", "/models/fake/v1/completions", "/models/org/fake/v1/completions"]


def complete(path: str = "/v1/completions", model: FakeModel | None = None, **body: Any) -> httpx.Response:
    fields = {"prompt": "Hello you", "max_tokens": 3} | body
    return ask(model or FakeModel(), path, json.dumps(fields))


def chat(model: FakeModel, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
    return ask(model, path, json.dumps({"messages": HELLO, "max_tokens": 2} | body))


def events(response: httpx.Response) -> list[Any]:
    data = [event.data for event in EventParser().feed(response.content)]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


@pytest.mark.parametrize("path", PATHS)
def test_a_prompt_is_continued(path: str) -> None:
    answered = complete(path).json()
    assert answered["choices"][0]["text"] == " w1 w2 w3"
    assert answered["model"] == ("org/fake" if "org" in path else "fake")
    assert answered["usage"]["total_tokens"] == 5


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        (None, "fake"),
        ("fake", "fake"),
        ("org/fake", "org/fake"),
        ("dummy", "fake"),
        ("tgi", "fake"),
        ("http://localhost", "fake"),
        ("http://localhost:8000/", "fake"),
        ("http://localhost/models/org/fake", "org/fake"),
        ("https://somewhere.else/models/org/fake/v1", "org/fake"),
        ("http://localhost/models/org%2Ffake/", "org/fake"),
    ],
)
def test_the_body_names_the_model(named: str | None, meant: str) -> None:
    answered = ask(FakeModel(), "/v1/completions", json.dumps({"prompt": "a", "model": named, "max_tokens": 1}))
    assert answered.json()["model"] == meant


@pytest.mark.parametrize("named", ["nope", "http://localhost/models/nope", "http://[", "../fake", ""])
def test_a_model_that_is_not_served_is_404(named: str) -> None:
    answered = ask(FakeModel(), "/v1/completions", json.dumps({"prompt": "a", "model": named}))
    assert answered.status_code == 404
    assert answered.json()["error"]["code"] == "model_not_found"


def test_below_a_models_path_another_model_is_a_mistake() -> None:
    answered = ask(FakeModel(), PATHS[1], json.dumps({"prompt": "a", "model": "org/fake"}))
    assert (answered.status_code, answered.json()["error"]["param"]) == (400, "model")
    same = ask(FakeModel(), PATHS[1], json.dumps({"prompt": "a", "model": "http://x/models/fake", "max_tokens": 1}))
    assert same.status_code == 200


def test_token_ids_reach_the_model_as_they_are() -> None:
    model = FakeModel()
    answered = complete(model=model, prompt=[[5, 6], [7]], echo=True).json()
    assert model.prompts == [(5, 6), (7,)]
    assert [choice["text"] for choice in answered["choices"]] == ["5 6 w1 w2 w3", "7 w1 w2 w3"]


def test_a_stream_ends_with_done() -> None:
    response = complete(stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    *made, done = events(response)
    assert done == "[DONE]"
    assert "".join(c["choices"][0]["text"] for c in made if c["choices"]) == " w1 w2 w3"
    assert made[-1]["usage"]["total_tokens"] == 5
    assert len({chunk["id"] for chunk in made}) == 1


def test_several_streams_come_as_one_and_each_has_its_seed() -> None:
    model = FakeModel()
    made = events(complete(model=model, stream=True, prompt=["a", "b"], n=2, seed=7))[:-1]
    texts = ["", "", "", ""]
    for chunk in made:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == [" w1 w2 w3"] * 4
    assert sorted((str(p), q.seed, q.n) for p, q in zip(model.prompts, model.parameters, strict=True)) == [
        ("a", 7, 1),
        ("a", 8, 1),
        ("b", 7, 1),
        ("b", 8, 1),
    ]


def test_when_one_of_several_streams_fails_the_others_are_aborted() -> None:
    model = FakeModel(fail_at_token=2)
    made = events(complete(model=model, stream=True, n=3, max_tokens=500))
    assert [("error" in chunk) for chunk in made] == [False] * (len(made) - 1) + [True]
    assert made[-1]["error"]["message"] == "It broke."
    assert model.num_running == 0


def test_a_stream_without_an_end_is_an_error_and_never_done() -> None:
    made = events(complete(model=FakeModel(ends_streams=False), stream=True))
    assert made[-1]["error"]["type"] == "server_error"
    assert "[DONE]" not in made


def test_the_deadline_ends_several_streams() -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        async with client_of(state_with(model, limits=Limits(request_timeout_s=0.05))) as client:
            body = json.dumps({"prompt": ["a", "b"], "stream": True})
            response = await client.post("/v1/completions", content=body)
            assert response.status_code == 504
            assert (model.num_running, model.num_aborted) == (0, 2)

    run(check())


ERRORS: list[tuple[FakeModel, dict[str, Any], int, dict[str, Any]]] = [
    (FakeModel(), {"temperature": -1}, 400, {"type": "invalid_request_error", "code": None, "param": "temperature"}),
    (FakeModel(), {"prompt": ""}, 400, {"type": "invalid_request_error", "code": None, "param": "prompt"}),
    (FakeModel(), {"foo": 1}, 400, {"type": "invalid_request_error", "code": None, "param": "foo"}),
    (
        FakeModel(error=PromptTooLongError("Too long.")),
        {},
        400,
        {"type": "invalid_request_error", "code": "context_length_exceeded", "param": None, "message": "Too long."},
    ),
    (FakeModel(max_running=0), {}, 429, {"type": "rate_limit_error", "code": "rate_limit_exceeded"}),
    (FakeModel(error=EngineError("Broke.")), {}, 500, {"type": "server_error", "code": "generation"}),
    (FakeModel(error=ZeroDivisionError("secret")), {}, 500, {"type": "server_error"}),
    (FakeModel(load_error=ZeroDivisionError("secret")), {}, 500, {"type": "server_error"}),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "body", "status", "says"), ERRORS)
def test_an_error_has_openais_shape(
    model: FakeModel, body: dict[str, Any], status: int, says: dict[str, Any], stream: bool
) -> None:
    response = complete(model=model, stream=stream, **body)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert says.items() <= error.items()
    assert "secret" not in response.text


def test_what_a_model_says_of_a_parameter_has_the_clients_name() -> None:
    error = InvalidParameterError("choices", "hold 'x', which this model's tokens don't spell.")
    told = complete(model=FakeModel(error=error), guided_choice=["x"]).json()["error"]
    assert told["param"] == "guided_choice"
    assert told["message"].startswith("`guided_choice` hold")


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_list_of_no_choices_is_refused_rather_than_ignored(path: str) -> None:
    asked = {"prompt": "a"} if path == "/v1/completions" else {"messages": [{"role": "user", "content": "a"}]}
    response = ask(FakeModel(), path, json.dumps({**asked, "guided_choice": []}))
    assert response.status_code == 400
    told = response.json()["error"]
    assert (told["param"], "at least one text" in told["message"]) == ("guided_choice", True)


def test_the_param_of_what_lies_deeper_is_the_whole_way_to_it() -> None:
    told = complete(stream=True, stream_options={"include_usage": "yes"}).json()["error"]
    assert told["param"] == "stream_options.include_usage"


def test_what_is_no_json_has_openais_shape_too() -> None:
    for content in (b"{", b"\xff", b"[1]", b"", b'"text"'):
        response = ask(FakeModel(), "/v1/completions", content)
        assert (response.status_code, set(response.json()["error"])) == (400, {"message", "type", "code", "param"})


def test_a_route_that_does_not_exist_below_v1_is_told_in_openais_shape() -> None:
    response = ask(FakeModel(), "/v1/nope", b"")
    assert (response.status_code, response.json()["error"]["type"]) == (404, "invalid_request_error")


def test_prompts_times_completions_are_bounded() -> None:
    response = ask(
        FakeModel(), "/v1/completions", json.dumps({"prompt": ["a"] * 6, "n": 2}), limits=Limits(max_completions=10)
    )
    assert response.status_code == 400


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/models/org/fake/v1/chat/completions"])
def test_a_chat_is_made_a_prompt_by_the_models_template(path: str) -> None:
    model = FakeModel(chat_template=TEMPLATE)
    answered = chat(model, path).json()
    assert answered["choices"][0]["message"] == {"role": "assistant", "content": " w1 w2"}
    assert model.prompts == [tuple(map(ord, "^Hello"))]  # nothing but what the template wrote


def test_a_streamed_chat_ends_with_done() -> None:
    *made, done = events(chat(FakeModel(chat_template=TEMPLATE), stream=True, n=2))
    assert done == "[DONE]"
    for index in (0, 1):
        mine = [chunk["choices"][0] for chunk in made if chunk["choices"][0]["index"] == index]
        assert mine[0]["delta"]["role"] == "assistant"
        assert "".join(choice["delta"].get("content", "") for choice in mine) == " w1 w2"
        assert mine[-1]["finish_reason"] == "length"


def test_a_model_without_a_template_cannot_chat() -> None:
    response = chat(FakeModel())
    assert response.status_code == 400
    assert "no chat template" in response.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_template_that_refuses_the_messages_is_400(stream: bool) -> None:
    model = FakeModel(chat_template=ChatTemplate("{{ raise_exception('No system, please') }}"))
    response = chat(model, stream=stream)
    assert response.status_code == 400
    assert "No system, please" in response.json()["error"]["message"]


def test_a_chat_without_a_limit_takes_what_the_context_has_left() -> None:
    model = FakeModel(chat_template=TEMPLATE)
    chat(model, max_tokens=None)
    assert model.parameters[0].max_new_tokens == 1024


@pytest.mark.parametrize("path", ["/v1/embeddings", "/models/fake/v1/embeddings", "/models/org/fake/v1/embeddings"])
def test_inputs_become_vectors(path: str) -> None:
    answered = ask(FakeModel(), path, json.dumps({"input": ["a b", "c"]})).json()
    assert [each["embedding"] for each in answered["data"]] == [pytest.approx([0.6, 0.8, 0, 0])] * 2
    assert answered["usage"]["total_tokens"] == 3
    ids = ask(FakeModel(), path, json.dumps({"input": [1, 2, 3, 4]})).json()
    assert (len(ids["data"]), ids["usage"]["total_tokens"]) == (1, 4)


def test_dimensions_are_the_models_own() -> None:
    response = ask(FakeModel(), "/v1/embeddings", json.dumps({"input": "a", "dimensions": 3}))
    assert (response.status_code, response.json()["error"]["param"]) == (400, "dimensions")


def get(path: str) -> httpx.Response:
    async def check() -> httpx.Response:
        async with client_of(state_with(FakeModel())) as client:
            return await client.get(path)

    return run(check())


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/models", ["fake", "org/fake"]),
        ("/models/fake/v1/models", ["fake"]),
        ("/models/org/fake/v1/models", ["org/fake"]),
    ],
)
def test_models_are_listed(path: str, names: list[str]) -> None:
    listed = get(path).json()
    assert [model["id"] for model in listed["data"]] == names
    assert {model["max_model_len"] for model in listed["data"]} == {10_000}


def test_a_model_is_shown() -> None:
    assert get("/v1/models/org/fake").json()["id"] == "org/fake"
    assert get("/v1/models/fake").json()["object"] == "model"
    assert get("/v1/models/nope").json()["error"]["code"] == "model_not_found"


def test_a_client_that_leaves_aborts_every_stream() -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        state = state_with(model)
        async with client_of(state) as client:
            body = json.dumps({"prompt": ["a", "b", "c"], "stream": True})
            asking = asyncio.ensure_future(client.post("/v1/completions", content=body))
            while model.num_running < 3:
                await asyncio.sleep(0.005)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            while model.num_running:
                await asyncio.sleep(0.005)
            assert model.num_aborted == 3

    run(check())
