"""The native surface: its wire, its bounds, and what every route of model work owes (usage, abort, scopes)."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from handful.errors import EngineError
from handful.protocol.backend_requests import MAX_SCORES
from handful.server.auth_scopes import needed_scope
from handful.server.limits import Limits
from handful.store.tokens import MANAGE, PREDICT
from tests.unit.server.serving import FakeModel, ask, client_of, run, until
from tests.unit.server.test_disconnect import Connection, served
from tests.unit.server.with_access import bearer, opened, state_over, written

BASE = "/models/fake/backend"


def post(verb: str, body: object, **fields: Any) -> Any:
    response = ask(fields.pop("model", FakeModel()), f"{BASE}/{verb}", json.dumps(body), **fields)
    return response.status_code, response.json()


def test_a_generation_is_told_whole() -> None:
    status, body = post("generate", {"inputs": "a b", "parameters": {"max_new_tokens": 1}})
    token = {"id": 1, "text": " w1", "logprob": None, "special": False, "top": []}
    completion = {
        "text": " w1",
        "finish_reason": "length",
        "stop": "",
        "tokens": [token],
        "cumulative_logprob": None,
        "seed": None,
    }
    assert (status, body) == (
        200,
        [
            {
                "completions": [completion],
                "num_prompt_tokens": 2,
                "num_cached_tokens": 1,
                "prompt_tokens": [],
                "prompt_text": "",
            }
        ],
    )


def test_scores_are_a_list_in_the_order_of_the_inputs() -> None:
    status, body = post("score", {"inputs": ["a", "b"], "continuations": [" x", " y"]})
    one = {"logprobs": [-1.0, -2.0], "num_tokens": [1, 1], "num_prompt_tokens": 5, "num_cached_tokens": 0}
    assert (status, body) == (200, [one, one])


@pytest.mark.parametrize(
    ("encoding", "vector"), [("float", [3.0, 4.0, 0.0, 0.0]), ("base64", "AABAQAAAgEAAAAAAAAAAAA==")]
)
def test_hidden_states_are_not_scaled(encoding: str, vector: object) -> None:
    assert post("embed", {"inputs": "a", "encoding_format": encoding}) == (200, [vector])


def test_tokens_are_counted() -> None:
    assert post("count_tokens", {"inputs": ["a b", "", "c"]}) == (200, [2, 0, 1])


def test_a_stream_ends_with_the_whole_generation() -> None:
    body = {"inputs": "a", "parameters": {"max_new_tokens": 2}, "stream": True}
    response = ask(FakeModel(), f"{BASE}/generate", json.dumps(body))
    events = [json.loads(line.removeprefix("data: ")) for line in response.text.split("\n\n") if line]
    assert [event["text"] for event in events] == [" w1", " w2", ""]
    assert [event["generation"] is not None for event in events] == [False, False, True]


def test_a_stream_that_breaks_ends_with_its_error() -> None:
    body = {"inputs": "a", "parameters": {"max_new_tokens": 2}, "stream": True}
    response = ask(FakeModel(fail_at_token=2), f"{BASE}/generate", json.dumps(body))
    assert json.loads(response.text.split("\n\n")[-2].removeprefix("data: "))["error"] == "It broke."
    response = ask(FakeModel(ends_streams=False), f"{BASE}/generate", json.dumps(body))
    assert "ended before its text" in response.text


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("generate", {"inputs": []}, "empty"),
    ("generate", {"inputs": ""}, "empty"),
    ("generate", {"inputs": "a", "parameters": {"top_p": 2}}, "top_p"),
    ("generate", {"inputs": "a", "parameters": {"do_sample": True}}, "unknown key"),
    ("generate", {"inputs": "a", "parameters": {"choices": []}}, "`parameters.choices`: should have at least one text"),
    ("generate", {"inputs": "a", "parameters": {"choices": [""]}}, "`choices` have"),
    ("generate", {"inputs": ["a", "b"], "stream": True}, "one input"),
    ("generate", {"inputs": "a", "parameters": {"temperature": 1.0, "n": 2}, "stream": True}, "`n` must be 1"),
    ("generate", {"inputs": "a", "parameters": {"logit_bias": [[1]]}}, "logit_bias"),
    ("score", {"inputs": "a"}, "continuations"),
    ("score", {"inputs": "a", "continuations": []}, "continuations"),
    ("score", {"inputs": "a", "continuations": ["x", ""]}, "continuations"),
    ("score", {"inputs": [""], "continuations": ["x"]}, "inputs"),
    ("score", {"inputs": ["a"] * 500, "continuations": ["x"] * (MAX_SCORES // 500 + 1)}, str(MAX_SCORES)),
    ("embed", {"inputs": "a", "encoding_format": "hex"}, "encoding_format"),
    ("embed", {"inputs": "a", "layer": "last"}, "layer"),
    ("count_tokens", {"inputs": [3]}, "string"),
]


@pytest.mark.parametrize(("verb", "body", "said"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_done_is_named(verb: str, body: dict[str, Any], said: str) -> None:
    status, answer = post(verb, body)
    assert (status, said in " ".join(answer["error"])) == (400, True), answer


@pytest.mark.parametrize("verb", ["generate", "score", "embed", "count_tokens"])
def test_a_request_is_bounded(verb: str) -> None:
    extra = {"continuations": ["x"]} if verb == "score" else {}
    limits = Limits(max_completions=2, max_input_characters=5)
    for inputs in (["a", "b", "c"], "abcdef"):
        assert post(verb, {"inputs": inputs} | extra, limits=limits)[0] == 400
    assert post(verb, {"inputs": ["a", "b"]} | extra, limits=limits)[0] == 200


def test_a_wrong_model_is_told_and_a_right_one_may_have_an_organisation() -> None:
    body = json.dumps({"inputs": "a"})
    assert ask(FakeModel(), "/models/nope/backend/embed", body).status_code == 404
    assert ask(FakeModel(), "/models/org/fake/backend/embed", body).status_code == 200


def test_a_failure_of_the_engine_is_500() -> None:
    model = FakeModel(error=EngineError("It died."))
    assert post("score", {"inputs": "a", "continuations": ["x"]}, model=model)[0] == 500


@pytest.mark.parametrize("verb", ["generate", "score"])
def test_leaving_aborts_every_input(verb: str) -> None:
    body = {"inputs": ["a"] * 5} | ({"continuations": ["x"]} if verb == "score" else {})

    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        connection = Connection(f"{BASE}/{verb}", json.dumps(body).encode())
        await served(model, connection, lambda: model.num_running == 5)
        assert (model.num_running, model.num_aborted) == (0, 5)

    run(check())


def test_inputs_run_side_by_side() -> None:
    async def check() -> None:
        model = FakeModel(gate=asyncio.Event())
        connection = Connection(f"{BASE}/score", b'{"inputs": ["a", "b", "c"], "continuations": ["x"]}')
        working = asyncio.ensure_future(served(model, connection, lambda: False))
        await until(lambda: model.num_running == 3)
        assert model.gate is not None
        model.gate.set()
        await working

    run(check())


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        (f"{BASE}/score", PREDICT),
        ("/models/org/fake/backend/generate", PREDICT),
        (f"{BASE}/drop", MANAGE),
        ("/models/a/b/c/backend/score", MANAGE),
    ],
)
def test_its_verbs_only_predict(path: str, scope: str) -> None:
    assert needed_scope({"type": "http", "method": "POST", "path": path}) == scope


def test_usage_is_recorded(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        headers = bearer(database)

        async def send() -> None:
            async with client_of(state_over(database)) as client:
                body = {"inputs": ["one two", "three"], "continuations": [" x", " y"]}
                assert (await client.post(f"{BASE}/score", json=body, headers=headers)).status_code == 200

        run(send())
        usage = written(database)["fake"]
    assert (usage.requests, usage.input_characters, usage.prompt_tokens) == (1, 12, 14)
