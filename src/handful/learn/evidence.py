"""What recipes achieved on examples that were held out from them, and the rule that chooses by it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from handful.learn.crossfit import Fold, held_out
from handful.learn.interval import wilson
from handful.learn.probability import Classes, Mask, Matrix, Vector, log_loss, log_normalise
from handful.learn.recipe import PLAIN, Recipe

# Several recipes are tried against the default, so one standard error would be passed by luck every few times.
_CLEAR = 2.0
_SHARPNESSES = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one recipe achieved on the examples that were held out from it; log_loss is a mean in nats, None for
    none tried."""

    recipe: str
    num_right: int
    num_tried: int
    log_loss: float | None

    @property
    def accuracy(self) -> float:
        """Share of right answers; 0 for none tried."""
        return self.num_right / self.num_tried if self.num_tried else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95% interval of the accuracy: (0, 1) for none tried."""
        return wilson(self.num_right, self.num_tried)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "recipe": self.recipe,
            "num_right": self.num_right,
            "num_tried": self.num_tried,
            "log_loss": self.log_loss,
        }


@dataclass(frozen=True, slots=True)
class Judged:
    """A recipe with what it said of the held-out examples: whether right, log loss, how sure it was; each `[n]`."""

    recipe: Recipe
    is_right: Vector
    losses: Vector
    sharpness: float = 1.0
    confidences: Vector = field(default_factory=lambda: np.zeros(0))

    @property
    def verdict(self) -> Verdict:
        """The sums."""
        loss = float(self.losses.mean()) if len(self.losses) else None
        return Verdict(
            recipe=self.recipe.name, num_right=int(self.is_right.sum()), num_tried=len(self.losses), log_loss=loss
        )


def judge(folds: Sequence[Fold], recipes: Sequence[Recipe], classes: Classes) -> list[Judged]:
    """Cross-validate recipes on the labelled examples; answers in the order of `recipes`."""
    found = held_out(folds, recipes, classes)
    return [judge_answers(recipe, *answers, classes) for recipe, answers in zip(recipes, found, strict=True)]


def judge_answers(recipe: Recipe, answers: Matrix, reached: Mask, classes: Classes) -> Judged:
    """What a recipe achieved that said `answers` `[n, labels]` of the rows `reached`, which were held out from it."""
    said, true = answers[reached], classes[reached]
    if not len(true):
        return Judged(recipe, np.zeros(0), np.zeros(0))
    sharpness = best_sharpness(said, true)
    final = log_normalise(sharpness * said)
    is_right = (said.argmax(axis=1) == true).astype(np.float64)
    return Judged(recipe, is_right, log_loss(final, true), sharpness, np.exp(final.max(axis=1)))


def best_sharpness(log_probabilities: Matrix, classes: Classes) -> float:
    """The factor on the log-probabilities that makes the held-out log loss least. It changes no prediction.

    A penalty worth one nat for each factor of e keeps a handful of examples from making it extreme.
    """

    def cost(factor: float) -> float:
        return float(log_loss(log_normalise(factor * log_probabilities), classes).sum()) + abs(float(np.log(factor)))

    return min(_SHARPNESSES, key=cost)


def choose(judged: Sequence[Judged], default: Recipe) -> tuple[Judged, str]:
    """The default, unless the evidence against it is clear; with the reason in words. `judged` holds `PLAIN`.

    Clear is: another recipe's log loss is lower by more than `_CLEAR` standard errors of the paired difference. What is
    chosen is never worse than plain scoring (fewer right answers and a higher log loss).
    """
    by_name = {one.recipe.name: one for one in judged}
    kept, plain = by_name[default.name], by_name[PLAIN.name]
    if not len(kept.losses):
        return kept, "Too few examples to hold any out: it is the choice that is known to be good for so few."
    best = min(judged, key=lambda one: float(one.losses.mean()))
    if best is not kept and _is_clearly_better(best, kept):
        kept, reason = best, f"Better than {default.name!r} by more than two standard errors of the log loss."
    else:
        reason = "The default for so many examples; nothing else was clearly better."
    if _is_worse(kept, plain):
        return plain, f"On the held-out examples {kept.recipe.name!r} was worse than plain scoring."
    return kept, reason


def _is_clearly_better(one: Judged, other: Judged) -> bool:
    gains = other.losses - one.losses
    return bool(len(gains) > 1 and gains.mean() > _CLEAR * gains.std(ddof=1) / np.sqrt(len(gains)))


def _is_worse(one: Judged, other: Judged) -> bool:
    return bool(one.is_right.sum() < other.is_right.sum() and one.losses.mean() > other.losses.mean())
