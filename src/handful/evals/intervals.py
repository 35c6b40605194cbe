"""How sure a measured number is.

Over example sets: each set (with its order) is one draw, so the mean has Student's t interval with n - 1 degrees of
freedom, mean ± t s / sqrt(n) (Student 1908). With a single set: the percentile bootstrap over queries (Efron 1979).
Two runs over the same queries: the paired bootstrap of the difference, queries drawn for both alike (Efron and
Tibshirani 1993; Koehn 2004), and McNemar's exact test of the answers that changed (McNemar 1947). All are of 95%.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handful.evals.metrics import Values
from handful.learn.probability import Vector

ROUNDING = 1e-9
"""Means of equal counts differ by less: (0.7 + 1.0 + 0.7) / 3 is below 0.8."""
_LEVEL = 0.95
_NUM_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def t_interval(values: Sequence[float], bounds: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """The interval of the mean of independent draws, at least two; cut at the `bounds` of what can be measured."""
    from scipy.stats import t

    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    reach = float(t.ppf(0.5 + _LEVEL / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample)))
    return Interval(mean, max(bounds[0], mean - reach), min(bounds[1], mean + reach))


def bootstrap(
    num_queries: int, measure: Callable[[NDArray[Any]], Values], *, seed: int = 0, num_resamples: int = _NUM_RESAMPLES
) -> dict[str, Interval]:
    """Percentile intervals of everything `measure` says of a sample of queries, given as indexes `[n]`."""
    draw = np.random.default_rng(seed)
    whole = measure(np.arange(num_queries))
    samples = [measure(draw.integers(0, num_queries, num_queries)) for _ in range(num_resamples)]
    return {name: _percentiles(value, [sample[name] for sample in samples]) for name, value in whole.items()}


def paired_difference(first: Vector, second: Vector, *, seed: int = 0, num_resamples: int = 10_000) -> Interval:
    """`second - first`, the mean over queries `[n]`, with the paired bootstrap's interval."""
    gains = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    draw = np.random.default_rng(seed)
    means = [float(gains[draw.integers(0, len(gains), len(gains))].mean()) for _ in range(num_resamples)]
    return _percentiles(float(gains.mean()), means)


def mcnemar(num_lost: int, num_gained: int) -> float:
    """The exact two-sided p-value that as many answers were lost as gained: a binomial test with p = 1/2."""
    from scipy.stats import binomtest

    changed = num_lost + num_gained
    return float(binomtest(num_gained, changed, 0.5).pvalue) if changed else 1.0


def _percentiles(value: float, samples: Sequence[float]) -> Interval:
    low, high = np.quantile(samples, [0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2])
    return Interval(value, float(low), float(high))
