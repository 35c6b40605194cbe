"""From which probability on to answer, so that a wanted share of the answers is right; below it, abstain.

The threshold is found on answers to examples that were held out, and comes with what it promises: a lower bound of the
share that is right, which holds with a stated confidence on inputs like those examples.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.interval import clopper_pearson_low
from handful.learn.reliability import checked_answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Answer where the probability is at least `value`.

    precision    the share of right answers that was asked for
    lower_bound  the share that is promised, with probability `confidence`; at least `precision`
    num_right    of the `num_answered` held-out examples above the value; `num_tried` were there
    """

    value: float
    precision: float
    lower_bound: float
    confidence: float
    num_right: int
    num_answered: int
    num_tried: int

    @property
    def coverage(self) -> float:
        """The share of the held-out examples that got an answer."""
        return self.num_answered / self.num_tried

    def __str__(self) -> str:
        return (
            f"answer from {self.value:.3f}: {self.num_right} of {self.num_answered} right, at least "
            f"{self.lower_bound:.0%} with {self.confidence:.0%} confidence; {self.coverage:.0%} answered"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"coverage": self.coverage}


def threshold_for(
    confidences: ArrayLike, is_right: ArrayLike, precision: float, *, confidence: float = 0.95
) -> Threshold:
    """The lowest threshold found that promises `precision` (Geifman and El-Yaniv 2017, arXiv 1705.08500).

    Bisection over the distinct confidences. At each step the exact binomial bound must hold; the chance of error,
    1 - confidence, is split evenly over the steps, so that having looked at several thresholds costs what it should.
    A higher `precision` never gives a lower threshold.

    confidences  `[n]`, the probability of each held-out answer; `is_right` `[n]`, whether it was right

    Raises InvalidInputError where the evidence promises no such precision at any threshold, saying how much it takes.
    """
    _check_share("precision", precision)
    _check_share("confidence", confidence)
    said, right = checked_answers(confidences, is_right)
    values = np.unique(said)
    num_steps = max(1, math.ceil(math.log2(len(values) + 1)))
    alpha = (1 - confidence) / num_steps
    found: Threshold | None = None
    low, high = 0, len(values) - 1
    while low <= high:
        middle = (low + high) // 2
        answered = said >= values[middle]
        num_right, num_answered = int(right[answered].sum()), int(answered.sum())
        bound = clopper_pearson_low(num_right, num_answered, alpha)
        if bound < precision:
            low = middle + 1
            continue
        high = middle - 1
        found = Threshold(
            value=float(values[middle]),
            precision=precision,
            lower_bound=bound,
            confidence=confidence,
            num_right=num_right,
            num_answered=num_answered,
            num_tried=len(said),
        )
    if found is None:
        raise _too_little(len(said), precision, confidence, num_steps)
    return found


def _too_little(num_tried: int, precision: float, confidence: float, num_steps: int) -> InvalidInputError:
    # n right answers out of n bound the share by alpha^(1/n)
    alpha = (1 - confidence) / num_steps
    needed = math.ceil(math.log(alpha) / math.log(precision))
    problem = f"{num_tried} held-out answers promise a precision of {precision:.0%} at no threshold"
    fix = (
        f"It takes at least {needed} that are all right at {confidence:.0%} confidence: give more labelled examples, "
        "or ask for less."
    )
    return InvalidInputError(f"{problem}.", fix=fix)


def _check_share(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise InvalidParameterError(name, f"must be more than 0 and less than 1, not {value!r}.")
