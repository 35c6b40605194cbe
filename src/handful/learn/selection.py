"""Which examples to show: pure functions of vectors and classes. Each gives indexes into the pool, never one twice.

Everything is deterministic: of equally good examples the one that stands first in the pool wins. Vectors are compared
by their cosine: those of a pool are `unit_rows` `[n, num_features]`, made once for all queries; a query's has any
length. Examples for a query come best first.
"""

from collections.abc import Sequence

import numpy as np

from handful.learn.probability import Classes, Matrix, Vector


def random_balanced(classes: Classes, num_shown: int, seed: int = 0) -> list[int]:
    """Drawn and shuffled with `seed`, the same number of each class, or more of the others where one runs out."""
    draw = np.random.default_rng(seed)
    chosen = _by_turns(draw.permutation(len(classes)).tolist(), classes, num_shown)
    shuffled: list[int] = [chosen[index] for index in draw.permutation(len(chosen))]
    return shuffled


def nearest(query: Vector, rows: Matrix, num_shown: int) -> list[int]:
    """The examples most similar to the query (KATE, Liu et al. 2021, arXiv 2101.06804)."""
    return _ranked(rows @ _unit(query))[:num_shown]


def balanced_nearest(query: Vector, rows: Matrix, classes: Classes, num_shown: int) -> list[int]:
    """The most similar examples of each class in turn, so that the classes' counts differ by at most one where the
    pool has enough of each."""
    ranked = _ranked(rows @ _unit(query))
    return _by_turns(ranked, classes, num_shown)


def diverse(query: Vector, rows: Matrix, num_shown: int, *, weight: float = 0.5) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): similar to the query, unlike what was chosen.

    Each time the example with the largest weight * sim(query, i) - (1 - weight) * max_{j chosen} sim(i, j).
    """
    relevance = rows @ _unit(query)
    closest = np.zeros(len(rows))  # nothing is chosen yet, so nothing is repeated
    chosen: list[int] = []
    left = np.ones(len(rows), dtype=np.bool_)
    while left.any() and len(chosen) < num_shown:
        gains = np.where(left, weight * relevance - (1 - weight) * closest, -np.inf)
        best = int(_steady(gains).argmax())
        left[best] = False
        similarity = rows @ rows[best]
        closest = similarity if not chosen else np.maximum(closest, similarity)
        chosen.append(best)
    return chosen


def covering(query: Vector, features: Matrix, num_shown: int) -> list[int]:
    """The set that covers the query's features best (the greedy set selection of Gupta et al. 2023, arXiv 2305.14907).

    `features` aren't negative, a column for each n-gram. A set's worth is the sum over columns of the query's share
    that its best example covers, sum_f min(q_f, max_i x_if); each time the example that adds most is taken.
    """
    covered = np.zeros(len(query))
    wanted = np.minimum(features, query)
    chosen: list[int] = []
    left = np.ones(len(features), dtype=np.bool_)
    while left.any() and len(chosen) < num_shown:
        gains = np.maximum(wanted - covered, 0.0).sum(axis=1)
        best = int(_steady(np.where(left, gains, -np.inf)).argmax())
        left[best] = False
        covered = np.maximum(covered, wanted[best])
        chosen.append(best)
    return chosen


def representative(rows: Matrix, classes: Classes, num_shown: int) -> list[int]:
    """One set for all queries that every example of the pool is near to, the classes in turn.

    Greedy facility location: each time the example, of the class that has had fewest, that adds most to
    sum_i max_{j chosen} sim(i, j) over the pool.
    """
    similarity = rows @ rows.T
    closest = np.full(len(rows), -1.0)  # the least a cosine is
    counts = np.zeros(int(classes.max(initial=0)) + 1)
    left = np.ones(len(rows), dtype=np.bool_)
    chosen: list[int] = []
    while left.any() and len(chosen) < num_shown:
        fewest = counts[classes[left]].min()
        open_ = left & (counts[classes] == fewest)
        gains = np.maximum(similarity - closest, 0.0).sum(axis=1)
        best = int(_steady(np.where(open_, gains, -np.inf)).argmax())
        left[best] = False
        counts[classes[best]] += 1
        closest = np.maximum(closest, similarity[best])
        chosen.append(best)
    return chosen


def unit_rows(vectors: Matrix) -> Matrix:
    """Each row divided by its length; a row of zeros stays."""
    rows = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Matrix = rows / np.where(lengths > 0, lengths, 1.0)
    return unit


def _unit(vector: Vector) -> Vector:
    row: Vector = unit_rows(np.asarray(vector)[None])[0]
    return row


def _ranked(similarity: Vector) -> list[int]:
    """Largest first; of equal ones the first."""
    order: list[int] = np.argsort(-_steady(similarity), kind="stable").tolist()
    return order


def _steady(values: Vector) -> Vector:
    """Rounded, so that two texts that are equally good stay equal on every machine."""
    rounded: Vector = np.round(values, 9)
    return rounded


def _by_turns(ranked: Sequence[int], classes: Classes, num_shown: int) -> list[int]:
    """Rounds in which each class gives its first that is left, the classes in the order of those."""
    piles: dict[int, list[int]] = {}
    for index in ranked:
        piles.setdefault(int(classes[index]), []).append(index)
    rounds = max((len(pile) for pile in piles.values()), default=0)
    dealt = [pile[turn] for turn in range(rounds) for pile in piles.values() if turn < len(pile)]
    return dealt[:num_shown]
