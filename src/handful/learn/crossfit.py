"""Cross-fitting: an example is either shown in a prompt or read behind it, never both at once.

A prompt says the right answer to the examples that it shows, so a head or a bias fitted to those would believe too
much. Every prompt shows a few examples and is read on all the others; over several prompts each example is used both
ways. What is predicted of an example comes only from prompts that don't show it and heads that weren't fitted to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from handful.learn.logistic import stratified_folds
from handful.learn.probability import Classes, Mask, Matrix, Vector, log_normalise
from handful.learn.reading import Reader
from handful.learn.recipe import Fitted, Heads, Read, Recipe, fit_recipe
from handful.task.inputs import Input

NUM_FOLDS = 5
NUM_TUNED_FOLDS = 3  # where each fold has an encoder to tune


@dataclass(frozen=True, slots=True)
class Reading:
    """One prompt and what it says of every labelled example: arrays of all n rows, zeros where `shown`.

    bias  the prompt's label bias measured without labels, `[labels]`
    """

    reader: Reader
    shown: Mask
    read: Read
    bias: Vector


def balanced_prompts(classes: Classes, num_shown: int, num_prompts: int, seed: int) -> list[list[int]]:
    """Which examples each prompt shows: disjoint sets, balanced over the classes, in a shuffled order.

    Each class is dealt out in a random order. There are fewer prompts than asked for where the examples run out.
    """
    draw = np.random.default_rng(seed)
    labels = np.unique(classes)
    piles = [draw.permutation(np.flatnonzero(classes == label)).tolist() for label in labels]
    prompts: list[list[int]] = []
    while len(prompts) < num_prompts:
        chosen: list[int] = []
        # The class with most examples left gives the odd ones.
        for position in range(num_shown):
            if position % len(piles) == 0:
                piles.sort(key=len, reverse=True)
            pile = piles[position % len(piles)]
            if pile:
                chosen.append(pile.pop())
        if len(chosen) < num_shown:
            break
        prompts.append([chosen[index] for index in draw.permutation(len(chosen))])
    return prompts


def read_scores(reader: Reader, inputs: Sequence[Input], shown: Sequence[int], bias: Vector) -> Reading:
    """Ask one prompt for the scores of every example that it doesn't show."""
    mask = np.zeros(len(inputs), dtype=np.bool_)
    mask[list(shown)] = True
    scores = np.zeros((len(inputs), len(reader.labels)))
    scores[~mask] = reader.log_probabilities(_asked(inputs, mask))
    return Reading(reader, mask, Read(scores), bias)


def read_states(reading: Reading, inputs: Sequence[Input]) -> Reading:
    """The same with the hidden states of the examples that it doesn't show."""
    states = reading.reader.hidden_states(_asked(inputs, reading.shown))
    vectors = np.zeros((len(inputs), states.shape[1]))
    vectors[~reading.shown] = states
    return replace(reading, read=replace(reading.read, vectors=vectors))


def with_encoded(reading: Reading, encoded: Matrix) -> Reading:
    """The same with an encoder's vectors `[n, dim]` of all inputs, which no prompt changes."""
    return replace(reading, read=replace(reading.read, encoded=encoded))


def _asked(inputs: Sequence[Input], shown: Mask) -> list[Input]:
    return [given for given, is_shown in zip(inputs, shown, strict=True) if not is_shown]


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows to hold out, and the readings that say something of them. Which these are must not depend on the rows."""

    held: Mask
    readings: tuple[Reading, ...]


def folds_of(readings: Sequence[Reading], classes: Classes, num_folds: int, seed: int) -> list[Fold]:
    """The rows in `num_folds` folds, each for the same readings."""
    return [Fold(held, tuple(readings)) for held in stratified_folds(classes, num_folds, seed)]


def held_out(folds: Sequence[Fold], recipes: Sequence[Recipe], classes: Classes) -> list[tuple[Matrix, Mask]]:
    """What each recipe would say of each example had it not been given: log-probabilities `[n, labels]`, and a mask of
    the rows that some prompt doesn't show (the others are zeros)."""
    num_labels = len(folds[0].readings[0].bias)
    totals = [np.zeros((len(classes), num_labels)) for _ in recipes]
    counts = [np.zeros(len(classes), dtype=np.int64) for _ in recipes]
    for held, readings in ((fold.held, fold.readings) for fold in folds):
        for reading in readings:
            rows = held & ~reading.shown
            if not rows.any():
                continue
            for fitted, total, count in zip(_fit_without(reading, recipes, classes, held), totals, counts, strict=True):
                if fitted is not None:
                    total[rows] += fitted.log_probabilities(reading.read.rows(rows))
                    count[rows] += 1
    return [_mean(total, count) for total, count in zip(totals, counts, strict=True)]


def _mean(total: Matrix, count: Classes) -> tuple[Matrix, Mask]:
    reached = count > 0
    total[reached] = log_normalise(total[reached] / count[reached, None])
    return total, reached


def _fit_without(reading: Reading, recipes: Sequence[Recipe], classes: Classes, held: Mask) -> list[Fitted | None]:
    """The recipes fitted to what is neither shown nor held out; None where a head would miss a class."""
    rows = ~held & ~reading.shown
    read, known = reading.read.rows(rows), classes[rows]
    has_all = len(np.unique(known)) == len(reading.bias)
    heads: Heads = {}
    return [
        fit_recipe(recipe, read, known, reading.bias, heads) if has_all or not recipe.has_head else None
        for recipe in recipes
    ]
