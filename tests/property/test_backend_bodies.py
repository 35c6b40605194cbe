"""The native surface: any body is understood or refused, and values come back from the wire as they were."""

import json
from typing import Any, Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from handful.protocol.backend_answers import EVENT, GENERATIONS, SCORES, read_vectors, vectors_on_the_wire
from handful.protocol.backend_requests import (
    BackendParameters,
    BackendRequest,
    CountRequest,
    EmbedRequest,
    GenerateRequest,
    ScoreRequest,
    parameters_on_the_wire,
)
from handful.types import Alternative, Completion, Generation, GenerationParameters, Score, StreamEvent, Token
from tests.property.test_openai_bodies import VALUES, understood

GOOD: dict[type[BackendRequest], dict[str, Any]] = {
    GenerateRequest: {"inputs": "a", "parameters": {}},
    ScoreRequest: {"inputs": "a", "continuations": [" b"]},
    EmbedRequest: {"inputs": ["a"]},
    CountRequest: {"inputs": "a"},
}
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TOKENS = st.builds(
    Token,
    st.integers(0, 10**6),
    st.text(st.characters(codec="utf-8")),
    st.none() | FLOATS,
    st.booleans(),
    st.lists(st.builds(Alternative, st.integers(0, 9), st.just("x"), FLOATS), max_size=2).map(tuple),
)
COMPLETIONS = st.builds(
    Completion,
    st.text(st.characters(codec="utf-8")),
    st.sampled_from(["length", "eos_token", "stop_sequence", "max_time"]),
    tokens=st.lists(TOKENS, max_size=3).map(tuple),
    cumulative_logprob=st.none() | FLOATS,
    seed=st.none() | st.integers(0, 2**64 - 1),
)
MADE = st.builds(Generation, st.lists(COMPLETIONS, max_size=2).map(tuple), st.integers(0, 99))
PARAMETERS = st.builds(
    GenerationParameters,
    max_new_tokens=st.integers(0, 1000),
    temperature=st.floats(0.1, 100),
    top_k=st.none() | st.integers(1, 99),
    top_p=st.none() | st.floats(0.01, 1),
    logit_bias=st.lists(st.tuples(st.integers(0, 99), st.floats(-100, 100)), max_size=3).map(tuple),
    seed=st.none() | st.integers(0, 2**64 - 1),
    stop=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9), max_size=3).map(tuple),
    n=st.integers(1, 4),
    logprobs=st.none() | st.integers(0, 9),
    echo=st.booleans(),
)


@given(st.sampled_from(sorted(GOOD, key=str)), st.data())
@settings(max_examples=300, deadline=None)
def test_a_body_is_understood_or_refused(schema: type[BackendRequest], data: st.DataObject) -> None:
    names = st.sampled_from(sorted(schema.model_fields)) | st.text(max_size=5)
    changed = data.draw(st.dictionaries(names, VALUES, max_size=2))
    if schema is GenerateRequest and data.draw(st.booleans()):
        inner = st.sampled_from(sorted(BackendParameters.model_fields))
        changed["parameters"] = data.draw(st.dictionaries(inner, VALUES, max_size=3))
    asked = understood(schema.from_body, json.dumps(GOOD[schema] | changed).encode())
    if asked is not None:
        assert len(asked.lengths) == len(asked.prompts) > 0
        assert asked.num_characters >= 0


@given(PARAMETERS)
@settings(max_examples=200, deadline=None)
def test_parameters_come_back_as_they_were(parameters: GenerationParameters) -> None:
    body = json.dumps({"inputs": "a", "parameters": parameters_on_the_wire(parameters)}).encode()
    assert GenerateRequest.from_body(body).parameters.generation_parameters() == parameters


@given(st.lists(MADE, max_size=2), st.lists(FLOATS, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_answers_come_back_as_they_were(made: list[Generation], logprobs: list[float]) -> None:
    assert GENERATIONS.validate_json(GENERATIONS.dump_json(made)) == made
    scores = [Score(tuple(logprobs), (1,) * len(logprobs), 3, 2)]
    assert SCORES.validate_json(SCORES.dump_json(scores)) == scores
    event = StreamEvent("a", None, made[0] if made else None)
    assert EVENT.validate_python(json.loads(json.dumps(EVENT.dump_python(event, mode="json")))) == event


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4), max_size=3)
)
@settings(max_examples=200, deadline=None)
def test_vectors_come_back_to_the_last_bit(rows: list[list[float]]) -> None:
    vectors = [np.array(row, dtype=np.float32) for row in rows]
    encodings: tuple[Literal["base64", "float"], ...] = ("base64", "float")
    for encoding in encodings:
        body = json.dumps(vectors_on_the_wire(vectors, encoding)).encode()
        assert np.array_equal(read_vectors(body, 4), np.array(vectors, dtype=np.float32).reshape(len(rows), 4))
