"""OpenAI's completions: what is accepted, what is refused and under which name, and how answers and chunks look."""

import json
from typing import Any

import pytest

from handful.errors import HandfulError, InvalidParameterError
from handful.protocol.openai_answer import Heading, text_offsets
from handful.protocol.openai_completion_answer import CompletionWriter, completion_answer
from handful.protocol.openai_completions import CompletionRequest
from handful.types import Alternative, Completion, Generation, StreamEvent, Token

HEADING = Heading("cmpl-1", 17, "default")
TOKENS = (
    Token(1, " b", -0.5, top=(Alternative(1, " b", -0.5), Alternative(2, " c", -1.5))),
    Token(3, "#", -2.0, top=(Alternative(4, "!", -0.25), Alternative(5, "?", -3.0))),
)
DONE = Completion(" b", "stop_sequence", stop="#", tokens=TOKENS)
PROMPT_TOKENS = (Token(7, "a"), Token(8, " z", -1.0, top=(Alternative(9, " y", -0.75),)))


def request(**fields: Any) -> CompletionRequest:
    return CompletionRequest.from_body(json.dumps({"prompt": "a z"} | fields).encode())


def generation(**fields: Any) -> Generation:
    return Generation((DONE,), 2, 1, **fields)


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
    ],
)
def test_a_prompt_is_a_text_texts_token_ids_or_lists_of_them(prompt: object, prompts: object) -> None:
    assert request(prompt=prompt).prompts == prompts


@pytest.mark.parametrize(
    "prompt", [5, None, {}, [None], [1, "a"], [[1], "a"], [True], [-1], [2**31], [1.5], [[[1]]], "\ud800", ["\udfff"]]
)
def test_anything_else_is_no_prompt(prompt: object) -> None:
    with pytest.raises(HandfulError, match="prompt"):
        request(prompt=prompt)


@pytest.mark.parametrize("prompt", ["", [], [""], [[]], ["a", ""], [[1], []]])
def test_an_empty_prompt_is_refused(prompt: object) -> None:
    with pytest.raises(HandfulError, match="`prompt` is empty"):
        _ = request(prompt=prompt).prompts


def test_unset_fields_have_openais_defaults() -> None:
    parameters = request().generation_parameters()
    assert (parameters.max_new_tokens, parameters.temperature, parameters.n) == (16, 1.0, 1)
    assert (parameters.logprobs, parameters.echo, parameters.stop) == (None, False, ())
    nulls = dict.fromkeys(("max_tokens", "temperature", "n", "stop", "suffix", "user", "best_of", "logit_bias"))
    assert request(**nulls).generation_parameters() == parameters


def test_every_field_reaches_the_model() -> None:
    parameters = request(
        max_tokens=3,
        temperature=0.7,
        top_p=0.9,
        top_k=4,
        typical_p=0.8,
        n=2,
        best_of=3,
        stop=["x", "y"],
        guided_choice=[" yes", " no"],
        seed=5,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        repetition_penalty=1.2,
        logit_bias={"12": -100, "13": 1.5},
        logprobs=2,
        echo=True,
    ).generation_parameters()
    assert (parameters.max_new_tokens, parameters.temperature, parameters.top_p, parameters.top_k) == (3, 0.7, 0.9, 4)
    assert (parameters.typical_p, parameters.n, parameters.best_of, parameters.stop) == (0.8, 2, 3, ("x", "y"))
    assert (parameters.seed, parameters.presence_penalty, parameters.frequency_penalty) == (5, 0.5, -0.5)
    assert (parameters.repetition_penalty, parameters.logit_bias) == (1.2, ((12, -100), (13, 1.5)))
    assert (parameters.logprobs, parameters.echo, parameters.choices) == (2, True, (" yes", " no"))


def test_do_sample_false_is_greedy_whatever_else_is_said() -> None:
    assert request(do_sample=False, temperature=0.7, top_k=3).generation_parameters().temperature == 0
    assert request(do_sample=True).generation_parameters().temperature == 1


REFUSED: dict[str, Any] = {
    "suffix": "x",
    "user": "me",
    "watermark": True,
    "truncate": 5,
    "grammar": {},
    "adapter_id": "x",
    "top_n_tokens": 2,
    "decoder_input_details": True,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        request(**{name: REFUSED[name]})
    assert caught.value.parameter == name


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"logprobs": 101}, "logprobs"),
        ({"n": 2, "temperature": 0}, "n"),
        ({"n": 2, "best_of": 1}, "best_of"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logit_bias": {"-5": 1}}, "logit_bias"),
        ({"stop": [""]}, "stop"),
        ({"guided_choice": [""]}, "guided_choice"),
    ],
)
def test_a_bad_value_is_told_under_the_clients_name(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        request(**fields).generation_parameters()
    assert caught.value.parameter == name


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"best_of": 2}, "best_of"),
        ({"details": True}, "details"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"return_full_text": True, "logprobs": 0}, "return_full_text"),
        ({"echo": True, "prompt": [1]}, "echo"),
    ],
)
def test_what_a_stream_cannot_carry_is_refused(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        request(stream=True, **fields)
    assert caught.value.parameter == name


def test_stream_options_need_a_stream() -> None:
    with pytest.raises(InvalidParameterError, match="stream_options"):
        request(stream_options={"include_usage": True})


@pytest.mark.parametrize("fields", [{"foo": 1}, {"stream_options": {"foo": 1}, "stream": True}])
def test_an_unknown_field_is_refused_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(HandfulError, match="foo"):
        request(**fields)


def test_an_answer() -> None:
    assert completion_answer(request(), HEADING, [generation()]) == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 17,
        "model": "default",
        "choices": [{"index": 0, "text": " b", "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 2,
            "completion_tokens": 2,
            "total_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 1},
        },
    }


def test_log_probabilities_hold_the_best_and_the_token_itself() -> None:
    choice = completion_answer(request(logprobs=2), HEADING, [generation()])["choices"][0]
    assert choice["logprobs"] == {
        "tokens": [" b", "#"],
        "token_logprobs": [-0.5, -2.0],
        "top_logprobs": [{" b": -0.5, " c": -1.5}, {"!": -0.25, "?": -3.0, "#": -2.0}],
        "text_offset": [0, 2],
    }


def test_of_two_tokens_with_one_text_the_more_probable_stands() -> None:
    token = Token(1, "\ufffd", -3.0, top=(Alternative(2, "\ufffd", -0.5),))
    made = Generation((Completion("\ufffd", "length", tokens=(token,)),), 1)
    said = completion_answer(request(logprobs=1), HEADING, [made])["choices"][0]["logprobs"]
    assert said["top_logprobs"] == [{"\ufffd": -0.5}]
    assert said["token_logprobs"] == [-3.0]


def test_an_echo_begins_with_the_prompt_and_its_tokens() -> None:
    made = generation(prompt_tokens=PROMPT_TOKENS, prompt_text="a z")
    choice = completion_answer(request(echo=True, logprobs=1), HEADING, [made])["choices"][0]
    assert choice["text"] == "a z b"
    assert choice["logprobs"]["tokens"] == ["a", " z", " b", "#"]
    assert choice["logprobs"]["token_logprobs"] == [None, -1.0, -0.5, -2.0]
    assert choice["logprobs"]["top_logprobs"][:2] == [None, {" y": -0.75, " z": -1.0}]
    assert choice["logprobs"]["text_offset"] == [0, 1, 3, 5]


def test_echoed_token_ids_are_decoded() -> None:
    made = generation(prompt_tokens=PROMPT_TOKENS, prompt_text="a z")
    choice = completion_answer(request(prompt=[7, 8], return_full_text=True), HEADING, [made])["choices"][0]
    assert (choice["text"], choice["logprobs"]) == ("a z b", None)


def test_choices_are_numbered_through_all_prompts() -> None:
    made = [Generation((Completion(a, "length"), Completion(b, "max_time")), 1) for a, b in ("ab", "cd")]
    choices = completion_answer(request(prompt=["x", "y"], n=2), HEADING, made)["choices"]
    assert [(choice["index"], choice["text"]) for choice in choices] == [(0, "a"), (1, "b"), (2, "c"), (3, "d")]
    assert {choice["finish_reason"] for choice in choices} == {"length"}


def test_details_are_those_of_the_inference_api() -> None:
    details = completion_answer(request(details=True), HEADING, [generation()])["choices"][0]["details"]
    assert (details["finish_reason"], details["generated_tokens"]) == ("stop_sequence", 2)
    assert request(details=True).generation_parameters().logprobs == 0


def chunks(asked: CompletionRequest) -> list[dict[str, Any]]:
    writer = CompletionWriter(asked, HEADING)
    events = [StreamEvent(" b", TOKENS[0]), StreamEvent("", TOKENS[1]), StreamEvent("", None, generation())]
    return [chunk for event in events for chunk in writer.chunks(0, event)] + writer.last_chunks()


def test_the_joined_chunks_are_the_text() -> None:
    made = chunks(request(stream=True))
    assert [chunk["choices"][0]["text"] for chunk in made] == [" b", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in made] == [None, "stop"]
    assert all("usage" not in chunk for chunk in made)


def test_a_stream_with_log_probabilities_has_a_chunk_for_every_token() -> None:
    said = [chunk["choices"][0]["logprobs"] for chunk in chunks(request(stream=True, logprobs=0))]
    assert [each and each["tokens"] for each in said] == [[" b"], ["#"], None]
    assert [each and each["text_offset"] for each in said] == [[0], [2], None]


def test_a_stream_may_begin_with_the_prompt() -> None:
    assert [chunk["choices"][0]["text"] for chunk in chunks(request(stream=True, echo=True))] == ["a z", " b", ""]


def test_usage_comes_in_a_chunk_of_its_own() -> None:
    made = chunks(request(stream=True, stream_options={"include_usage": True}))
    assert [chunk["usage"] is None for chunk in made] == [True, True, False]
    assert made[-1]["choices"] == []
    assert made[-1]["usage"]["total_tokens"] == 4


def test_streams_of_one_prompt_count_it_once() -> None:
    writer = CompletionWriter(request(stream=True, n=2, stream_options={"include_usage": True}), HEADING)
    for index in (1, 0):
        writer.chunks(index, StreamEvent("", None, generation()))
    counted = writer.last_chunks()[0]["usage"]
    assert (counted["prompt_tokens"], counted["completion_tokens"], counted["total_tokens"]) == (2, 4, 6)


@pytest.mark.parametrize(
    ("texts", "text", "offsets"),
    [
        (["a", " b"], "a b", [0, 1]),
        (["<s>", "a", "b"], "ab", [0, 0, 1]),
        (["\ufffd", "\ufffd", "x"], "🙂x", [0, 0, 1]),
        (["a", "#", "#"], "a", [0, 1, 1]),
        (["a", "", "b"], "ab", [0, 1, 1]),
        (["\ufffd"], "\ufffd", [0]),
        ([], "a", []),
    ],
)
def test_offsets_say_where_a_token_starts(texts: list[str], text: str, offsets: list[int]) -> None:
    assert text_offsets([Token(i, each) for i, each in enumerate(texts)], text) == offsets
