"""Two runs side by side: pairs, intervals, changed answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from handful.errors import InvalidInputError
from handful.evals.compare import Comparison, compare, comparison_json, comparison_table
from handful.evals.journal import read_run
from handful.evals.tables import text_of
from tests.unit.evals.written import OPEN, Answer, cell, right, write, wrong


def up_to(count: int) -> Answer:
    return lambda one, item: right() if item < count else wrong()


def compared(folder: Path, one: Any, other: Any, cells: Any = None, others: Any = None) -> list[Comparison]:
    cells = cells or [cell(0)]
    first = write(folder / "first", cells, one, num_queries=100)
    second = write(folder / "second", others or cells, other, num_queries=100)
    return compare(read_run(first), read_run(second))


def test_a_clear_gain_is_better_with_its_interval_and_changed_answers(tmp_path: Path) -> None:
    (found,) = compared(tmp_path, up_to(60), up_to(80))
    assert (found.first, found.second) == pytest.approx((0.6, 0.8))
    assert found.difference.mean == pytest.approx(0.2)
    assert 0.1 < found.difference.low < 0.2 < found.difference.high < 0.3
    assert (found.num_gained, found.num_lost, found.verdict) == (20, 0, "better")
    assert found.p_value == pytest.approx(2 * 0.5**20)
    assert [change.input for change in found.changes] == [f"text {i}" for i in range(60, 80)]


def test_a_loss_is_worse_and_a_small_change_is_no_clear_difference(tmp_path: Path) -> None:
    assert compared(tmp_path / "a", up_to(80), up_to(60))[0].verdict == "worse"
    (found,) = compared(tmp_path / "b", up_to(60), up_to(61))
    assert found.verdict == "no clear difference"
    assert found.p_value == 1.0


def test_a_run_against_itself_differs_nowhere(tmp_path: Path) -> None:
    (found,) = compared(tmp_path, up_to(60), up_to(60))
    assert (found.difference.low, found.difference.high, found.changes) == (0.0, 0.0, ())


def test_what_has_one_value_in_each_run_and_differs_is_compared(tmp_path: Path) -> None:
    cells = [cell(shots, predictor="plain") for shots in (0, 2)]
    others = [cell(shots, predictor="contextual", model="n") for shots in (0, 2)]
    found = compared(tmp_path, up_to(50), up_to(90), cells, others)
    assert [one.series["shots"] for one in found] == [0, 2]
    assert "predictor" not in found[0].series


def test_with_several_predictors_each_is_compared_with_itself(tmp_path: Path) -> None:
    cells = [cell(0, predictor="plain"), cell(0, predictor="contextual")]
    found = compared(tmp_path, up_to(50), up_to(60), cells, [*cells, cell(0, predictor="domain")])
    assert [one.series["predictor"] for one in found] == ["plain", "contextual"]


def test_several_sets_are_averaged_by_query_and_have_no_p_value(tmp_path: Path) -> None:
    cells = [cell(2, number) for number in range(4)]
    (found,) = compared(tmp_path, lambda one, item: right() if one["set"] < 2 else wrong(), up_to(100), cells)
    assert (found.first, found.second, found.p_value) == (0.5, 1.0, None)
    assert found.num_queries == 100


def test_queries_are_matched_by_their_text_wherever_they_stand(tmp_path: Path) -> None:
    first = write(tmp_path / "first", [cell(0)], up_to(10), num_queries=10)
    second = write(tmp_path / "second", [cell(0)], up_to(5), num_queries=5)
    (found,) = compare(read_run(first), read_run(second))
    assert found.num_queries == 5


def test_runs_with_nothing_in_common_are_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no setting in common.*--shots"):
        compared(tmp_path / "a", up_to(1), up_to(1), [cell(0)], [cell(2), cell(4)])
    first = write(tmp_path / "first", [cell(0)], up_to(1))
    second = write(tmp_path / "second", [cell(0)], up_to(1), expected=lambda item: "bad")
    with pytest.raises(InvalidInputError, match=r"no query in common.*--data"):
        compare(read_run(first), read_run(second))
    third = write(tmp_path / "third", [cell(0)], lambda one, item: {"prediction": "x"}, task=OPEN)
    with pytest.raises(InvalidInputError, match="labels, the other of free text"):
        compare(read_run(first), read_run(third))


def test_it_is_told_as_a_table_and_as_json(tmp_path: Path) -> None:
    found = compared(tmp_path, up_to(60), up_to(80))
    assert "+0.200 [+0.1" in text_of(comparison_table(found))
    plain = json.loads(comparison_json(found))
    assert plain["schema"] == 1
    assert plain["rows"][0]["verdict"] == "better"
    assert len(plain["rows"][0]["changes"]) == 20
