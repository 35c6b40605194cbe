"""Which examples a query's prompt keeps when not all of them fit the model's context.

The order in which whole examples are dropped is fixed by the task alone: each time one of the label that has the most
examples left (so the labels stay balanced, and the prompt doesn't push the model towards one), and of those the last.
The last, because what stays is then the beginning of the task's own prompt as far as balance allows, and that
beginning is what the model already holds: a long query costs its own tokens and hardly any more. A task without
labels loses examples from the end. Each query is fitted on its own, so its prediction doesn't depend on what else
was asked.

No I/O: `Fitter.fit` is a generator that yields texts whose tokens it wants counted and is sent the counts. A blocking
and an awaiting driver (`predict.py`) share it.
"""

import asyncio
import heapq
import warnings
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field

from handful.errors import PromptTooLongError
from handful.task.render import continuations, prefix, query
from handful.task.task import Task

Counting = Generator[str, int, "Fit"]
LabelBias = tuple[float, ...]

# How many tokens more than prefix and query alone a prompt may have: where the two meet, the tokenizer may cut
# differently, and some put a mark in front of a text. Generous: it only decides whether a count can be saved.
_SEAM_TOKENS = 32


class ExamplesDroppedWarning(UserWarning):
    """Some predictions were made with fewer examples than their task has."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A prompt that fits, and how many of the task's examples had to go."""

    prompt: str
    num_dropped: int = 0


@dataclass(slots=True)
class Fitter:
    """Fits the queries of one task to one model's context of `context_length` tokens.

    It remembers the prefix and its count, so make one for a task and a model and keep it.

    label_bias  what `predict` measured of the task's prompt (see `calibration.py`); None before it did
    measuring   held by the one of several awaiting callers that measures it
    """

    task: Task
    context_length: int
    _prefix: str = ""
    _num_prefix_tokens: int | None = None
    _continuations: tuple[str, ...] = ()
    _order: tuple[int, ...] = field(default=())
    _fingerprint: str = ""
    label_bias: LabelBias | None = None
    measuring: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def __post_init__(self) -> None:
        self._prefix = prefix(self.task)
        self._order = dropping_order(self.task)
        if self.task.is_closed:
            self._continuations = continuations(self.task)

    @property
    def fingerprint(self) -> str:
        """The task's, which takes reading all of it: once."""
        self._fingerprint = self._fingerprint or self.task.fingerprint
        return self._fingerprint

    def fit(self, values: Mapping[str, str]) -> Counting:
        """The prompt of a query, with as many examples as fit. Raises `PromptTooLongError`.

        A token stands for at least one byte of text, so a text never has more tokens than bytes. Counting is left
        out where that already proves that the prompt fits; the prefix is counted once.
        """
        asked = query(self.task, values)
        room = self.context_length - self._max_answer_tokens()
        most = _num_bytes(asked) + _SEAM_TOKENS
        whole = Fit(self._prefix + asked)
        if _num_bytes(self._prefix) + most <= room:
            return whole
        if self._num_prefix_tokens is None:
            self._num_prefix_tokens = yield self._prefix
        if self._num_prefix_tokens + most <= room:
            return whole
        if (yield whole.prompt) <= room:
            return whole
        return (yield from self._drop(asked, room))

    def _drop(self, asked: str, room: int) -> Counting:
        """The fewest examples dropped that make room, found by bisection."""
        bare = Fit(prefix(self.task, ()) + asked, len(self._order))
        num_tokens = yield bare.prompt
        if num_tokens > room:
            raise self._too_long(num_tokens)
        fits, too_few = bare, 0
        while fits.num_dropped - too_few > 1:
            middle = self._without((fits.num_dropped + too_few) // 2, asked)
            if (yield middle.prompt) <= room:
                fits = middle
            else:
                too_few = middle.num_dropped
        return fits

    def _without(self, num_dropped: int, asked: str) -> Fit:
        gone = set(self._order[:num_dropped])
        kept = [example for index, example in enumerate(self.task.examples) if index not in gone]
        return Fit(prefix(self.task, kept) + asked, num_dropped)

    def _max_answer_tokens(self) -> int:
        """The most tokens that the answer takes: those of the longest label (bounded by its bytes), or those asked."""
        if self.task.is_closed:
            return max(_num_bytes(text) for text in self._continuations)
        return self.task.generation.max_new_tokens

    def _too_long(self, num_tokens: int) -> PromptTooLongError:
        return PromptTooLongError(
            f"The prompt has {num_tokens} tokens even without examples, and the answer needs up to "
            f"{self._max_answer_tokens()} more; the model's context holds {self.context_length}.",
            fix="Shorten the query" + ("." if self.task.is_closed else " or lower `max_new_tokens`."),
        )


def dropping_order(task: Task) -> tuple[int, ...]:
    """The indexes of the task's examples in the order in which they are dropped; see the top of this file."""
    groups: dict[str, list[int]] = {}
    for index in range(len(task.examples)):
        groups.setdefault(_group(task, index), []).append(index)
    # The group that has most left comes first, of several the one whose last example is the later one.
    heap = [(-len(left), -left[-1], label) for label, left in groups.items()]
    heapq.heapify(heap)
    order: list[int] = []
    while heap:
        left = groups[heap[0][2]]
        order.append(left.pop())
        if left:
            heapq.heapreplace(heap, (-len(left), -left[-1], heap[0][2]))
        else:
            heapq.heappop(heap)
    return tuple(order)


def _group(task: Task, index: int) -> str:
    return task.examples[index].output if task.is_closed else ""


def warn_of_dropped(task: Task, dropped: Iterable[int], *, stacklevel: int = 2) -> None:
    """Warn once for a batch whose predictions did without `dropped` examples each (0: all were shown)."""
    short = [count for count in dropped if count]
    if short:
        warnings.warn(
            f"task `{task.name}`: {len(short)} predictions were made without up to {max(short)} of the "
            f"{len(task.examples)} examples, which didn't fit the model's context",
            ExamplesDroppedWarning,
            stacklevel=stacklevel + 1,
        )


def _num_bytes(text: str) -> int:
    return len(text.encode())
