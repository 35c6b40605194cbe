"""Recipes: the ways to turn what a prompt says of an input into label probabilities that `auto` chooses between.

A recipe is log-linear in two readings of the same prompt:

    log q = score_weight * (log p - log bias) + head(hidden state)

p are the label words' probabilities and the head was fitted to labelled examples that the prompt doesn't show.
"""

from dataclasses import dataclass

import numpy as np

from handful.learn.calibrate import mean_bias
from handful.learn.heads import Head, HeadKind, NearestCentroid
from handful.learn.logistic import Logistic
from handful.learn.probability import Classes, Mask, Matrix, Vector, log_normalise, log_of

# How many labelled examples the bias measured without labels is worth.
_PRIOR_ROWS = 8.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """`score_weight` 0 asks for no scores; `kind` None asks for no hidden states."""

    name: str
    score_weight: float = 0.0
    calibrated: bool = False
    kind: HeadKind | None = None


PLAIN = Recipe("plain", score_weight=1.0)
CALIBRATED = Recipe("calibrated", score_weight=1.0, calibrated=True)
CENTROID = Recipe("centroid", kind=NearestCentroid())
LOGISTIC = Recipe("logistic", kind=Logistic())
CENTROID_AND_SCORE = Recipe("centroid + calibrated", 1.0, True, NearestCentroid())
LOGISTIC_AND_SCORE = Recipe("logistic + calibrated", 1.0, True, Logistic())
RECIPES = (PLAIN, CALIBRATED, CENTROID, LOGISTIC, CENTROID_AND_SCORE, LOGISTIC_AND_SCORE)


@dataclass(frozen=True, slots=True)
class Read:
    """What one prompt says of some inputs: label log-probabilities `[n, labels]`, hidden states `[n, hidden_size]`.

    What a recipe doesn't need may be None.
    """

    log_probabilities: Matrix | None = None
    vectors: Matrix | None = None

    def rows(self, mask: Mask) -> "Read":
        """Some of the rows."""
        return Read(
            None if self.log_probabilities is None else self.log_probabilities[mask],
            None if self.vectors is None else self.vectors[mask],
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """A recipe fitted behind one prompt: the bias of its label words and the head on its hidden states."""

    score_weight: float
    bias: Vector
    head: Head | None = None

    def log_probabilities(self, read: Read) -> Matrix:
        """Rows normalised, `[n, labels]`."""
        parts: list[Matrix] = []
        if self.score_weight and read.log_probabilities is not None:
            parts.append(self.score_weight * log_normalise(read.log_probabilities - log_of(self.bias)))
        if self.head is not None and read.vectors is not None:
            parts.append(self.head.log_probabilities(read.vectors))
        return log_normalise(np.sum(parts, axis=0))


def fit_recipe(
    recipe: Recipe, read: Read, classes: Classes, prior_bias: Vector, heads: dict[HeadKind, Head] | None = None
) -> Fitted:
    """Fit a recipe to labelled inputs that the prompt doesn't show (there may be none, if the recipe has no head).

    `prior_bias` is the prompt's bias measured without labels; labelled rows refine it. `heads` keeps what was fitted
    to the same rows for another recipe.
    """
    num_labels = len(prior_bias)
    bias = np.full(num_labels, 1.0 / num_labels)
    if recipe.calibrated:
        bias = labelled_bias(read.log_probabilities, classes, prior_bias)
    if recipe.kind is None or read.vectors is None:
        return Fitted(recipe.score_weight, bias)
    kept = {} if heads is None else heads
    if recipe.kind not in kept:
        kept[recipe.kind] = recipe.kind.fit(read.vectors, classes, num_labels)
    return Fitted(recipe.score_weight, bias, kept[recipe.kind])


def labelled_bias(log_probabilities: Matrix | None, classes: Classes, prior_bias: Vector) -> Vector:
    """The mean probabilities that a balanced batch would have (batch calibration with known labels), `[labels]`:
    the mean over classes of each class's mean, joined with `prior_bias` as if that were `_PRIOR_ROWS` examples more.
    A class without examples leaves only the prior.
    """
    present = np.unique(classes)
    if log_probabilities is None or len(present) < len(prior_bias):
        return prior_bias
    means = np.stack([mean_bias(log_probabilities[classes == label]) for label in present])
    weight = len(classes) / (len(classes) + _PRIOR_ROWS)
    bias: Vector = weight * means.mean(axis=0) + (1 - weight) * prior_bias
    return bias
