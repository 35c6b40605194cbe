"""Which examples the prompts show, and in which order: several deals are compared by what their prompts say of examples
that they don't show.

A small model's scores differ widely from one set of examples, and one order of it, to the next. The deals are drawn at
random, so none of them has a claim to be kept: the best on little evidence is at worst as good as any. What it is
expected to reach is another matter, for the best of several looks better than it is. So the choice is made once more
for each fold without the fold's rows, and the rows are judged by that choice alone.

Candidates are compared by the log loss of their calibrated scores. That costs no hidden states, and chose better for
heads on hidden states, too, than the heads' own held-out losses did (docs/log.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handful.learn.crossfit import Reading, balanced_prompts, folds_of, held_out
from handful.learn.probability import Classes, Mask, Matrix, log_loss
from handful.learn.recipe import CALIBRATED

# With so many rows that no candidate shows, only those are compared: a row that one finds hard is hard for others.
_ENOUGH_IN_COMMON = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt to choose from: the examples it shows, in their order, and the deal they are from."""

    shown: tuple[int, ...]
    deal: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Indexes of the candidates that were chosen: by all rows, and for each fold by the rows outside of it."""

    final: tuple[int, ...]
    folds: tuple[tuple[Mask, tuple[int, ...]], ...]

    @property
    def used(self) -> tuple[int, ...]:
        """All that were chosen by anything, in order."""
        return tuple(sorted({index for chosen in (self.final, *(one for _, one in self.folds)) for index in chosen}))


def candidates(classes: Classes, num_shown: int, num_deals: int, seed: int) -> list[Candidate]:
    """Deals of examples that share none, each in a random order and its reverse."""
    dealt = balanced_prompts(classes, num_shown, num_deals, seed)
    orders = [(order, deal) for deal, shown in enumerate(dealt) for order in (shown, shown[::-1])]
    return [Candidate(tuple(order), deal) for order, deal in orders]


def keep_best(
    offered: Sequence[tuple[Candidate, Reading]], classes: Classes, num_prompts: int, num_folds: int, seed: int
) -> Kept:
    """The best `num_prompts` candidates, of each deal at most one; `offered` are read for their scores."""
    losses = np.stack([_losses(reading, classes, num_folds, seed) for _, reading in offered])
    deals = [candidate.deal for candidate, _ in offered]
    everything = np.ones(len(classes), dtype=np.bool_)
    folds = folds_of((), classes, num_folds, seed)
    return Kept(
        _best(losses, deals, everything, num_prompts),
        tuple((fold.held, _best(losses, deals, ~fold.held, num_prompts)) for fold in folds),
    )


def _losses(reading: Reading, classes: Classes, num_folds: int, seed: int) -> Matrix:
    """The log loss of the calibrated scores on every row, had it not been given: `[n]`, NaN where it is shown."""
    ((said, reached),) = held_out(folds_of((reading,), classes, num_folds, seed), (CALIBRATED,), classes)
    losses = np.full(len(classes), np.nan)
    losses[reached] = log_loss(said[reached], classes[reached])
    return losses


def _best(losses: Matrix, deals: Sequence[int], rows: Mask, num_prompts: int) -> tuple[int, ...]:
    told = ~np.isnan(losses) & rows
    common = told.all(axis=0)
    compared = told & common if common.sum() >= _ENOUGH_IN_COMMON else told
    counts = compared.sum(axis=1)
    sums = np.where(compared, losses, 0.0).sum(axis=1)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    kept: dict[int, int] = {}
    for index in np.argsort(means, kind="stable").tolist():
        kept.setdefault(deals[index], index)
    return tuple(list(kept.values())[:num_prompts])
