"""Classifiers on top of a representation. A fitted head is a frozen value made of arrays.

With few labels a head has far fewer examples than features, so each one is strongly regularised, and how strongly is
chosen by leaving examples out, never on the examples it was fitted to.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from handful.learn.probability import Classes, Matrix, Vector, log_loss, log_normalise, log_of

Floats = NDArray[np.float64]


class Head(Protocol):
    """Log-probabilities of the classes from features."""

    def log_probabilities(self, features: Matrix) -> Matrix:
        """`[n, num_features]` -> `[n, num_classes]`, rows normalised."""
        ...


class HeadKind(Protocol):
    """A way to fit a head. `classes` are 0 .. num_classes - 1; each must occur."""

    def fit(self, features: Matrix, classes: Classes, num_classes: int) -> Head:
        """A head fitted to `features` `[n, num_features]`."""
        ...


@dataclass(frozen=True, slots=True)
class LinearHead:
    """softmax(features @ weights + bias); weights `[num_features, num_classes]`."""

    weights: Matrix
    bias: Vector

    def log_probabilities(self, features: Matrix) -> Matrix:
        """See `Head.log_probabilities`."""
        return log_normalise(features @ self.weights + self.bias)


@dataclass(frozen=True, slots=True)
class NeighboursHead:
    """Shares of the classes among the `k` nearest stored rows, each class counted half a row more.

    divergence  "euclidean" between features, or "kl": KL(query || row) between label distributions, as in kNN prompting
                (Xu et al. 2023, arXiv 2303.13824)
    """

    rows: Matrix
    classes: Classes
    num_classes: int
    k: int
    divergence: str = "euclidean"

    def log_probabilities(self, features: Matrix) -> Matrix:
        """See `Head.log_probabilities`."""
        distances = self._divergences(features) if self.divergence == "kl" else self._distances(features)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : self.k]
        votes = np.zeros((len(features), self.num_classes))
        np.add.at(votes, (np.arange(len(features))[:, None], self.classes[nearest]), 1.0)
        return log_normalise(np.log(votes + 0.5))

    def _distances(self, features: Matrix) -> Matrix:
        squares: Matrix = (features**2).sum(axis=1)[:, None] + (self.rows**2).sum(axis=1) - 2 * features @ self.rows.T
        return squares

    def _divergences(self, features: Matrix) -> Matrix:
        own: Matrix = (features * log_of(features)).sum(axis=1)[:, None]
        return own - features @ log_of(self.rows).T


@dataclass(frozen=True, slots=True)
class Neighbours:
    """k-nearest neighbours; `k` is lowered to the number of rows where there are fewer."""

    k: int = 3
    divergence: str = "euclidean"

    def fit(self, features: Matrix, classes: Classes, num_classes: int) -> NeighboursHead:
        """Keep the rows."""
        return NeighboursHead(features, classes, num_classes, min(self.k, len(features)), self.divergence)


@dataclass(frozen=True, slots=True)
class NearestCentroid:
    """Distance to the mean of each class, of standardised features (Hidden Calibration, Cho et al. 2024,
    arXiv 2406.16535), as log-probabilities: softmax(-||z - c||^2 / (2 t)), t chosen by leave-one-out log loss."""

    def fit(self, features: Matrix, classes: Classes, num_classes: int) -> LinearHead:
        """Means, and the temperature."""
        mean, scale = standard_scale(features)
        rows = (features - mean) / scale
        held_out = _held_out_distances(rows, classes, num_classes)
        temperature = _best_temperature(held_out, classes)
        centroids = class_means(rows, classes, num_classes)
        weights = centroids.T / temperature
        bias = -(centroids**2).sum(axis=1) / (2 * temperature)
        return LinearHead(weights / scale[:, None], bias - (mean / scale) @ weights)


def standard_scale(features: Matrix) -> tuple[Vector, Vector]:
    """Mean and scale `[num_features]` of the columns. A few rows measure a column's spread badly, and a column that
    happens to be even would be blown up, so half of each variance is the mean variance of all columns."""
    variance = features.var(axis=0)
    scale = np.sqrt(0.5 * variance + 0.5 * variance.mean())
    return features.mean(axis=0), np.where(scale > 0, scale, 1.0)


def class_means(rows: Matrix, classes: Classes, num_classes: int) -> Matrix:
    """`[num_classes, num_features]`."""
    return np.stack([rows[classes == label].mean(axis=0) for label in range(num_classes)])


def _held_out_distances(rows: Matrix, classes: Classes, num_classes: int) -> Matrix:
    """Half the squared distance of each row to each class mean, its own class's mean taken without the row itself.

    A class of one row has no mean without it; that row counts as far from all, and teaches nothing.
    """
    means = class_means(rows, classes, num_classes)
    distances: Matrix = ((rows[:, None, :] - means[None]) ** 2).sum(axis=2) / 2
    counts = np.bincount(classes, minlength=num_classes)[classes]
    own = np.arange(len(rows)), classes
    # mean without the row = mean + (mean - row) / (count - 1), so its distance is the old one times (n / (n - 1))^2
    factors = np.where(counts > 1, (counts / np.maximum(counts - 1, 1)) ** 2, 1.0)
    distances[own] *= factors
    distances[counts < 2] = 0.0
    return distances


def _best_temperature(distances: Matrix, classes: Classes) -> float:
    span = max(float(np.abs(distances - distances.mean(axis=1, keepdims=True)).mean()), 1e-12)
    candidates = [span * factor for factor in (0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0, 6.0, 12.0)]
    losses = [log_loss(log_normalise(-distances / t), classes).mean() for t in candidates]
    return candidates[int(np.argmin(losses))]
