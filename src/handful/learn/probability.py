"""Arithmetic of label probabilities, in log space and float64. Rows are inputs, columns are labels."""

import numpy as np
from numpy.typing import NDArray

from handful.errors import EngineError

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Classes = NDArray[np.int64]
Mask = NDArray[np.bool_]

# The least probability that a logarithm is taken of: a label that underflowed to 0 stays comparable.
SMALLEST = 1e-30


def log_sum_exp(values: Matrix) -> Matrix:
    """log(sum(exp(row))) of each row, as a column `[n, 1]`; taken relative to the largest value: no overflow."""
    largest = values.max(axis=1, keepdims=True)
    total: Matrix = largest + np.log(np.exp(values - largest).sum(axis=1, keepdims=True))
    return total


def log_normalise(logits: Matrix) -> Matrix:
    """Log-probabilities proportional to exp(logits): each row's exponentials sum to 1.

    Raises EngineError where a row has no finite value or holds one that is no number.
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.size and (np.isnan(values).any() or not np.isfinite(values.max(axis=1)).all()):
        raise EngineError("The model gave no usable probabilities for the labels.")
    return values - log_sum_exp(values) if values.size else values


def normalise(logits: Matrix) -> Matrix:
    """Probabilities proportional to exp(logits); each row sums to 1 to the last bit that float64 allows."""
    weights = np.exp(log_normalise(logits))
    total: Matrix = weights / weights.sum(axis=1, keepdims=True) if weights.size else weights
    return total


def log_of(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm, with zeros taken as `SMALLEST`."""
    return np.log(np.maximum(probabilities, SMALLEST))


def log_loss(log_probabilities: Matrix, classes: Classes) -> Vector:
    """Minus the log-probability of each row's true class: `[n]`."""
    rows: Vector = -log_probabilities[np.arange(len(classes)), classes]
    return rows
