"""Chooses examples out of a task's pool: one set for all queries, or a set for each.

One set is computed once and read by every query. A set for each query may suit the query better, and costs a prefix of
its own wherever two sets begin differently: `Selector.cost` says how much, before anything is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from handful.backend import Backend
from handful.errors import InvalidParameterError, TaskError
from handful.learn import selection
from handful.learn.ngrams import Encoder, Ngrams, joined, texts_to_compare
from handful.learn.prefix_cost import PrefixCost, prefix_cost
from handful.learn.probability import Classes, Matrix, Vector
from handful.task.inputs import Input
from handful.task.problem import did_you_mean, join_words
from handful.task.render import prefix
from handful.task.task import Task

Strategy = Literal["random", "representative", "nearest", "balanced nearest", "diverse", "covering"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
FOR_ALL_QUERIES: tuple[Strategy, ...] = ("random", "representative")
Order = Literal["nearest last", "nearest first", "pool"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorSettings:
    """What to choose by.

    strategy   "random" (balanced over the labels) and "representative" make one set for all queries; "nearest",
               "balanced nearest", "diverse" (maximal marginal relevance) and "covering" one for each
    num_shown  examples in a prompt
    order      how a query's examples stand in its prompt. "pool" keeps the pool's order, so that more prompts begin
               alike; it makes no difference to one set for all
    encoder    what texts are compared by; None compares their character n-grams ("covering" always does)
    weight     of "diverse": 1 looks at the query alone, 0 only at what was chosen already
    """

    strategy: Strategy = "balanced nearest"
    num_shown: int = 8
    order: Order = "nearest last"
    encoder: Encoder | None = None
    weight: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        _check_choice("strategy", self.strategy, STRATEGIES)
        _check_choice("order", self.order, ORDERS)
        if isinstance(self.num_shown, bool) or not isinstance(self.num_shown, int) or self.num_shown < 1:
            raise InvalidParameterError("num_shown", f"must be a whole number from 1, not {self.num_shown!r}.")
        if not isinstance(self.weight, int | float) or not 0 <= self.weight <= 1:
            raise InvalidParameterError("weight", f"must be from 0 to 1, not {self.weight!r}.")
        if self.strategy == "covering" and self.encoder is not None:
            problem = 'has no effect with "covering", which covers the n-grams of the query.'
            raise InvalidParameterError("encoder", problem, fix="Leave it out, or choose another strategy.")


@dataclass(slots=True)
class Selector:
    """Chooses from the examples of `pool` (TaskError where it has none). Vectors of the pool are made once."""

    pool: Task
    settings: SelectorSettings = field(default_factory=SelectorSettings)
    _classes: Classes = field(init=False, repr=False)
    _vectors: Matrix | None = field(init=False, repr=False, default=None)
    _encoder: Encoder = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.pool.examples:
            raise TaskError(f"The task `{self.pool.name}` has no examples to choose from.", fix="Give it `examples`.")
        self._classes = classes_of_pool(self.pool)
        self._encoder = self.settings.encoder or Ngrams()

    @property
    def is_for_each(self) -> bool:
        """Whether every query gets its own set."""
        return self.settings.strategy not in FOR_ALL_QUERIES

    def choose(self, inputs: Sequence[Input]) -> list[tuple[int, ...]]:
        """The examples of each input's prompt, in the order of the prompt: indexes into the pool.

        An answer doesn't depend on the other inputs. Raises InvalidInputError.
        """
        if not inputs:
            return []
        if not self.is_for_each:
            return [tuple(self._for_all())] * len(inputs)
        queries = self._encoder.embed(texts_to_compare(self.pool, inputs)).astype(np.float64)
        return [tuple(self._ordered(self._for_one(query))) for query in queries]

    def tasks(self, inputs: Sequence[Input]) -> list[Task]:
        """The pool's task with the examples of each input; inputs with the same examples share one task."""
        chosen = self.choose(inputs)
        made = {shown: self.pool.with_examples(self.pool.examples[i] for i in shown) for shown in dict.fromkeys(chosen)}
        return [made[shown] for shown in chosen]

    def cost(self, inputs: Sequence[Input], backend: Backend) -> PrefixCost:
        """What the examples of these inputs cost on a model; it counts tokens and computes nothing else."""
        chosen = self.choose(inputs)
        bare = self.pool.replace(description="")
        shown = {index for one in chosen for index in one}
        tokens = [
            backend.count_tokens(prefix(bare, [example])) if index in shown else 0
            for index, example in enumerate(self.pool.examples)
        ]
        return prefix_cost(chosen, tokens)

    def _for_all(self) -> list[int]:
        if self.settings.strategy == "random":
            return selection.random_balanced(self._classes, self.settings.num_shown, self.settings.seed)
        return selection.representative(self._pool_vectors(), self._classes, self.settings.num_shown)

    def _for_one(self, query: Vector) -> list[int]:
        vectors, number = self._pool_vectors(), self.settings.num_shown
        if self.settings.strategy == "nearest":
            return selection.nearest(query, vectors, number)
        if self.settings.strategy == "balanced nearest":
            return selection.balanced_nearest(query, vectors, self._classes, number)
        if self.settings.strategy == "diverse":
            return selection.diverse(query, vectors, number, weight=self.settings.weight)
        return selection.covering(query, vectors, number)

    def _ordered(self, best_first: list[int]) -> list[int]:
        if self.settings.order == "pool":
            return sorted(best_first)
        return best_first if self.settings.order == "nearest first" else best_first[::-1]

    def _pool_vectors(self) -> Matrix:
        if self._vectors is None:
            texts = [joined(self.pool, example.inputs) for example in self.pool.examples]
            found = self._encoder.embed(texts).astype(np.float64)
            self._vectors = found if self.settings.strategy == "covering" else selection.unit_rows(found)
        return self._vectors


def classes_of_pool(pool: Task) -> Classes:
    """The label of each example as a number; all 0 in a task of free text."""
    if not pool.is_closed:
        return np.zeros(len(pool.examples), dtype=np.int64)
    return np.array([pool.labels.index(example.output) for example in pool.examples], dtype=np.int64)


def _check_choice(name: str, given: object, known: tuple[str, ...]) -> None:
    if given not in known:
        fix = did_you_mean(str(given), known)
        raise InvalidParameterError(name, f"must be one of {join_words(known)}, not {given!r}.", fix=fix)
