"""Rows become items, or one error that names the row and a way out."""

import json
from pathlib import Path

import pytest

from handful import Task
from handful.errors import HandfulError, InvalidInputError, InvalidParameterError
from handful.evals.data import Columns, check_classes, read_items

TASK = Task(name="mood", input="Review: {review}", output="Mood: {output}", labels=("good", "bad"))
OPEN = Task(name="french", input="English: {english}", output="French: {output}")
PAIR = Task(name="pair", input="{one} and {two}", output="Same: {output}", labels=("yes", "no"))


def read(folder: Path, *rows: dict[str, object], task: Task = TASK, columns: Columns | None = None) -> list[object]:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [(item.shown, item.expected) for item in read_items(path, task, columns or Columns())]


@pytest.mark.parametrize("text", ["review", "text", "input", "sentence"])
@pytest.mark.parametrize("label", ["label", "output", "expected", "answer", "target"])
def test_usual_columns_are_found(text: str, label: str, tmp_path: Path) -> None:
    assert read(tmp_path, {text: "fine", label: "good"}) == [("fine", "good")]


def test_the_only_other_column_is_the_answers(tmp_path: Path) -> None:
    assert read(tmp_path, {"english": "bread", "french": "pain"}, task=OPEN) == [("bread", "pain")]


def test_columns_can_be_named(tmp_path: Path) -> None:
    columns = Columns(text="body", label="class")
    assert read(tmp_path, {"text": "no", "body": "fine", "class": "good"}, columns=columns) == [("fine", "good")]


def test_several_variables_are_columns_of_their_names(tmp_path: Path) -> None:
    row: dict[str, object] = {"one": "a", "two": "b", "label": "yes"}
    assert read(tmp_path, row, task=PAIR) == [({"one": "a", "two": "b"}, "yes")]


def test_numbers_stand_for_labels_when_they_are_named(tmp_path: Path) -> None:
    columns = Columns(names={"0": "bad", "1": "good"})
    found = read(tmp_path, {"text": "x", "label": 1}, {"text": "y", "label": "0"}, columns=columns)
    assert found == [("x", "good"), ("y", "bad")]


def test_an_open_task_takes_any_text_as_its_answer(tmp_path: Path) -> None:
    assert read(tmp_path, {"english": "bread", "output": " pain "}, task=OPEN) == [("bread", "pain")]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"txet": "a", "label": "good"}, r"no column `review`.*`txet` and `label`.*--text-column"),
        ({"text": "a", "lable": "good", "id": "3"}, r"no column `label`.*Did you mean `lable`"),
        ({"text": 3, "label": "good"}, r"line 1: The value of `review` must be text, not int.*take it out"),
        ({"text": None, "label": "good"}, r"line 1: .* must be text, not NoneType"),
        ({"text": ["a"], "label": "good"}, r"line 1: .* must be text, not list"),
        ({"text": "  ", "label": "good"}, r"line 1: The value of `review` is empty"),
        ({"text": "a\ud800", "label": "good"}, r"line 1: .*surrogate"),
        ({"text": "a", "label": "goood"}, r"line 1: `goood` is no label.*`good` and `bad`.*Did you mean `good`"),
        ({"text": "a", "label": 1}, r'`1` is no label.*--label-names "1=good'),
        ({"text": "a", "label": 1.5}, r"`label` is float, not a label"),
        ({"text": "a", "label": True}, r"`label` is bool, not a label"),
        ({"text": "a", "label": None}, r"`label` is empty, not a label"),
        ({"text": "a", "label": ""}, r"`label` is empty, not a label"),
    ],
)
def test_a_row_that_can_not_be_used_is_named_with_a_way_out(row: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=told):
        read(tmp_path, row)


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"has no rows\. Give a file"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("task", "columns", "told"),
    [
        (PAIR, Columns(text="one"), r"--text-column.*needs 2"),
        (OPEN, Columns(names={"0": "x"}), r"--label-names.*free text"),
        (TASK, Columns(names={"0": "poor"}), r"--label-names.*`poor`, which is no label"),
    ],
)
def test_options_that_do_not_fit_the_task_are_refused(task: Task, columns: Columns, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match=told):
        read(tmp_path, {"text": "a", "one": "a", "two": "b", "label": "good"}, task=task, columns=columns)


def test_data_of_one_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("text,label\na,good\nb,good\n")
    items = read_items(tmp_path / "data.csv", TASK, Columns())
    with pytest.raises(HandfulError, match=r"All 2 rows .* have the label `good`\. Add rows of `bad`"):
        check_classes(tmp_path / "data.csv", items, TASK)
