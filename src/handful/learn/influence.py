"""Which examples help and which hurt: what the held-out log loss is with an example and without it.

With labelled inputs that aren't examples, each example is left out once (`leave_one_out`). Without, many prompts of
half of the examples are read on the other half, and an example's effect is the difference between the prompts that show
it and those that don't (`subset_influence`, after Nguyen and Wong 2023, arXiv 2302.11042). Losses are those of
calibrated answers (the mean over the batch taken out), so that an example isn't blamed for the balance of the labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handful.backend import Backend
from handful.errors import InvalidInputError
from handful.learn.calibrate import mean_bias, remove_bias
from handful.learn.probability import Classes, Mask, Matrix, Vector, log_loss
from handful.learn.reading import Reader
from handful.learn.representation import classes_of
from handful.learn.selection import random_balanced
from handful.task.inputs import Input
from handful.task.task import Example, Task

_FEWEST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """What one example (its index) does.

    effect           log loss without it minus log loss with it, in nats a held-out input: below 0 it hurts
    error            the standard error of the effect
    own_probability  of its own label, when others are shown; low for a label that may be wrong. None where unknown
    """

    index: int
    effect: float
    error: float
    own_probability: float | None = None

    @property
    def hurts(self) -> bool:
        """Whether the effect is below 0 by more than two standard errors."""
        return self.effect < -2 * self.error


def leave_one_out(task: Task, backend: Backend, held_out: Sequence[Example]) -> list[Influence]:
    """The influence of each of the task's examples on labelled inputs that it doesn't show, those that hurt most first.

    It costs a prefix for each example, and a pass for each example and held-out input. Raises InvalidInputError.
    """
    if not task.examples or not held_out:
        raise InvalidInputError("Leaving one out needs examples and held-out ones.", fix="Use `subset_influence`.")
    inputs: list[Input] = [example.inputs for example in held_out]
    classes = classes_of([example.output for example in held_out], task.labels)

    def losses(shown: Sequence[Example]) -> Vector:
        return log_loss(_calibrated(Reader(task.with_examples(shown), backend).log_probabilities(inputs)), classes)

    whole = losses(task.examples)
    found = []
    for index in range(len(task.examples)):
        gains = losses(task.examples[:index] + task.examples[index + 1 :]) - whole
        found.append(Influence(index=index, effect=float(gains.mean()), error=_standard_error(gains)))
    return sorted(found, key=lambda one: one.effect)


def subset_influence(task: Task, backend: Backend, *, num_prompts: int = 16, seed: int = 0) -> list[Influence]:
    """The influence of each of the task's examples on the others, those that hurt most first; needs no other labels.

    `num_prompts` balanced halves are shown in turn. It costs a prefix for each, and a pass for each example that it
    doesn't show. Raises InvalidInputError for fewer than 4 examples.
    """
    num = len(task.examples)
    if num < _FEWEST:
        fix = f"Give at least {_FEWEST}."
        raise InvalidInputError(f"{num} examples are too few to tell what one of them does.", fix=fix)
    classes = classes_of([example.output for example in task.examples], task.labels)
    shown = np.zeros((num_prompts, num), dtype=np.bool_)
    losses = np.full((num_prompts, num), np.nan)
    for row in range(num_prompts):
        prompt = random_balanced(classes, num // 2, seed + row)
        shown[row, prompt] = True
        losses[row, ~shown[row]] = _losses_of_others(task, backend, prompt, classes)
    # An example may be hard for every prompt; what counts is how much harder this prompt makes it.
    usual = np.array([column[~np.isnan(column)].mean() if not np.isnan(column).all() else 0.0 for column in losses.T])
    worth = np.array([np.nanmean(row) for row in losses - usual])
    found = [_effect(index, worth, shown[:, index], float(usual[index])) for index in range(num)]
    return sorted(found, key=lambda one: one.effect)


def _losses_of_others(task: Task, backend: Backend, prompt: Sequence[int], classes: Classes) -> Vector:
    reader = Reader(task.with_examples(task.examples[index] for index in prompt), backend)
    others = [index for index in range(len(task.examples)) if index not in prompt]
    asked: list[Input] = [task.examples[index].inputs for index in others]
    return log_loss(_calibrated(reader.log_probabilities(asked)), classes[others])


def _effect(index: int, worth: Vector, is_shown: Mask, usual_loss: float) -> Influence:
    own = float(np.exp(-usual_loss))
    without, with_it = worth[~is_shown], worth[is_shown]
    if not len(without) or not len(with_it):
        return Influence(index=index, effect=0.0, error=float("inf"), own_probability=own)
    error = float(np.hypot(_standard_error(without), _standard_error(with_it)))
    return Influence(index=index, effect=float(without.mean() - with_it.mean()), error=error, own_probability=own)


def _calibrated(log_probabilities: Matrix) -> Matrix:
    return remove_bias(log_probabilities, mean_bias(log_probabilities))


def _standard_error(values: Vector) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")
