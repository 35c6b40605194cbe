"""Calibration: taking the prompt's own label bias out of label probabilities.

All methods are one formula, q_y proportional to p_y / b_y, and differ in the bias b that they divide by:

contextual   b = mean of p over inputs that say nothing, "N/A", "" and "[MASK]", behind the same prompt
             (Zhao et al. 2021, arXiv 2102.09690: W = diag(p_cf)^-1, b = 0)
domain       b = mean of p over random words of texts of the domain (Fei et al. 2023, arXiv 2305.19148)
batch        b = mean of p over a batch of real inputs (Zhou et al. 2023, arXiv 2309.17249); it takes the labels to be
             about equally frequent in the batch. `RunningBias` keeps the mean over a stream of batches
label prior  b = (share of the label among the examples) ^ tau (arXiv 2305.14345 and others): a free correction for
             unbalanced examples
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from handful.learn.probability import Matrix, Vector, log_normalise, log_of

Calibration = Literal["none", "contextual", "domain", "batch"]
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)


def mean_bias(log_probabilities: Matrix) -> Vector:
    """The bias that a set of rows shows: their mean probabilities, normalised to sum to 1. `[labels]`."""
    mean = np.exp(log_normalise(log_probabilities)).mean(axis=0)
    bias: Vector = mean / mean.sum()
    return bias


def remove_bias(log_probabilities: Matrix, bias: Vector) -> Matrix:
    """log q with q_y proportional to p_y / bias_y; rows are normalised. A bias of 0 is taken as the smallest number."""
    return log_normalise(log_probabilities - log_of(bias))


def label_prior(classes: Sequence[int], num_labels: int, *, tau: float = 1.0) -> Vector:
    """The bias of unbalanced examples: share of each label to the power of tau, normalised to sum to 1.

    Each label counts one example more than it has, so that one that wasn't shown is not divided by zero.
    """
    counts = np.bincount(np.asarray(classes, dtype=np.int64), minlength=num_labels).astype(np.float64) + 1.0
    weights = (counts / counts.sum()) ** tau
    prior: Vector = weights / weights.sum()
    return prior


@dataclass(slots=True)
class RunningBias:
    """The mean probabilities over everything seen so far: batch calibration of a stream (arXiv 2309.17249, section 3).

    `num_rows` inputs were seen. With none, the bias is uniform.
    """

    num_labels: int
    num_rows: int = 0
    _total: Vector | None = None

    def update(self, log_probabilities: Matrix) -> None:
        """Take another batch in."""
        seen = np.exp(log_normalise(log_probabilities)).sum(axis=0)
        self._total = seen if self._total is None else self._total + seen
        self.num_rows += len(log_probabilities)

    @property
    def bias(self) -> Vector:
        """The mean over all rows, `[labels]`; it sums to 1."""
        if self._total is None or not self.num_rows:
            return np.full(self.num_labels, 1.0 / self.num_labels)
        bias: Vector = self._total / self._total.sum()
        return bias
