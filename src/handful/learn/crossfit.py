"""Cross-fitting: an example is either shown in a prompt or read behind it, never both at once.

A prompt says the right answer to the examples that it shows, so a head or a bias fitted to those would believe too
much. Every prompt shows a few examples and is read on all the others; over several prompts each example is used both
ways. What is predicted of an example comes only from prompts that don't show it and heads that weren't fitted to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from handful.learn.logistic import stratified_folds
from handful.learn.probability import Classes, Mask, Matrix, Vector, log_normalise
from handful.learn.reading import Reader
from handful.learn.recipe import Fitted, Heads, Read, Recipe, fit_recipe
from handful.task.inputs import Input

_NUM_FOLDS = 5
NUM_TUNED_FOLDS = 3  # where each fold has an encoder to tune

# A mask of held-out rows -> an encoder's vectors `[n, dim]` of all rows, by one that learned nothing from those.
EncodeWithout = Callable[[Mask], Matrix]


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


def read_examples(
    reader: Reader,
    inputs: Sequence[Input],
    shown: Sequence[int],
    bias: Vector,
    *,
    with_states: bool = True,
    encoded: Matrix | None = None,
) -> Reading:
    """Ask one prompt about every example that it doesn't show; for hidden states, too, `with_states`.

    `encoded` are an encoder's vectors of all inputs, which no prompt changes.
    """
    mask = np.zeros(len(inputs), dtype=np.bool_)
    mask[list(shown)] = True
    asked = [given for given, is_shown in zip(inputs, mask, strict=True) if not is_shown]
    scores = np.zeros((len(inputs), len(reader.labels)))
    scores[~mask] = reader.log_probabilities(asked)
    if not with_states:
        return Reading(reader, mask, Read(scores, None, encoded), bias)
    states = reader.hidden_states(asked)
    vectors = np.zeros((len(inputs), states.shape[1]))
    vectors[~mask] = states
    return Reading(reader, mask, Read(scores, vectors, encoded), bias)


def held_out(
    readings: Sequence[Reading],
    recipes: Sequence[Recipe],
    classes: Classes,
    seed: int,
    encode_without: EncodeWithout | None = None,
) -> list[tuple[Matrix, Mask]]:
    """What each recipe would say of each example had it not been given: log-probabilities `[n, labels]`, and a mask of
    the rows that some prompt doesn't show (the others are zeros).

    `encode_without` is for an encoder that learns from the examples: its vectors differ from fold to fold.
    """
    totals = [np.zeros((len(classes), len(readings[0].bias))) for _ in recipes]
    counts = [np.zeros(len(classes), dtype=np.int64) for _ in recipes]
    for held in stratified_folds(classes, _NUM_FOLDS if encode_without is None else NUM_TUNED_FOLDS, seed):
        for reading in readings if encode_without is None else _encoded_anew(readings, encode_without(held)):
            rows = held & ~reading.shown
            if not rows.any():
                continue
            for fitted, total, count in zip(_fit_without(reading, recipes, classes, held), totals, counts, strict=True):
                if fitted is not None:
                    total[rows] += fitted.log_probabilities(reading.read.rows(rows))
                    count[rows] += 1
    return [_mean(total, count) for total, count in zip(totals, counts, strict=True)]


def _encoded_anew(readings: Sequence[Reading], encoded: Matrix) -> list[Reading]:
    return [replace(reading, read=replace(reading.read, encoded=encoded)) for reading in readings]


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
