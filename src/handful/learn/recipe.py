"""Recipes: the ways to turn what a prompt says of an input into label probabilities that `auto` chooses between.

A recipe is log-linear in two readings of the same prompt:

    log q = score_weight * (log p - log bias) + head(hidden state) + head(encoder's vector)

p are the label words' probabilities and the heads were fitted to labelled examples that the prompt doesn't show.
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
    """`score_weight` 0 asks for no scores; `kind` None for no hidden states, `encoder_kind` None for no encoder."""

    name: str
    score_weight: float = 0.0
    calibrated: bool = False
    kind: HeadKind | None = None
    encoder_kind: HeadKind | None = None

    @property
    def has_head(self) -> bool:
        """Whether there is something to fit to labelled examples."""
        return self.kind is not None or self.encoder_kind is not None


PLAIN = Recipe("plain", score_weight=1.0)
CALIBRATED = Recipe("calibrated", score_weight=1.0, calibrated=True)
CENTROID = Recipe("centroid", kind=NearestCentroid())
LOGISTIC = Recipe("logistic", kind=Logistic())
CENTROID_AND_SCORE = Recipe("centroid + calibrated", 1.0, True, NearestCentroid())
LOGISTIC_AND_SCORE = Recipe("logistic + calibrated", 1.0, True, Logistic())
RECIPES = (PLAIN, CALIBRATED, CENTROID, LOGISTIC, CENTROID_AND_SCORE, LOGISTIC_AND_SCORE)
ENCODER = Recipe("encoder", encoder_kind=Logistic())
ENCODER_AND_ALL = Recipe("logistic + calibrated + encoder", 1.0, True, Logistic(), Logistic())
ENCODER_RECIPES = (ENCODER, ENCODER_AND_ALL)
TUNED = Recipe("tuned", score_weight=1.0)  # of prompts whose start was tuned (tuned_prompts)


@dataclass(frozen=True, slots=True)
class Read:
    """What one prompt says of some inputs: label log-probabilities `[n, labels]`, hidden states `[n, hidden_size]`; and
    what an encoder says of them, whatever the prompt: `encoded` `[n, dim]`.

    What a recipe doesn't need may be None.
    """

    log_probabilities: Matrix | None = None
    vectors: Matrix | None = None
    encoded: Matrix | None = None

    def rows(self, mask: Mask) -> "Read":
        """Some of the rows."""
        return Read(
            None if self.log_probabilities is None else self.log_probabilities[mask],
            None if self.vectors is None else self.vectors[mask],
            None if self.encoded is None else self.encoded[mask],
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """A recipe fitted behind one prompt: the bias of its label words, the heads on hidden states and on an encoder."""

    score_weight: float
    bias: Vector
    head: Head | None = None
    encoder_head: Head | None = None

    def log_probabilities(self, read: Read) -> Matrix:
        """Rows normalised, `[n, labels]`."""
        parts: list[Matrix] = []
        if self.score_weight and read.log_probabilities is not None:
            parts.append(self.score_weight * log_normalise(read.log_probabilities - log_of(self.bias)))
        if self.head is not None and read.vectors is not None:
            parts.append(self.head.log_probabilities(read.vectors))
        if self.encoder_head is not None and read.encoded is not None:
            parts.append(self.encoder_head.log_probabilities(read.encoded))
        return log_normalise(np.sum(parts, axis=0))


Heads = dict[tuple[str, HeadKind], Head]


def fit_recipe(recipe: Recipe, read: Read, classes: Classes, prior_bias: Vector, heads: Heads | None = None) -> Fitted:
    """Fit a recipe to labelled inputs that the prompt doesn't show (there may be none, if the recipe has no head).

    `prior_bias` is the prompt's bias measured without labels; labelled rows refine it. `heads` keeps what was fitted
    to the same rows for another recipe.
    """
    num_labels = len(prior_bias)
    bias = np.full(num_labels, 1.0 / num_labels)
    if recipe.calibrated:
        bias = labelled_bias(read.log_probabilities, classes, prior_bias)
    kept: Heads = {} if heads is None else heads

    def fitted(name: str, kind: HeadKind | None, features: Matrix | None) -> Head | None:
        if kind is None or features is None:
            return None
        if (name, kind) not in kept:
            kept[name, kind] = kind.fit(features, classes, num_labels)
        return kept[name, kind]

    head = fitted("state", recipe.kind, read.vectors)
    return Fitted(recipe.score_weight, bias, head, fitted("encoder", recipe.encoder_kind, read.encoded))


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
