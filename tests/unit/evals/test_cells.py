"""The combinations of an evaluation."""

from typing import Any

import pytest

from handful.errors import InvalidParameterError
from handful.evals.cells import Grid


def grid(**changes: Any) -> Grid:
    given: dict[str, Any] = {"models": ("m",), "templates": ("t",), "predictors": ("plain",), "shots": (0, 1, 2)}
    return Grid(**given | changes)


def test_without_examples_there_is_one_set_and_of_one_example_one_order() -> None:
    made = grid(num_sets=3, num_orders=2)
    found = [(cell.shots, cell.set, cell.order) for cell in made.cells("m")]
    assert found == [(0, 0, 0), *((1, s, 0) for s in range(3)), *((2, s, o) for s in range(3) for o in range(2))]
    assert made.num_cells == len(found)


def test_predictors_of_the_same_examples_stand_together() -> None:
    found = [(cell.set, cell.predictor) for cell in grid(shots=(2,), num_sets=2, predictors=("a", "b")).cells("m")]
    assert found == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


def test_the_tasks_own_examples_are_one_set() -> None:
    (cell,) = grid(shots=None, num_sets=5, num_orders=3).cells("m", 6)
    assert (cell.shots, cell.set, cell.order) == (6, 0, 0)


@pytest.mark.parametrize(
    "changes", [{"shots": (1, 1)}, {"shots": ()}, {"models": ()}, {"predictors": ("a", "a")}, {"num_sets": 100_000}]
)
def test_what_is_named_twice_or_too_much_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        grid(**changes)
