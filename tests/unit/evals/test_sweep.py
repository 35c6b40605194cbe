"""Sweeps of generation parameters, on a fake model."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from handful import GenerationParameters, Task
from handful.errors import InvalidInputError, InvalidParameterError, TaskError
from handful.evals.data import Item
from handful.evals.journal import Journal, Run, read_run
from handful.evals.report import render
from handful.evals.sweep import COORDINATES, Axes, sweep
from handful.evals.sweep_report import render_sweep
from handful.types import Generation
from tests.fakes import FakeBackend

TASK = Task(name="shout", input="In: {text}", output="Out: {output}", parameters=GenerationParameters(max_new_tokens=9))
QUERIES = [Item(f"line {i}", {"text": f"word {i}"}, f"WORD {i}") for i in range(5)]
CONTEXT = {"versions": {"handful": "0"}, "command": "handful sweep"}
RUN = Run(kind="sweep", coordinates=COORDINATES, plan={"task": TASK.to_dict(), "labels": []}, context=CONTEXT)
AXES = Axes(temperatures=(0.0, 1.0), max_new_tokens=(3, 9), end_sequences=("###", "D"))


class WatchedBackend(FakeBackend):
    """Keeps the parameters of every call."""

    def __init__(self) -> None:
        super().__init__()
        self.parameters: list[GenerationParameters] = []

    def generate(self, prompts: Any, parameters: GenerationParameters) -> list[Generation]:
        self.parameters.append(parameters)
        return super().generate(prompts, parameters)


def go(folder: Path, axes: Axes = AXES, backend: FakeBackend | None = None) -> None:
    with Journal(folder, RUN) as journal:
        sweep(TASK, QUERIES, axes, lambda: backend or FakeBackend(), journal, lambda _: None)


def test_every_combination_is_asked_with_its_parameters(tmp_path: Path) -> None:
    backend = WatchedBackend()
    go(tmp_path, backend=backend)
    found = [(one.temperature, one.max_new_tokens, one.stop) for one in backend.parameters]
    wanted = [(heat, length, (end,)) for end in ("###", "D") for length in (3, 9) for heat in (0.0, 1.0)]
    assert found == wanted
    assert {(one.temperature, one.seed) for one in backend.parameters} == {(0.0, None), (1.0, 0)}


def test_an_axis_that_is_not_named_is_the_tasks_own() -> None:
    (setting,) = Axes().settings(TASK)
    assert (setting.temperature, setting.max_new_tokens, setting.end_sequence) == (0.0, 9, "###")


def test_scores_samples_and_cut_answers_of_every_setting(tmp_path: Path) -> None:
    go(tmp_path)
    rows = {tuple(row.setting.values()): row for row in render_sweep(tmp_path)}
    assert len(rows) == 8
    assert rows[0.0, 9, "###"].metrics["exact_match"].mean == 1.0
    assert rows[0.0, 3, "###"].metrics["exact_match"].mean == 0.0
    assert (rows[0.0, 3, "###"].cut_off, rows[0.0, 9, "###"].cut_off) == (1.0, 0.0)
    assert rows[0.0, 9, "D"].records[0]["prediction"] == "WOR"
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["schema"] == 1
    assert [sample["prediction"] for sample in found["rows"][2]["samples"]] == ["WORD 0", "WORD 1", "WORD 2"]


def test_the_csv_has_a_line_for_each_setting_with_every_metric_and_its_interval(tmp_path: Path) -> None:
    go(tmp_path)
    rows = render_sweep(tmp_path)
    with (tmp_path / "summary.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(float(one["temperature"]), int(one["max_new_tokens"]), one["end_sequence"]) for one in lines] == [
        tuple(row.setting.values()) for row in rows
    ]
    for line, row in zip(lines, rows, strict=True):
        for name, interval in row.metrics.items():
            ends = (interval.mean, interval.low, interval.high)
            assert tuple(float(line[name + end]) for end in ("", "_low", "_high")) == ends
        assert float(line["cut_off"]) == row.cut_off


def test_the_page_shows_a_grid_and_samples_of_every_setting(tmp_path: Path) -> None:
    go(tmp_path)
    render_sweep(tmp_path)
    content = (tmp_path / "report.html").read_text()
    assert content.count("data:image/svg+xml;base64,") == 2
    assert content.count("WOR") >= 8
    assert (tmp_path / "figures" / "chrf-by-setting.png").stat().st_size > 5_000


def test_a_sweep_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    go(tmp_path / "whole")
    go(tmp_path / "part")
    records = tmp_path / "part" / "records.jsonl"
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:17]) + lines[17][:20])
    cells = tmp_path / "part" / "cells.jsonl"
    cells.write_text("".join(cells.read_text().splitlines(keepends=True)[:3]))
    backend = FakeBackend()
    go(tmp_path / "part", backend=backend)
    assert records.read_bytes() == (tmp_path / "whole" / "records.jsonl").read_bytes()
    assert sum(count for _, count in backend.calls) == 40 - 17


def test_a_task_with_labels_has_nothing_to_sweep() -> None:
    task = Task(name="mood", input="Review: {text}", output="Mood: {output}", labels=("good", "bad"))
    with pytest.raises(TaskError, match=r"has labels.*handful eval"):
        Axes().settings(task)


@pytest.mark.parametrize(
    "axes",
    [
        Axes(temperatures=(-1.0,)),
        Axes(max_new_tokens=(-1,)),
        Axes(end_sequences=("",)),
        Axes(temperatures=(0.5, 0.5)),
        Axes(temperatures=tuple(i / 100 for i in range(1001))),
    ],
)
def test_values_out_of_range_are_refused_before_anything_is_asked(axes: Axes) -> None:
    with pytest.raises(InvalidParameterError):
        axes.settings(TASK)


def test_a_task_with_several_ends_must_be_told_which_to_compare() -> None:
    task = TASK.replace(parameters=GenerationParameters(stop=("a", "b")))
    with pytest.raises(InvalidParameterError, match="--end-sequence"):
        Axes().settings(task)


def test_a_sweeps_records_are_no_evaluation_and_no_records_are_nothing(tmp_path: Path) -> None:
    go(tmp_path / "a")
    with pytest.raises(InvalidInputError, match="handful sweep --from"):
        render(tmp_path / "a")
    with Journal(tmp_path / "b", RUN):
        pass
    with pytest.raises(InvalidInputError, match="nothing to show"):
        render_sweep(tmp_path / "b")
    assert read_run(tmp_path / "b").records == ()
