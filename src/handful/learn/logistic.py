"""Logistic regression for few examples and many features.

The features are standardised and rotated into the span of the examples (at most as many dimensions as there are
examples). The penalty is on the length of the weights, which a rotation doesn't change, so nothing is lost and a fit
takes milliseconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from handful.learn.heads import LinearHead, standard_scale
from handful.learn.probability import Classes, Mask, Matrix, Vector, log_loss, log_normalise

# Inverse strengths of the penalty (scikit-learn's C), for features divided by sqrt(num_features).
STRENGTHS = (0.06, 0.6, 6.0)
_MAX_FOLDS = 4


@dataclass(frozen=True, slots=True)
class Logistic:
    """Multinomial logistic regression with an L2 penalty; `c` None chooses it from `STRENGTHS` by leaving out.

    The choice is the strongest penalty whose held-out log loss is within one standard error of the best.
    """

    c: float | None = None
    seed: int = 0

    def fit(self, features: Matrix, classes: Classes, num_classes: int) -> LinearHead:
        """A linear head on the raw features."""
        from threadpoolctl import threadpool_limits  # here, like scikit-learn, which brings it

        mean, scale = standard_scale(features)
        scale = scale * np.sqrt(features.shape[1])
        rows = (features - mean) / scale
        left, lengths, directions = np.linalg.svd(rows, full_matrices=False)
        inner = left * lengths
        # The matrices are tiny: threads that wait for each other take ten times as long as one.
        with threadpool_limits(limits=1):
            strength = self.c if self.c is not None else _choose(inner, classes, num_classes, self.seed)
            weights, bias = _fit(inner, classes, num_classes, strength)
        weights = directions.T @ weights / scale[:, None]
        return LinearHead(weights, bias - mean @ weights)


def _fit(rows: Matrix, classes: Classes, num_classes: int, c: float) -> tuple[Matrix, Vector]:
    """Weights `[num_features, num_classes]` and bias `[num_classes]`."""
    from sklearn.linear_model import LogisticRegression  # here: it takes a second to import

    model = LogisticRegression(C=c, max_iter=1000).fit(rows, classes)
    present = model.classes_
    weights = np.zeros((rows.shape[1], num_classes))
    bias = np.full(num_classes, -30.0)
    if len(present) == 2:  # one column of weights, for the second class against the first
        weights[:, present[1]] = model.coef_[0]
        bias[present] = (0.0, model.intercept_[0])
    else:
        weights[:, present] = model.coef_.T
        bias[present] = model.intercept_
    return weights, bias


def _choose(rows: Matrix, classes: Classes, num_classes: int, seed: int) -> float:
    if np.bincount(classes, minlength=num_classes).min() < 2:
        return 1.0  # nothing can be left out of a class of one
    losses = {c: _held_out_losses(rows, classes, num_classes, c, seed) for c in STRENGTHS}
    best = min(losses, key=lambda c: float(losses[c].mean()))
    for c in STRENGTHS:
        gap = losses[c] - losses[best]
        if gap.mean() <= gap.std() / np.sqrt(len(gap)):
            return c
    return best


def _held_out_losses(rows: Matrix, classes: Classes, num_classes: int, c: float, seed: int) -> Vector:
    losses = np.zeros(len(rows))
    for held in stratified_folds(classes, _MAX_FOLDS, seed):
        kept = ~held
        weights, bias = _fit(rows[kept], classes[kept], num_classes, c)
        losses[held] = log_loss(log_normalise(rows[held] @ weights + bias), classes[held])
    return losses


def stratified_folds(classes: Classes, num_folds: int, seed: int = 0) -> Iterator[Mask]:
    """Masks `[n]` of the rows to leave out, one a fold: each row once, the classes spread evenly over the folds.

    There are never more folds than the largest class has rows, so a class keeps a row in every fold where it has two.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    ordered = order[np.argsort(classes[order], kind="stable")]
    fold_of = np.empty(len(classes), dtype=np.int64)
    num = min(num_folds, int(np.bincount(classes).max()))
    fold_of[ordered] = np.arange(len(classes)) % num
    for fold in range(num):
        yield fold_of == fold
