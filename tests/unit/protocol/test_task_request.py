"""The request of a task: texts, objects of texts, lists of either, and nothing else."""

import json

import pytest

from handful.errors import InvalidInputError
from handful.protocol.problems import InvalidRequestError
from handful.protocol.tasks import Query, TaskRequest, count_characters


def queries(inputs: object) -> tuple[Query, ...]:
    return TaskRequest.from_body(json.dumps({"inputs": inputs}).encode()).queries


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [("a", ("a",)), ({"text": "a"}, ({"text": "a"},)), (["a", {"text": "b"}], ("a", {"text": "b"}))],
)
def test_a_text_an_object_or_a_list_is_taken(inputs: object, expected: tuple[Query, ...]) -> None:
    assert queries(inputs) == expected


@pytest.mark.parametrize(
    "inputs", [1, None, [None], {"a": 1}, {}, [["a"]], "\ud800", {"a": "\udfff"}, [5] * 1_000_000, ["a"] * 5000]
)
def test_anything_else_is_refused(inputs: object) -> None:
    with pytest.raises(InvalidRequestError, match="inputs"):
        queries(inputs)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="empty list"):
        queries([])


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match="`texts`: unknown key"):
        TaskRequest.from_body(b'{"inputs": "a", "texts": []}')


def test_characters_of_all_texts_count() -> None:
    assert count_characters(["ab", {"x": "cde"}]) == 5
