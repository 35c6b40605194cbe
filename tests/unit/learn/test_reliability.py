import numpy as np
import pytest

from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.reliability import answers_of, expected_calibration_error, reliability_bins


def test_the_expected_calibration_error_of_a_case_worked_by_hand() -> None:
    # bins of width 0.5: {0.3 wrong, 0.5 right} and {0.9 right, 0.7 wrong, 0.8 right}
    bins = reliability_bins([0.3, 0.9, 0.5, 0.7, 0.8], [False, True, True, False, True], num_bins=2)
    assert [one.num_answers for one in bins] == [2, 3]
    assert [one.confidence for one in bins] == pytest.approx([0.4, 0.8])
    assert [one.accuracy for one in bins] == pytest.approx([0.5, 2 / 3])
    assert expected_calibration_error(bins) == pytest.approx(2 / 5 * 0.1 + 3 / 5 * (0.8 - 2 / 3))


def test_each_answer_is_in_one_bin_and_the_edges_too() -> None:
    bins = reliability_bins([0.0, 0.1, 0.2, 1.0, 1.0 + 1e-12], [1, 1, 1, 0, 0], num_bins=10)
    assert [one.num_answers for one in bins] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]


def test_answers_that_are_as_right_as_they_say_have_no_error() -> None:
    bins = reliability_bins([0.75] * 4, [1, 1, 1, 0])
    assert expected_calibration_error(bins) == pytest.approx(0.0)


def test_nothing_answered_has_no_error() -> None:
    assert expected_calibration_error(reliability_bins([], [])) == 0.0


def test_answers_are_the_largest_probability_and_whether_it_is_the_true_class() -> None:
    said, right = answers_of([[0.2, 0.8], [0.6, 0.4]], [1, 1])
    assert said.tolist() == [0.8, 0.6]
    assert right.tolist() == [True, False]


def test_no_answers_are_no_answers() -> None:
    said, right = answers_of(np.zeros((0, 3)), [])
    assert (len(said), len(right)) == (0, 0)


@pytest.mark.parametrize(("said", "right"), [([0.5], [1, 0]), ([-0.7], [1]), ([1.2], [1]), ([float("nan")], [1])])
def test_what_is_no_probability_is_refused(said: list[float], right: list[int]) -> None:
    with pytest.raises(InvalidInputError):
        reliability_bins(said, right)


@pytest.mark.parametrize("num_bins", [0, -1, 1.5, True, 100_000])
def test_a_number_of_bins_that_is_none_is_refused(num_bins: int) -> None:
    with pytest.raises(InvalidParameterError, match="num_bins"):
        reliability_bins([0.5], [1], num_bins=num_bins)


def test_probabilities_and_classes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="2 true classes"):
        answers_of([[0.5, 0.5]], [0, 1])
