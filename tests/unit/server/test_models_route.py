"""POST /models/{name}: whole answers, streams, and every way in which a request fails."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from handful.errors import EngineError, PromptTooLongError, RequestTimeoutError
from handful.protocol.sse import EventParser
from handful.server.limits import Limits
from tests.unit.server.serving import FakeModel, ask, client_of, run, state_with


def body(inputs: object = "Hello", stream: bool = False, **parameters: Any) -> bytes:
    return json.dumps({"inputs": inputs, "parameters": {"max_new_tokens": 3} | parameters, "stream": stream}).encode()


def events(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in EventParser().feed(response.content)]


@pytest.mark.parametrize("path", ["/models/fake", "/models/org/fake"])
def test_an_answer_is_a_list_with_the_full_text(path: str) -> None:
    response = ask(FakeModel(), path, body())
    assert (response.status_code, response.json()) == (200, [{"generated_text": "Hello w1 w2 w3"}])


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "image/png"])
def test_the_content_type_does_not_matter(content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert ask(FakeModel(), "/models/fake", body(), headers=headers).status_code == 200


def test_raw_text_is_the_input() -> None:
    assert ask(FakeModel(), "/models/fake", "Once").json()[0]["generated_text"].startswith("Once w1")


def test_several_inputs_are_answered_in_their_order() -> None:
    answered = ask(FakeModel(), "/models/fake", body(["a", "b"])).json()
    assert [text["generated_text"][0] for text in answered] == ["a", "b"]


def test_the_headers_say_what_it_took() -> None:
    headers = ask(FakeModel(), "/models/fake", body(["Hello you", "x"])).headers
    assert headers["x-compute-type"] == "cpu"
    assert headers["x-compute-characters"] == "10"
    assert headers["x-sha"] == "abc123"
    assert headers["x-prompt-tokens"] == "3"
    assert headers["x-cached-tokens"] == "2"
    assert headers["x-generated-tokens"] == "6"
    assert len(headers["x-compute-time"].split(".")[1]) == 3
    assert "x-compute-time" in headers["access-control-expose-headers"]
    assert len(headers["x-request-id"]) == 32


def test_the_request_id_is_the_servers_own() -> None:
    response = ask(FakeModel(), "/models/fake", body(), headers={"x-request-id": "mine"})
    assert response.headers["x-request-id"] != "mine"


def test_a_stream_ends_with_the_whole_text() -> None:
    response = ask(FakeModel(), "/models/fake", body(stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-cache", "no")
    frames = events(response)
    assert "".join(frame["token"]["text"] for frame in frames) == " w1 w2 w3"
    assert [frame["generated_text"] for frame in frames] == [None, None, None, "Hello w1 w2 w3"]


def test_a_stream_that_fails_at_once_has_a_proper_status() -> None:
    response = ask(FakeModel(error=PromptTooLongError("Too long.")), "/models/fake", body(stream=True))
    assert (response.status_code, response.json()["error"]) == (422, ["Too long."])


def test_a_stream_whose_last_event_is_missing_ends_with_one_error() -> None:
    response = ask(FakeModel(ends_streams=False), "/models/fake", body(stream=True))
    assert ["error" in frame for frame in events(response)] == [False, False, False, True]


def test_a_stream_that_fails_later_ends_with_one_error() -> None:
    response = ask(FakeModel(fail_at_token=3), "/models/fake", body(stream=True))
    assert response.status_code == 200
    assert [frame.get("error") for frame in events(response)] == [None, None, "It broke."]


@pytest.mark.parametrize(
    ("model", "content", "status", "says"),
    [
        (FakeModel(error=PromptTooLongError("Too long.")), body(), 422, "Too long."),
        (FakeModel(max_running=0), body(), 429, "full"),
        (FakeModel(error=RequestTimeoutError("Late.")), body(), 504, "Late."),
        (FakeModel(error=EngineError("Broke.")), body(), 500, "Broke."),
        (FakeModel(error=ZeroDivisionError("secret")), body(), 500, "handful failed"),
        (FakeModel(error=ZeroDivisionError("secret")), body(stream=True), 500, "handful failed"),
        (FakeModel(), b'{"inputs": ', 400, "not JSON"),
        (FakeModel(), b"\xff\xfe", 400, "UTF-8"),
        (FakeModel(), b"[" * 50_000, 400, "nested"),
        (FakeModel(), body(temperature=-1), 400, "temperature"),
        (FakeModel(), b'{"parameters": {}}', 400, "field required"),
        (FakeModel(), b'{"inputs": "a", "model": "other"}', 400, "model"),
        (FakeModel(), b'{"inputs": "a", "options": {"use_gpu": true}}', 400, "use_gpu"),
    ],
)
def test_a_failure_has_its_status_and_says_why(model: FakeModel, content: bytes, status: int, says: str) -> None:
    response = ask(model, "/models/fake", content)
    assert response.status_code == status
    error = response.json()["error"]
    assert isinstance(error, list if status < 500 else str)
    assert says in "".join(error)
    assert "secret" not in response.text


@pytest.mark.parametrize("named", ["fake", "http://localhost/models/fake"])
def test_the_routes_own_model_may_stand_in_the_body(named: str) -> None:
    content = json.dumps({"inputs": "a", "model": named}).encode()
    assert ask(FakeModel(), "/models/fake", content).status_code == 200


@pytest.mark.parametrize("name", ["nope", "org/nope", "%2e%2e", "..%2f..%2fetc", "fake%00", "FAKE", "a" * 5000])
def test_a_model_that_does_not_exist_is_404(name: str) -> None:
    response = ask(FakeModel(), f"/models/{name}", body())
    assert response.status_code == 404
    assert isinstance(response.json()["error"], list)


def test_a_full_queue_says_when_to_come_back() -> None:
    assert ask(FakeModel(max_running=0), "/models/fake", body()).headers["retry-after"] == "2"


def test_one_input_too_many_for_the_queue_cancels_the_others() -> None:
    async def check() -> None:
        model = FakeModel(max_running=2, gate=asyncio.Event())
        async with client_of(state_with(model)) as client:
            response = await client.post("/models/fake", content=body(["a", "b", "c"]))
            assert response.status_code == 429
            assert (model.num_running, model.num_aborted) == (0, 2)

    run(check())


def test_inputs_times_completions_are_bounded() -> None:
    limits = Limits(max_completions=10)
    assert ask(FakeModel(), "/models/fake", body(["a"] * 11), limits=limits).status_code == 400
    content = body(["a"] * 6, num_return_sequences=2, temperature=1)
    assert ask(FakeModel(), "/models/fake", content, limits=limits).status_code == 400


def test_a_long_text_is_refused_and_never_cut() -> None:
    response = ask(FakeModel(), "/models/fake", body("x" * 101), limits=Limits(max_input_characters=100))
    assert response.status_code == 400
    assert "101 characters" in response.json()["error"][0]


@pytest.mark.parametrize("stream", [False, True])
def test_the_deadline_ends_a_request_and_frees_its_place(stream: bool) -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        async with client_of(state_with(model, limits=Limits(request_timeout_s=0.05))) as client:
            response = await client.post("/models/fake", content=body(stream=stream))
            assert response.status_code == 504
            assert (model.num_running, model.num_aborted) == (0, 1)

    run(check())


def test_good_requests_beside_bad_ones_get_their_answers() -> None:
    bad = [b"\xff", b"{", b"[" * 10_000, body(top_k=-1), body(stream=True, best_of=5), b'{"inputs": 5}', b"[]"]

    async def check() -> None:
        async with client_of(state_with(FakeModel())) as client:
            good = [client.post("/models/fake", content=body(str(i), stream=i % 2 == 0)) for i in range(8)]
            wrong = [client.post("/models/fake", content=each) for each in bad * 8]
            answers = await asyncio.gather(*good, *wrong)
            assert [answer.status_code for answer in answers] == [200] * 8 + [400] * len(wrong)
            texts = [json.dumps(f"{i} w1 w2 w3") in answer.text for i, answer in enumerate(answers[:8])]
            assert all(texts)

    run(check())


def test_a_loading_model_is_503_with_the_time_it_may_take() -> None:
    async def check() -> None:
        async with client_of(state_with(FakeModel(load_s=0.8)), wait=False) as client:
            response = await client.post("/models/org/fake", content=body())
            assert response.status_code == 503
            assert response.json()["error"] == "Model org/fake is currently loading"
            assert response.json()["estimated_time"] > 5

    run(check())


@pytest.mark.parametrize("headers", [{}, {"x-wait-for-model": "1"}])
def test_a_client_may_wait_for_a_loading_model(headers: dict[str, str]) -> None:
    async def check() -> None:
        async with client_of(state_with(FakeModel(load_s=0.6)), wait=False) as client:
            options = {} if headers else {"wait_for_model": True}
            content = json.dumps({"inputs": "a", "options": options})
            response = await client.post("/models/org/fake", content=content, headers=headers)
            assert response.status_code == 200

    run(check())


def test_a_model_that_could_not_be_loaded_is_500() -> None:
    response = ask(FakeModel(load_error=ZeroDivisionError("secret")), "/models/fake", body())
    assert response.status_code == 500
    assert "could not be loaded" in response.json()["error"]
