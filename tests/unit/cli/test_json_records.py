"""What `handful run --json` prints, schema 1. Programs read it: another shape is another number, here and in the help.

Keys may be added without a new number; the names, types and order below stay.
"""

import json

import pytest

from handful.cli.inputs import Row
from handful.cli.output import SCHEMA, json_line
from handful.cli.run_loop import answer_batch
from handful.task.fit import Fitter
from handful.task.task import Task
from tests.fakes import FakeBackend

CLOSED = Task(name="mood", input="Say: {text}", labels=("good", "bad"))
OPEN = Task(name="shout", input="Say: {text}")
PAIR = Task(name="pair", input="{left} and: {right}")


def record(task: Task, row: Row) -> dict[str, object]:
    """The record of one row as a program reads it back, its keys in the order they stand in."""
    backend = FakeBackend()
    [found] = answer_batch(Fitter(task, backend.info.context_length), backend, [row])
    read: dict[str, object] = json.loads(json_line(found))
    return read


def kinds(found: dict[str, object]) -> dict[str, str]:
    return {key: type(value).__name__ for key, value in found.items()}


def test_the_schema_has_a_number() -> None:
    assert SCHEMA == 1


def test_a_label() -> None:
    found = record(CLOSED, Row("line 1", "one"))
    counts = {"num_prompt_tokens": "int", "dropped_examples": "int"}
    assert kinds(found) == {"input": "str", "prediction": "str", "probabilities": "dict"} | counts
    assert list(found) == ["input", "prediction", "probabilities", "num_prompt_tokens", "dropped_examples"]
    assert found["input"] == "one"
    assert isinstance(found["probabilities"], dict)
    assert list(found["probabilities"]) == ["good", "bad"]


def test_free_text() -> None:
    found = record(OPEN, Row("line 1", "one"))
    assert found == {
        "input": "one",
        "prediction": "ONE",
        "completion": " ONE\n",
        "finish_reason": "stop_sequence",
        "num_prompt_tokens": 16,
        "dropped_examples": 0,
    }
    assert list(found)[:4] == ["input", "prediction", "completion", "finish_reason"]


def test_several_variables() -> None:
    assert record(PAIR, Row("line 1", {"left": "l", "right": "r"}))["input"] == {"left": "l", "right": "r"}


@pytest.mark.parametrize("row", [Row("line 7", ""), Row("line 7", "caf\ufffd", "line 7 is not UTF-8")])
def test_a_row_that_cannot_be_answered(row: Row) -> None:
    found = record(CLOSED, row)
    assert list(found) == ["input", "prediction", "error"]
    assert found["prediction"] is None
    assert str(found["error"]).startswith("line 7")
