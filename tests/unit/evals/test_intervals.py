"""Intervals: against tables and by hand, and whether 95% of them hold the truth."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from handful.evals.intervals import bootstrap, mcnemar, paired_difference, t_interval


def mean_of(sample: NDArray[Any], index: NDArray[Any]) -> dict[str, float]:
    return {"mean": float(sample[index].mean())}


def test_the_t_interval_is_the_textbooks() -> None:
    # n = 5, mean 3, s = sqrt(2.5); t(0.975, 4) = 2.776 in every table.
    found = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    reach = 2.7764451 * np.sqrt(2.5) / np.sqrt(5)
    assert (found.mean, found.low, found.high) == pytest.approx((3.0, 3.0 - reach, 3.0 + reach))


def test_the_t_interval_ends_where_the_scale_does() -> None:
    found = t_interval([0.2, 1.0], (0.0, 1.0))
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_bootstrap_of_a_share_is_about_the_normal_one() -> None:
    right = np.array([1.0] * 80 + [0.0] * 20)
    found = bootstrap(100, lambda index: {"accuracy": float(right[index].mean())})["accuracy"]
    assert found.mean == 0.8
    assert (found.low, found.high) == pytest.approx((0.8 - 1.96 * 0.04, 0.8 + 1.96 * 0.04), abs=0.02)


def test_about_95_of_100_bootstrap_intervals_hold_the_truth() -> None:
    draw = np.random.default_rng(5)
    held = 0
    for seed in range(100):
        measure = partial(mean_of, draw.normal(0.0, 1.0, 60))
        found = bootstrap(60, measure, seed=seed, num_resamples=200)["mean"]
        held += found.low <= 0.0 <= found.high
    assert 86 <= held <= 100


def test_the_same_answers_make_the_same_interval() -> None:
    one, other = np.array([0.0, 1.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0, 0.0])
    assert paired_difference(one, other) == paired_difference(one, other)
    assert paired_difference(one, other).mean == 0.25


def test_a_paired_difference_is_surer_than_the_spread_of_its_parts() -> None:
    one = np.tile([0.0, 1.0], 100)
    found = paired_difference(one, np.where(np.arange(200) % 20 == 0, 1.0, one))
    assert found.mean == 0.05
    assert 0 < found.low < 0.05 < found.high < 0.1  # although each alone varies by 0.5


def test_mcnemar_by_hand() -> None:
    # 1 lost, 5 gained: P(at most 1 or at least 5 of 6) = 2 * (1 + 6) / 64.
    assert mcnemar(1, 5) == pytest.approx(14 / 64)
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(0, 0) == 1.0
