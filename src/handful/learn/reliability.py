"""Whether probabilities mean what they say: of the answers given with 80%, are 80% right?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handful.errors import InvalidInputError, InvalidParameterError

MAX_BINS = 1_000


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers whose confidence lies in (low, high]: their mean confidence, and the share of them that is right.

    Both are 0 in an empty bin.
    """

    low: float
    high: float
    num_answers: int
    confidence: float
    accuracy: float

    @property
    def gap(self) -> float:
        """How much surer the answers are than they are right; negative where they are too modest."""
        return self.confidence - self.accuracy


def reliability_bins(confidences: ArrayLike, is_right: ArrayLike, *, num_bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Equally wide bins over [0, 1] (Guo et al. 2017, arXiv 1706.04599, section 2).

    confidences  `[n]`, the probability of each answer that was given
    is_right     `[n]`, whether it was right

    Raises InvalidInputError for confidences outside [0, 1] or lists that differ in length.
    """
    if isinstance(num_bins, bool) or not isinstance(num_bins, int) or not 1 <= num_bins <= MAX_BINS:
        raise InvalidParameterError("num_bins", f"must be a whole number from 1 to {MAX_BINS}, not {num_bins!r}.")
    said, right = checked_answers(confidences, is_right)
    # The upper edge belongs to a bin, so that 1 is in the last; 0 has none below it and joins the first.
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    bins = np.clip(np.searchsorted(edges, said, side="left") - 1, 0, num_bins - 1)
    return tuple(_bin(edges[i], edges[i + 1], said[bins == i], right[bins == i]) for i in range(num_bins))


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """ECE: the mean |confidence - accuracy| of the bins, each weighted by its answers; 0 for no answers.

    sum_b n_b / n |acc(b) - conf(b)| (Guo et al. 2017, equation 3)
    """
    total = sum(one.num_answers for one in bins)
    return sum(one.num_answers * abs(one.gap) for one in bins) / total if total else 0.0


def answers_of(probabilities: ArrayLike, classes: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """From `[n, labels]` and the true columns `[n]`: the confidence of each answer (the argmax), and whether it is
    right."""
    rows = np.asarray(probabilities, dtype=np.float64)
    true = np.asarray(classes)
    if rows.ndim != 2 or len(rows) != len(true):
        raise InvalidInputError(f"There are probabilities of shape {rows.shape} and {len(true)} true classes.")
    if not len(rows):
        return np.zeros(0), np.zeros(0, dtype=np.bool_)
    return rows.max(axis=1), rows.argmax(axis=1) == true


def checked_answers(confidences: ArrayLike, is_right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as arrays of numbers `[n]`. Raises InvalidInputError as `reliability_bins` does."""
    said = np.asarray(confidences, dtype=np.float64)
    right = np.asarray(is_right, dtype=np.float64)
    if said.shape != right.shape or said.ndim != 1:
        raise InvalidInputError(f"There are {said.size} confidences and {right.size} answers.")
    # Rounding may leave a probability a hair above 1.
    if not ((said >= 0.0) & (said <= 1.0 + 1e-9)).all():
        raise InvalidInputError("A confidence must be from 0 to 1.", fix="Give probabilities, not logarithms.")
    return said, right


def _bin(low: float, high: float, said: NDArray[np.float64], right: NDArray[np.float64]) -> ReliabilityBin:
    if not len(said):
        return ReliabilityBin(float(low), float(high), 0, 0.0, 0.0)
    return ReliabilityBin(float(low), float(high), len(said), float(said.mean()), float(right.mean()))
