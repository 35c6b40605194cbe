"""The answers of the language tasks, written out as clients of the Inference API read them."""

import json
from collections.abc import Sequence
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from pydantic import TypeAdapter

from handful.nlp_types import (
    Answer,
    ConversationAnswer,
    Filled,
    LabelScore,
    NlpTask,
    TableAnswer,
    TokenEntity,
    ZeroShotAnswer,
)
from handful.protocol.nlp_shapes import TASK_SHAPES
from handful.protocol.nlp_tasks import EXAMPLES, REQUESTS
from handful.protocol.nlp_zero_shot import ZeroShotRequest

SCORES = [LabelScore("POSITIVE", 0.75), LabelScore("NEGATIVE", 0.25)]
CLARA = Answer(0.5, 11, 16, "Clara")
NOT_CLARA = Answer(0.25, 0, 2, "My")
PERSON = TokenEntity(label="PER", score=0.5, word="Clara", start=11, end=16)
TOKEN = TokenEntity(label="B-PER", score=0.5, word="clara", start=11, end=16, is_group=False, index=4)
WORD = Filled("the answer is no.", 0.5, 2053, "no")
CHOSEN = ZeroShotAnswer("Hi", ("refund", "faq"), (0.75, 0.25))
STARS = TableAnswer("AVERAGE > 36542", ((0, 1),), ("36542",), "AVERAGE")
VECTOR = np.array([0.5, -0.25], dtype=np.float32)
TOLD_SCORES = [{"label": "POSITIVE", "score": 0.75}, {"label": "NEGATIVE", "score": 0.25}]
TOLD_CLARA = {"score": 0.5, "start": 11, "end": 16, "answer": "Clara"}
TOLD_PERSON = {"entity_group": "PER", "score": 0.5, "word": "Clara", "start": 11, "end": 16}
TOLD_WORD = {"sequence": "the answer is no.", "score": 0.5, "token": 2053, "token_str": "no"}
QA = {"question": "Who?", "context": "Clara."}
TABLE = {"Stars": ["36542"]}
TOLD_STARS = {"answer": "AVERAGE > 36542", "coordinates": [[0, 1]], "cells": ["36542"], "aggregator": "AVERAGE"}
SAID = ConversationAnswer("It's the best.", ("Which?", "Why?"), ("This.", "It's the best."))

Case = tuple[NlpTask, dict[str, Any], Sequence[Any], Any]
CASES: list[Case] = [
    ("feature-extraction", {"inputs": "a"}, [VECTOR], [0.5, -0.25]),
    ("feature-extraction", {"inputs": ["a", "b"]}, [VECTOR, VECTOR], [[0.5, -0.25], [0.5, -0.25]]),
    ("feature-extraction", {"inputs": "a"}, [np.stack([VECTOR])], [[[0.5, -0.25]]]),
    ("feature-extraction", {"inputs": ["a"]}, [np.stack([VECTOR])], [[[[0.5, -0.25]]]]),
    ("sentence-similarity", EXAMPLES["sentence-similarity"], [[0.75, 0.5]], [0.75, 0.5]),
    ("text-classification", {"inputs": "a"}, [SCORES], [TOLD_SCORES]),
    ("text-classification", {"inputs": ["a", "b"]}, [SCORES, SCORES], [TOLD_SCORES, TOLD_SCORES]),
    ("token-classification", {"inputs": "a"}, [[PERSON]], [TOLD_PERSON]),
    ("token-classification", {"inputs": ["a", "b"]}, [[PERSON], []], [[TOLD_PERSON], []]),
    (
        "token-classification",
        {"inputs": "a", "parameters": {"aggregation_strategy": "none"}},
        [[TOKEN]],
        [{"entity": "B-PER", "score": 0.5, "index": 4, "word": "clara", "start": 11, "end": 16}],
    ),
    ("fill-mask", {"inputs": "a"}, [[WORD]], [TOLD_WORD]),
    ("fill-mask", {"inputs": ["a"]}, [[WORD]], [[TOLD_WORD]]),
    ("question-answering", {"inputs": QA}, [[CLARA]], TOLD_CLARA),
    ("question-answering", {"inputs": [QA]}, [[CLARA]], [TOLD_CLARA]),
    (
        "question-answering",
        {"inputs": QA, "parameters": {"top_k": 2}},
        [[CLARA, NOT_CLARA]],
        [TOLD_CLARA, {"score": 0.25, "start": 0, "end": 2, "answer": "My"}],
    ),
    ("question-answering", {"inputs": QA, "parameters": {"top_k": 2}}, [[CLARA]], [TOLD_CLARA]),
    ("table-question-answering", {"inputs": {"query": "a", "table": TABLE}}, [STARS], TOLD_STARS),
    ("table-question-answering", {"inputs": {"query": ["a", "b"], "table": TABLE}}, [STARS] * 2, [TOLD_STARS] * 2),
    (
        "table-question-answering",
        {"inputs": {"query": "a", "table": TABLE}},
        [TableAnswer("36542", ((0, 0),), ("36542",))],
        {"answer": "36542", "coordinates": [[0, 0]], "cells": ["36542"]},
    ),
    ("summarization", {"inputs": "a"}, [["It is."]], [{"summary_text": "It is."}]),
    ("translation", {"inputs": ["a", "b"]}, [["x"], ["y"]], [{"translation_text": "x"}, {"translation_text": "y"}]),
    (
        "text2text-generation",
        {"inputs": "a", "parameters": {"num_return_sequences": 2}},
        [["x", "y"]],
        [{"generated_text": "x"}, {"generated_text": "y"}],
    ),
    (
        "text2text-generation",
        {"inputs": ["a"], "parameters": {"num_return_sequences": 2}},
        [["x", "y"]],
        [[{"generated_text": "x"}, {"generated_text": "y"}]],
    ),
    (
        "conversational",
        EXAMPLES["conversational"],
        [SAID],
        {
            "generated_text": "It's the best.",
            "conversation": {
                "past_user_inputs": ["Which?", "Why?"],
                "generated_responses": ["This.", "It's the best."],
            },
            "warnings": [],
        },
    ),
]


@pytest.mark.parametrize(("task", "body", "results", "told"), CASES)
def test_an_answer(task: NlpTask, body: dict[str, Any], results: Sequence[Any], told: Any) -> None:
    request = REQUESTS[task].from_body(json.dumps(body).encode())
    assert json.loads(json.dumps(request.answer(results), allow_nan=False)) == told
    _validate(task, told)


def test_the_two_shapes_of_zero_shot_classification() -> None:
    one = {"inputs": "Hi", "parameters": {"candidate_labels": ["refund", "faq"]}}
    request = ZeroShotRequest.from_body(json.dumps(one).encode())
    as_dict = {"sequence": "Hi", "labels": ["refund", "faq"], "scores": [0.75, 0.25]}
    as_list = [{"label": "refund", "score": 0.75}, {"label": "faq", "score": 0.25}]
    assert (request.answer([CHOSEN]), request.answer_in_lists([CHOSEN])) == (as_dict, as_list)
    request = ZeroShotRequest.from_body(json.dumps(one | {"inputs": ["Hi"]}).encode())
    assert (request.answer([CHOSEN]), request.answer_in_lists([CHOSEN])) == ([as_dict], [as_list])
    for told in (as_dict, as_list, [as_dict], [as_list]):
        _validate("zero-shot-classification", told)


def _validate(task: NlpTask, told: Any) -> None:
    """Hold an answer against what the documentation says of its task."""
    jsonschema_rs.validator_for(TypeAdapter(TASK_SHAPES[task]).json_schema()).validate(told)
