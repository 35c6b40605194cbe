"""The Inference API's request: what each parameter asks of a model, and what is refused by name."""

import json
import time
from typing import Any

import pytest

from handful.errors import InvalidInputError, InvalidParameterError, UserError
from handful.protocol.problems import InvalidRequestError
from handful.protocol.text_generation import TextGenerationRequest
from handful.types import GenerationParameters


def asked(parameters: dict[str, Any] | None = None, **body: Any) -> GenerationParameters:
    return request(parameters, **body).generation_parameters()


def request(parameters: dict[str, Any] | None = None, **body: Any) -> TextGenerationRequest:
    fields = {"inputs": "Hello", "parameters": parameters or {}} | body
    return TextGenerationRequest.from_body(json.dumps(fields).encode())


def test_no_parameters_ask_for_a_hundred_greedy_tokens() -> None:
    assert asked() == GenerationParameters(max_new_tokens=100)


def test_the_snippet_of_2021_asks_for_what_it_says() -> None:
    body = {"options": {"use_cache": False}}
    parameters = asked({"max_new_tokens": 25, "temperature": 0.5, "end_sequence": "###"}, **body)
    assert parameters == GenerationParameters(max_new_tokens=25, temperature=0.5, stop=("###",))


@pytest.mark.parametrize(
    ("parameters", "temperature"),
    [
        ({"temperature": 0.7}, 0.7),
        ({"temperature": 0}, 0.0),
        ({"do_sample": True}, 1.0),
        ({"do_sample": True, "temperature": 0.3}, 0.3),
        ({"top_p": 0.9}, 1.0),
        ({"top_k": 5, "temperature": 0}, 0.0),
        ({"seed": 1}, 0.0),
        ({"do_sample": False, "temperature": 0.8, "top_p": 0.95, "typical_p": 0.95}, 0.0),
    ],
)
def test_sampling_is_implied_by_its_parameters_unless_refused(parameters: dict[str, Any], temperature: float) -> None:
    assert asked(parameters).temperature == temperature


def test_a_wrong_temperature_is_told_even_where_decoding_is_greedy() -> None:
    with pytest.raises(InvalidParameterError, match="temperature"):
        asked({"do_sample": False, "temperature": 101})


def test_end_sequences_among_the_options_count_too() -> None:
    parameters = asked({"stop": "a"}, options={"end_sequence": "###", "stop": ["a", "b"], "use_cache": False})
    assert parameters.stop == ("a", "b", "###")
    with pytest.raises(InvalidParameterError, match="`end_sequence`"):
        asked({}, options={"end_sequence": ""})


def test_end_sequences_under_all_their_names_count_once_each() -> None:
    parameters = asked({"stop": ["a", "b"], "stop_sequences": "b", "end_sequence": "c"})
    assert parameters.stop == ("a", "b", "c")


def test_nulls_are_unset_everywhere() -> None:
    body = {"options": None, "stream": None, "model": None}
    assert asked({"temperature": None, "stop": None, "max_new_tokens": None}, **body) == asked()


def test_details_ask_for_log_probabilities_and_top_tokens() -> None:
    assert asked({"details": True}).logprobs == 0
    assert asked({"details": True, "top_n_tokens": 3}).logprobs == 3
    assert asked({"details": True, "decoder_input_details": True}).echo


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"truncate": 100}, "truncate"),
        ({"watermark": True}, "watermark"),
        ({"adapter_id": "x"}, "adapter_id"),
        ({"grammar": {"type": "regex", "value": "(a+)+b"}}, "grammar"),
        ({"min_length": 5}, "min_length"),
        ({"max_length": 5}, "max_length"),
        ({"top_n_tokens": 2}, "top_n_tokens"),
        ({"decoder_input_details": True}, "decoder_input_details"),
        ({"num_return_sequences": 2}, "num_return_sequences"),
        ({"best_of": 3}, "best_of"),
        ({"end_sequence": ""}, "end_sequence"),
        ({"stop_sequences": list("abcdefghijklmnopq")}, "stop_sequences"),
        ({"num_return_sequences": 65, "temperature": 1}, "num_return_sequences"),
        ({"top_n_tokens": 101, "details": True}, "top_n_tokens"),
    ],
)
def test_what_cant_be_honoured_is_refused_under_the_clients_name(parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        asked(parameters)
    assert caught.value.parameter == named


NUMBERS = [
    "max_new_tokens",
    "min_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "num_return_sequences",
    "best_of",
    "max_time",
    "top_n_tokens",
    "seed",
]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1e300, -3, 2**64, 10**30, 1e300, "5", True, [1] * 100_000, {"a": 1}])
def test_every_number_is_bounded_and_refused_quickly(name: str, value: object) -> None:
    body = json.dumps({"inputs": "a", "parameters": {name: value, "details": True}}).encode()
    started = time.perf_counter()
    with pytest.raises(UserError, match=name):
        TextGenerationRequest.from_body(body).generation_parameters()
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize("inputs", ["", [], ["a", ""]])
def test_empty_inputs_are_refused(inputs: object) -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        asked(inputs=inputs)


@pytest.mark.parametrize(
    "inputs", [5, None, True, {"a": "b"}, [1], ["a", None], [["a"]], "\ud800", ["a"] * 5000, [1] * 1_000_000]
)
def test_inputs_that_are_not_texts_are_refused(inputs: object) -> None:
    with pytest.raises(InvalidRequestError, match="inputs") as caught:
        asked(inputs=inputs)
    assert len(caught.value.problems) == 1


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match=r"`parameters\.max_tokens`: unknown key"):
        asked({"max_tokens": 5})
    with pytest.raises(InvalidRequestError, match=r"`options\.cache`: unknown key"):
        asked(options={"cache": True})


def test_a_key_in_the_wrong_place_is_told_where_it_belongs() -> None:
    with pytest.raises(InvalidRequestError, match=r"`wait_for_model`: unknown key. It belongs under `options`"):
        asked(wait_for_model=True)
    with pytest.raises(InvalidRequestError, match=r"`temperature`: unknown key. It belongs under `parameters`"):
        asked(temperature=1)


def test_every_problem_is_told_but_not_without_end() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        asked({f"key{i}": i for i in range(1000)})
    assert len(caught.value.problems) == 11
    assert "990 more" in caught.value.problems[-1]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": ["a", "b"]},
        {"parameters": {"num_return_sequences": 2, "temperature": 1}},
        {"parameters": {"best_of": 2, "temperature": 1}},
        {"parameters": {"details": True, "decoder_input_details": True}},
    ],
)
def test_a_stream_carries_one_text(body: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        request(stream=True, **body)
