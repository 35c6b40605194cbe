"""From records to rows: which interval, what is averaged first, and what a reader is told."""

from pathlib import Path
from typing import Any

import pytest

from handful.errors import InvalidInputError
from handful.evals.intervals import t_interval
from handful.evals.journal import read_run
from handful.evals.summary import Summary, summarise
from tests.unit.evals.written import OPEN, Answer, cell, right, write, wrong


def summary(folder: Path, cells: list[dict[str, Any]], answer: Answer, **plan: Any) -> Summary:
    return summarise(read_run(write(folder, cells, answer, **plan)))


def first_right(counts: dict[tuple[int, int, int], int]) -> Answer:
    """As many right answers as `counts` says of (shots, set, order)."""
    return lambda one, item: right() if item < counts[one["shots"], one["set"], one["order"]] else wrong()


def test_sets_have_the_t_interval_of_their_means(tmp_path: Path) -> None:
    counts = {(2, 0, 0): 5, (2, 1, 0): 7, (2, 2, 0): 9}
    (row,) = summary(tmp_path, [cell(2, i) for i in range(3)], first_right(counts)).rows
    assert row.method == "t"
    assert row.metrics["accuracy"] == t_interval([0.5, 0.7, 0.9], (0.0, 1.0))
    assert row.deviations["accuracy"] == pytest.approx(0.2)
    assert row.queries_per_s == 5.0


def test_orders_of_one_set_are_averaged_before_sets_are_compared(tmp_path: Path) -> None:
    counts = {(2, 0, 0): 4, (2, 0, 1): 6, (2, 1, 0): 9, (2, 1, 1): 9}
    cells = [cell(2, number, order) for number in range(2) for order in range(2)]
    (row,) = summary(tmp_path, cells, first_right(counts)).rows
    assert row.metrics["accuracy"] == t_interval([0.5, 0.9], (0.0, 1.0))
    assert (row.num_sets, row.num_orders) == (2, 2)


def test_one_set_has_the_bootstrap_over_queries(tmp_path: Path) -> None:
    counts = {(2, 0, 0): 7, (2, 0, 1): 9}
    (row,) = summary(tmp_path, [cell(2), cell(2, 0, 1)], first_right(counts)).rows
    assert row.method == "bootstrap"
    assert row.metrics["accuracy"].mean == pytest.approx(0.8)
    assert row.metrics["accuracy"].low < 0.8 < row.metrics["accuracy"].high


def test_an_interval_of_one_set_of_texts_holds_its_mean(tmp_path: Path) -> None:
    def answer(one: dict[str, Any], item: int) -> dict[str, Any]:
        return {"prediction": "good" if item < 6 + one["order"] else "evil", "finish_reason": "stop_sequence"}

    found = summary(tmp_path, [cell(2, predictor="generate"), cell(2, 0, 1, predictor="generate")], answer, task=OPEN)
    assert found.metric == "exact_match"
    assert found.rows[0].metrics["exact_match"].mean == pytest.approx(0.65)
    assert found.rows[0].metrics["chrf"].low <= found.rows[0].metrics["chrf"].mean


def test_it_says_when_examples_make_it_worse_than_none(tmp_path: Path) -> None:
    counts = {(0, 0, 0): 9, (2, 0, 0): 6, (2, 1, 0): 8, (4, 0, 0): 9, (4, 1, 0): 10}
    cells = [cell(0), cell(2), cell(2, 1), cell(4), cell(4, 1)]
    (told,) = summary(tmp_path, cells, first_right(counts)).remarks
    assert told == (
        "Few-shot is worse than zero-shot: plain with 2 shots reaches accuracy 0.700, without examples 0.900 "
        "(the intervals overlap)."
    )


def test_examples_that_make_it_no_worse_than_none_are_not_blamed_for_rounding(tmp_path: Path) -> None:
    counts = {(0, 0, 0): 8, (2, 0, 0): 7, (2, 1, 0): 10, (2, 2, 0): 7}  # in floats (0.7 + 1.0 + 0.7) / 3 < 0.8
    found = summary(tmp_path, [cell(0), cell(2), cell(2, 1), cell(2, 2)], first_right(counts))
    assert found.rows[1].metrics["accuracy"].mean < found.rows[0].metrics["accuracy"].mean
    assert found.remarks == ()


def test_what_can_not_work_without_examples_is_held_against_plain(tmp_path: Path) -> None:
    def answer(one: dict[str, Any], item: int) -> dict[str, Any]:
        return right() if one["predictor"] == "plain" or item < 5 else wrong()

    found = summary(tmp_path, [cell(0), cell(4, predictor="auto"), cell(4, 1, predictor="auto")], answer)
    assert found.remarks == (
        "Few-shot is worse than zero-shot: auto with 4 shots reaches accuracy 0.500, without examples 1.000.",
    )


def test_settings_that_were_left_out_errors_and_leaks_are_told(tmp_path: Path) -> None:
    def answer(one: dict[str, Any], item: int) -> dict[str, Any]:
        return {"prediction": None, "error": "too long"} if item == 3 else {**right(), "dropped_examples": item == 4}

    left_out = {**cell(1, predictor="auto"), "left_out": "It needs more examples."}
    found = summary(tmp_path, [cell(0), left_out], answer, num_leaked=3)
    told = " ".join(found.remarks)
    assert "Not evaluated: auto with 1 shots. It needs more examples." in told
    assert "1 queries could not be answered; they count as wrong" in told
    assert "1 answers were made without some of the examples" in told
    assert "3 training rows have a text that is asked" in told
    assert found.num_errors == 1
    assert found.rows[0].metrics["accuracy"].mean == 0.9


def test_the_best_row_is_that_of_the_highest_mean(tmp_path: Path) -> None:
    counts = {(0, 0, 0): 3, (2, 0, 0): 9, (4, 0, 0): 7}
    found = summary(tmp_path, [cell(0), cell(2), cell(4)], first_right(counts))
    assert found.best.series["shots"] == 2


def test_a_cell_that_is_not_finished_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, [cell(0), cell(2)], lambda one, item: right())
    lines = (tmp_path / "cells.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cells.jsonl").write_text(lines[0])
    assert [row.series["shots"] for row in summarise(read_run(tmp_path)).rows] == [0]


def test_a_run_without_any_finished_cell_says_why(tmp_path: Path) -> None:
    write(tmp_path / "a", [{**cell(1), "left_out": "It needs more."}], lambda one, item: right())
    with pytest.raises(InvalidInputError, match=r"nothing to show.*It needs more"):
        summarise(read_run(tmp_path / "a"))
    write(tmp_path / "b", [], lambda one, item: right())
    with pytest.raises(InvalidInputError, match=r"nothing to show.*it continues"):
        summarise(read_run(tmp_path / "b"))
