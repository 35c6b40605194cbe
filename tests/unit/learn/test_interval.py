import pytest

from handful.learn.interval import wilson


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
