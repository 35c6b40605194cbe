"""What holds for thresholds and reliability whatever was answered."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from handful.errors import InvalidInputError
from handful.learn.interval import clopper_pearson_low, wilson
from handful.learn.reliability import expected_calibration_error, reliability_bins
from handful.learn.threshold import Threshold, threshold_for

answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=80)
shares = st.floats(0.05, 0.95)


def found(given_answers: list[tuple[float, bool]], precision: float) -> Threshold | None:
    try:
        return threshold_for([one for one, _ in given_answers], [right for _, right in given_answers], precision)
    except InvalidInputError:
        return None


@given(answers, shares, shares)
def test_a_higher_precision_never_gives_a_lower_threshold(
    given_answers: list[tuple[float, bool]], one: float, other: float
) -> None:
    low, high = found(given_answers, min(one, other)), found(given_answers, max(one, other))
    if high is not None:
        assert low is not None
        assert low.value <= high.value


@given(answers, shares)
def test_a_threshold_counts_the_answers_from_it_on(given_answers: list[tuple[float, bool]], precision: float) -> None:
    made = found(given_answers, precision)
    if made is not None:
        above = [right for said, right in given_answers if said >= made.value]
        assert (made.num_answered, made.num_right, made.num_tried) == (len(above), sum(above), len(given_answers))
        assert precision <= made.lower_bound <= made.num_right / made.num_answered


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.001, 0.3))
def test_a_lower_bound_lies_below_the_share_and_grows_with_what_is_right(num: int, more: int, alpha: float) -> None:
    tried = num + more
    low = clopper_pearson_low(num, tried, alpha)
    assert 0.0 <= low <= (num / tried if tried else 0.0) + 1e-12
    if more:
        assert low <= clopper_pearson_low(num + 1, tried, alpha) + 1e-12
    assert wilson(num, tried)[0] <= wilson(num, tried)[1]


@given(answers, st.integers(1, 30))
def test_bins_hold_every_answer_once_and_the_error_is_a_share(
    given_answers: list[tuple[float, bool]], num_bins: int
) -> None:
    said = np.array([one for one, _ in given_answers])
    bins = reliability_bins(said, [right for _, right in given_answers], num_bins=num_bins)
    assert sum(one.num_answers for one in bins) == len(said)
    assert 0.0 <= expected_calibration_error(bins) <= 1.0
    for one in bins:
        assert one.num_answers == 0 or one.low - 1e-9 <= one.confidence <= one.high + 1e-9
