"""The search of `handful tune`: many candidates on a few queries, the better half on twice as many, and so on.

(Successive halving, Jamieson and Talwalkar 2016, arXiv 1502.07943.) The task as it is stays in to the end. Whoever
stops the search has the best so far: candidates that were asked different numbers of queries compare by the lower end
of their accuracy's interval. The winner is then checked on queries that had no part in choosing it: one that is worse
there than the task as it is isn't kept.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from handful.backend import Backend
from handful.errors import InvalidInputError
from handful.evals.askers import Fields, asker_of, asking, fitted_quietly
from handful.evals.data import Item
from handful.evals.tune_space import Candidate
from handful.learn.interval import wilson
from handful.learn.named import NOTHING, Provided, Ready, ready_as_it_is

FIRST_QUERIES = 32
MIN_FINALISTS = 2
_BATCH = 64
_TEST_SHARE = 0.3
# Of the queries that choose, how many a batch calibration reads, without their answers.
NUM_TEXTS = 64
# What stands for the probability of a right answer that the model ruled out, or that is an error.
_LEAST_PROBABILITY = 1e-6


@dataclass(slots=True)
class Standing:
    """How a candidate does: right answers and log losses of the queries that it was asked, in their order; or why its
    examples are too few for its reading (`left_out`)."""

    candidate: Candidate
    right: list[bool] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    left_out: str = ""

    @property
    def accuracy(self) -> float:
        """Share of right answers; 0 for none asked."""
        return sum(self.right) / len(self.right) if self.right else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95% interval of the accuracy."""
        return wilson(sum(self.right), len(self.right))

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: what the accuracy is at least, then the log loss (0 for free text)."""
        if self.left_out:
            return -1.0, 0.0
        return self.interval[0], -float(np.mean(self.losses)) if self.losses else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        low, high = self.interval
        if self.left_out:
            return {**self.candidate.made_of, "left_out": self.left_out}
        return {
            **self.candidate.made_of,
            "accuracy": round(self.accuracy, 4),
            "interval": [round(low, 4), round(high, 4)],
            "num_right": sum(self.right),
            "num_asked": len(self.right),
        }


@dataclass(frozen=True, slots=True)
class Step:
    """Where the search stands, after each batch of queries."""

    num_asked: int
    num_planned: int
    best: Standing


class Search:
    """One search over candidates (the first is the task as it is). `run` may be left at any step."""

    def __init__(
        self,
        tried: Sequence[Candidate],
        queries: Sequence[Item],
        backend: Backend,
        provided: Provided = NOTHING,
    ) -> None:
        self.standings = [Standing(candidate) for candidate in tried]
        self.backend = backend
        self.provided = provided
        self._queries, self._test = _parted(queries)
        self._readings: dict[tuple[str, str], Ready] = {}

    @property
    def rounds(self) -> list[tuple[int, int]]:
        """(candidates, queries that each of them has been asked at its end) of each round."""
        num_candidates, num_queries = len(self.standings), min(FIRST_QUERIES, len(self._queries))
        planned = [(num_candidates, num_queries)]
        while num_queries < len(self._queries):
            num_candidates = max(min(MIN_FINALISTS, num_candidates), -(-num_candidates // 2))
            num_queries = min(2 * num_queries, len(self._queries))
            planned.append((num_candidates, num_queries))
        return planned

    @property
    def num_planned(self) -> int:
        """Queries that all rounds ask, those of the last check included."""
        asked = before = 0
        for num_candidates, num_queries in self.rounds:
            asked += num_candidates * (num_queries - before)
            before = num_queries
        return asked + 2 * len(self._test)

    @property
    def original(self) -> Standing:
        """The task as it is."""
        return self.standings[0]

    @property
    def best(self) -> Standing:
        """The best so far; of equals the first, so the task as it is unless something is better."""
        return max(self.standings, key=lambda standing: standing.rank)

    def run(self) -> Iterator[Step]:
        """Ask, round by round. Raises what the backend raises."""
        left = list(self.standings)
        for num_candidates, num_queries in self.rounds:
            others = sorted(left[1:], key=lambda standing: standing.rank, reverse=True)
            left = [self.original, *others[: num_candidates - 1]]
            left = [standing for standing in left if self._is_ready(standing)]
            for standing in left:
                for batch in _batches(self._queries[len(standing.right) : num_queries]):
                    self._ask(standing, batch)
                    yield Step(sum(len(each.right) for each in self.standings), self.num_planned, self.best)

    def check(self) -> tuple[Standing, Standing]:
        """The task as it is and the best, on the queries that had no part in choosing."""
        best = self.best
        checked = [Standing(standing.candidate) for standing in (self.original, best)]
        for standing in checked[: 1 if best is self.original else 2]:
            for batch in _batches(self._test):
                self._ask(standing, batch)
        return checked[0], checked[0] if best is self.original else checked[1]

    def reading(self, candidate: Candidate) -> Ready:
        """How a candidate is read, fitted once. Raises InvalidInputError for too few examples."""
        if candidate.key not in self._readings:
            self._readings[candidate.key] = self._fit(candidate)
        return self._readings[candidate.key]

    def _fit(self, candidate: Candidate) -> Ready:
        if candidate.predictor == "task":
            return ready_as_it_is(candidate.task, self.backend)
        texts = [item.inputs for item in self._queries[:NUM_TEXTS]]
        return fitted_quietly(
            candidate.predictor, candidate.task, self.backend, seed=0, texts=texts, provided=self.provided
        )

    def _is_ready(self, standing: Standing) -> bool:
        """Whether the candidate's reading has the examples that it needs; if not, it is left out from now on."""
        if standing.candidate.predictor != "task" and not standing.left_out:
            try:
                self.reading(standing.candidate)
            except InvalidInputError as error:
                standing.left_out = str(error)
        return not standing.left_out

    def _ask(self, standing: Standing, batch: Sequence[Item]) -> None:
        candidate = standing.candidate
        inputs = [item.inputs for item in batch]
        if candidate.predictor != "task":
            answers = asker_of(self.reading(candidate)).answer(inputs)
        else:
            with asking(candidate.task, self.backend, "task", seed=0, texts=()) as asker:
                answers = asker.answer(inputs)
        for item, fields in zip(batch, answers, strict=True):
            expected = candidate.expected(item)
            standing.right.append(fields["prediction"] == expected)
            if candidate.task.is_closed:
                standing.losses.append(_loss(fields, expected))


def _loss(fields: Fields, expected: str) -> float:
    probability = fields.get("probabilities", {}).get(expected, 0.0)
    return -float(np.log(max(probability, _LEAST_PROBABILITY)))


def _batches(queries: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (queries[start : start + _BATCH] for start in range(0, len(queries), _BATCH))


def _parted(queries: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Queries to choose by and to check with, the same at every run."""
    shuffled = list(queries)
    random.Random(0).shuffle(shuffled)  # noqa: S311
    num_test = int(len(shuffled) * _TEST_SHARE)
    return shuffled[num_test:], shuffled[:num_test]
