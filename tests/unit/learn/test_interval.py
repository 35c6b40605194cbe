import pytest

from handful.errors import InvalidParameterError
from handful.learn.interval import clopper_pearson_low, wilson


def test_the_wilson_interval_of_a_published_case() -> None:
    # 15 of 148 (Newcombe 1998, table I, method 3): 0.0624 to 0.1605
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)


def test_the_interval_of_nothing_tried_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_interval_stays_between_0_and_1() -> None:
    low, high = wilson(0, 3)
    assert low == pytest.approx(0.0)
    assert 0.5 < high < 0.6
    assert wilson(3, 3) == pytest.approx((1 - high, 1.0))


def test_the_exact_bound_of_cases_with_a_closed_form() -> None:
    # all of n right: p^n = alpha; one of n right: 1 - (1 - p)^n = alpha
    assert clopper_pearson_low(59, 59) == pytest.approx(0.05 ** (1 / 59))
    assert clopper_pearson_low(1, 10, 0.025) == pytest.approx(1 - 0.975 ** (1 / 10))


def test_the_exact_bound_of_a_case_worked_by_hand() -> None:
    # 3 or more of 4 right has the probability 4p^3(1-p) + p^4; at p = 0.5 that is 5/16
    assert clopper_pearson_low(3, 4, 5 / 16) == pytest.approx(0.5)


def test_nothing_right_promises_nothing() -> None:
    assert clopper_pearson_low(0, 50) == clopper_pearson_low(0, 0) == 0.0


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0])
def test_an_error_that_is_no_probability_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidParameterError, match="alpha"):
        clopper_pearson_low(1, 2, alpha)
