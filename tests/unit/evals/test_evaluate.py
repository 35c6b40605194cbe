"""The flow on a fake model: what is asked, what is written, and what a rerun adds."""

import json
from pathlib import Path
from typing import Any

import pytest

from handful import Example, Task
from handful.backend import Backend
from handful.errors import TaskError
from handful.evals.cells import COORDINATES, Grid
from handful.evals.data import Item
from handful.evals.evaluate import Opened, Progress, evaluate
from handful.evals.journal import Journal, Run, read_run
from handful.evals.sets import Data
from handful.task.render import prefix
from tests.fakes import FakeBackend

TASK = Task(name="mood", input="Review: {text}", output="Mood: {output}", labels=("good", "bad"))
QUERIES = tuple(Item(f"line {i}", {"text": f"query {i}"}, "good" if i % 2 else "bad") for i in range(150))
POOL = tuple(Item(f"line {i}", {"text": f"text {i}"}, "good" if i % 2 else "bad") for i in range(20))
DATA = Data(QUERIES, POOL)
RUN = Run(kind="eval", coordinates=COORDINATES, plan={"labels": list(TASK.labels)}, context={})


class KilledError(Exception):
    """As if the process had been killed."""


class DyingBackend(FakeBackend):
    """Answers a number of batches and no more."""

    num_batches = 3

    def score(self, *arguments: Any) -> Any:
        if self.num_batches == 0:
            raise KilledError
        self.num_batches -= 1
        return super().score(*arguments)


def grid(**changes: Any) -> Grid:
    given: dict[str, Any] = {"models": ("fake",), "templates": ("mood",), "predictors": ("plain",), "shots": (0, 2)}
    return Grid(**given | {"num_sets": 2} | changes)


def go(folder: Path, made: Grid, backend: FakeBackend | None = None, tasks: dict[str, Task] | None = None) -> list[Any]:
    """Evaluate; everything the progress was told."""
    told: list[Progress] = []
    with Journal(folder, RUN) as journal:
        evaluate(
            tasks or {"mood": TASK}, DATA, made, Opened(lambda name: backend or FakeBackend()), journal, told.append
        )
    return told


def test_every_query_is_asked_once_in_every_cell_in_order(tmp_path: Path) -> None:
    told = go(tmp_path, grid())
    written = read_run(tmp_path)
    assert len(written.cells) == 3
    assert [record["item"] for record in written.records] == list(range(150)) * 3
    assert [record["expected"] for record in written.records[:150]] == [item.expected for item in QUERIES]
    assert (told[-1].num_done, told[-1].num_total) == (450, 450)


def test_queries_of_one_prefix_are_asked_together_behind_it(tmp_path: Path) -> None:
    backend = FakeBackend()
    go(tmp_path, grid(shots=(2,)), backend)
    cells = read_run(tmp_path).cells
    prefixes = [
        prefix(
            TASK.with_examples(next(item for item in POOL if item.place == place).example for place in cell["examples"])
        )
        for cell in cells
    ]
    assert len(set(prefixes)) == 2
    behind = [next(i for i, one in enumerate(prefixes) if text.startswith(one)) for text in backend.prompts]
    assert behind == [0] * 150 + [1] * 150


def test_a_run_that_dies_goes_on_and_ends_with_the_same_records(tmp_path: Path) -> None:
    go(tmp_path / "unbroken", grid())
    with pytest.raises(KilledError):
        go(tmp_path / "broken", grid(), DyingBackend())
    records = tmp_path / "broken" / "records.jsonl"
    assert 0 < len(records.read_text().splitlines()) < 450
    with records.open("a") as file:
        file.write('{"model": "fa')
    backend = FakeBackend()
    go(tmp_path / "broken", grid(), backend)
    assert records.read_bytes() == (tmp_path / "unbroken" / "records.jsonl").read_bytes()
    assert len(backend.prompts) < 450


def test_a_finished_run_opens_no_model(tmp_path: Path) -> None:
    go(tmp_path, grid())

    def refuse(name: str) -> Backend:
        raise AssertionError(name)

    with Journal(tmp_path, RUN) as journal:
        evaluate({"mood": TASK}, DATA, grid(), Opened(refuse), journal, print)


def test_a_run_that_dies_between_the_last_answer_and_its_cells_note_asks_nothing_again(tmp_path: Path) -> None:
    go(tmp_path, grid(shots=(0,)))
    (tmp_path / "cells.jsonl").write_text("")
    backend = FakeBackend()
    go(tmp_path, grid(shots=(0,)), backend)
    assert backend.prompts == []
    assert len(read_run(tmp_path).cells) == 1


def test_a_predictor_that_needs_more_examples_is_left_out_and_says_why(tmp_path: Path) -> None:
    told = go(tmp_path, grid(predictors=("plain", "auto"), shots=(0, 4), num_sets=1))
    assert (told[-1].num_done, told[-1].num_total) == (450, 450)
    told = go(tmp_path, grid(predictors=("plain", "auto"), shots=(0, 4), num_sets=1))
    assert told == []  # the rerun knows that there is nothing left
    left_out = [cell for cell in read_run(tmp_path).cells if "left_out" in cell]
    assert [(cell["predictor"], cell["shots"]) for cell in left_out] == [("auto", 0)]
    assert "No example has the label" in left_out[0]["left_out"]


def test_models_are_opened_one_after_the_other_and_closed(tmp_path: Path) -> None:
    backends = {"one": FakeBackend(), "two": FakeBackend()}

    def open_model(name: str) -> Backend:
        assert all(not backend.prompts or backend.closed for backend in backends.values())
        return backends[name]

    with Journal(tmp_path, RUN) as journal:
        evaluate({"mood": TASK}, DATA, grid(models=("one", "two")), Opened(open_model), journal, lambda _: None)
    assert all(backend.closed for backend in backends.values())
    assert {record["model"] for record in read_run(tmp_path).records} == {"one", "two"}


def test_wordings_get_the_same_examples(tmp_path: Path) -> None:
    other = TASK.replace(name="other", input="Text: {text}")
    go(tmp_path, grid(templates=("mood", "other"), shots=(4,)), tasks={"mood": TASK, "other": other})
    cells = read_run(tmp_path).cells
    shown = {(cell["template"], cell["set"]): cell["examples"] for cell in cells}
    assert shown["mood", 1] == shown["other", 1]
    assert "Text: query 0" in next(cell["prompt"] for cell in cells if cell["template"] == "other")


def test_own_examples_of_different_number_are_refused(tmp_path: Path) -> None:
    other = TASK.replace(name="other", examples=(Example({"text": "a"}, "good"),))
    with pytest.raises(TaskError, match=r"different numbers of examples.*--shots"):
        go(tmp_path, grid(templates=("mood", "other"), shots=None), tasks={"mood": TASK, "other": other})


def test_every_line_is_json_without_escapes_that_need_not_be(tmp_path: Path) -> None:
    go(tmp_path, grid(shots=(0,)))
    for line in (tmp_path / "records.jsonl").read_text().splitlines():
        assert json.dumps(json.loads(line), ensure_ascii=False) == line
