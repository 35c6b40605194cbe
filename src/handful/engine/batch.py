"""One step: a flat row of tokens from many requests, and what each of them reads of the KV memory. No tensors yet.

    tokens, positions, slots   `[N]`: what is run, where it stands in its context, where its keys and values go
    runs                       segments that are complete and read for all rows whose path holds them, stacked
    placed                     each request's rows, and from where on it reads its context on its own

Works are ordered by their path, so the rows that read a run follow one another. How runs and private parts are read is
the affair of the step's attention (`attention_torch.py`, `attention_native.py`), planned once a step for every layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from handful.engine.request import Request, ScoreLabels, Work
from handful.engine.segments import Segment

# A run is read for all its rows at once when it is long or saves much; otherwise each request reads it with the rest.
MIN_RUN_TOKENS = 64
MIN_TOKENS_SAVED = 256

Window = int | None
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Run:
    """A segment and the rows `[first_row, end_row)` that read it."""

    segment: Segment
    first_row: int
    end_row: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A work with its first row in the step; context tokens from `private_from` on are in no run."""

    work: Work
    row: int
    private_from: int

    @property
    def num_keys(self) -> int:
        """Context tokens that it reads privately, its own rows included."""
        return self.work.first + self.work.count - self.private_from

    @property
    def key_slots(self) -> Integers:
        """Where they lie in the KV memory."""
        return slots_of(self.work.request)[self.private_from : self.work.first + self.work.count]


@dataclass(frozen=True, slots=True)
class Batch:
    """A step's work. `wanted` `[M]` are the rows whose hidden state is read, in the works' order.

    Runs are listed with parents before their children, in the order of the rows.
    """

    works: tuple[Work, ...]
    tokens: Integers
    positions: Integers
    slots: Integers
    wanted: Integers
    runs: tuple[Run, ...]
    placed: tuple[Placed, ...]


def build_batch(works: Sequence[Work]) -> Batch:
    """Which rows a step has and what they read."""
    paths = [(_complete_path(work), work) for work in works]
    paths.sort(key=lambda entry: [segment.start for segment in entry[0]])
    runs, placed = _place(paths, _choose_runs(paths))
    ordered = tuple(work for _, work in paths)
    tokens: list[int] = []
    for work in ordered:
        tokens += _tokens(work)
    wanted = [p.row - p.work.first + index for p in placed for index in _wanted(p.work)]
    slots = np.concatenate([slots_of(w.request)[w.first : w.first + w.count] for w in ordered])
    return Batch(
        works=ordered,
        tokens=np.array(tokens, dtype=np.int64),
        positions=_positions(placed),
        slots=slots,
        wanted=np.array(wanted, dtype=np.int64),
        runs=tuple(runs),
        placed=tuple(placed),
    )


def _complete_path(work: Work) -> list[Segment]:
    """The segments of the work's context that were complete before this step."""
    lease = work.request.lease
    return [] if lease is None else [segment for segment in lease.path() if segment.end <= work.first]


def _choose_runs(paths: Sequence[tuple[list[Segment], Work]]) -> set[int]:
    """Ids of the segments that are read as runs: a worthwhile prefix of every path."""
    num_rows: dict[int, int] = {}
    for path, work in paths:
        for segment in path:
            num_rows[id(segment)] = num_rows.get(id(segment), 0) + work.count
    chosen: set[int] = set()
    for path, _ in paths:
        for segment in path:
            if id(segment) in chosen:
                continue
            length = len(segment.tokens)
            if length < MIN_RUN_TOKENS and length * (num_rows[id(segment)] - 1) < MIN_TOKENS_SAVED:
                break
            chosen.add(id(segment))
    return chosen


def _place(paths: Sequence[tuple[list[Segment], Work]], chosen: set[int]) -> tuple[list[Run], list[Placed]]:
    """Give every work its rows. Works whose paths share a segment follow one another, and so do the run's rows."""
    rows_of: dict[int, tuple[Segment, int, int]] = {}
    placed, row = [], 0
    for path, work in paths:
        private_from, end = 0, row + work.count
        for segment in path:
            if id(segment) not in chosen:
                break
            first = rows_of[id(segment)][1] if id(segment) in rows_of else row
            rows_of[id(segment)] = (segment, first, end)
            private_from = segment.end
        placed.append(Placed(work, row, private_from))
        row = end
    return [Run(*entry) for entry in rows_of.values()], placed


def _positions(placed: Sequence[Placed]) -> Integers:
    """`[N]`: a token's index in its context, but for nodes of a label trie, which stand at their depth."""
    each = chain.from_iterable(range(p.work.first, p.work.first + p.work.count) for p in placed)
    positions: Integers = np.fromiter(each, dtype=np.int64)
    for p in placed:
        if isinstance(p.work.request.goal, ScoreLabels):
            positions[p.row : p.row + p.work.count] = p.work.request.positions(p.work.first, p.work.count)
    return positions


def _wanted(work: Work) -> range:
    return work.request.wanted_rows(work.first, work.count)


def _tokens(work: Work) -> Sequence[int]:
    request, first, end = work.request, work.first, work.end
    shared = request.num_shared
    if first >= shared:
        return [*request.tail[first - shared : end - shared], *work.draft]
    return (*request.prompt[first : min(end, shared)], *request.tail[: max(end - shared, 0)], *work.draft)


def slots_of(request: Request) -> Integers:
    """The arena slot of every context position of a request that runs."""
    if request.slots is None:
        raise RuntimeError("a request that runs has slots")
    return request.slots


def visible_keys(p: Placed) -> NDArray[np.bool_]:
    """`[queries, keys]` of a private part: causal, and among the nodes of a label trie only ancestors."""
    work, request = p.work, p.work.request
    queries = np.arange(work.first, work.first + work.count)
    keys = np.arange(p.private_from, p.private_from + p.num_keys)
    sees: NDArray[np.bool_] = keys[None, :] <= queries[:, None]
    if isinstance(request.goal, ScoreLabels):
        tail = request.num_shared
        in_q, in_k = queries >= tail, keys >= tail
        first = max(p.private_from - tail, 0)
        block = request.goal.trie.visible(queries[in_q] - tail, first, first + int(in_k.sum()))
        sees[np.ix_(in_q, in_k)] = block
    return sees
