"""One step as tensors: a flat row of tokens from many requests, and the plan by which they attend.

    tokens, positions, slots   `[N]`: what is run, where it stands in its context, where its keys and values go
    shared runs                segments that are complete and read for all rows whose path holds them, stacked
    private batches            for the rest of each context: padded rows of one request each, under their own mask

The plan is made once a step and used by every layer. Windows (GPT-Neo's local layers) only change which keys of a run
are read and the masks, so they are made once for each window that the model has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handful.engine.request import Request, ScoreLabels, Work
from handful.engine.segments import Segment
from handful.model.ops.attention import MASKED

# A run is read on its own, without a copy, when it is long or saves much; otherwise it is gathered with the rest.
MIN_RUN_TOKENS = 64
MIN_TOKENS_SAVED = 256

Window = int | None


@dataclass(frozen=True, slots=True)
class SharedRead:
    """For one window: the keys `[start, start + length)` that some rows see; `mask` `[rows, length]` additive."""

    start: int
    length: int
    rows: Tensor | slice
    num_rows: int
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class PrivateBatch:
    """Requests of like size side by side: `rows` `[R, Q]` of the step, `keys` `[R, T]` slots, padded with 0.

    `is_row` `[R, Q]` says which rows are real; `masks` holds `[R, Q, T]` additive for each window.
    """

    rows: Tensor
    keys: Tensor
    is_row: Tensor
    masks: dict[Window, Tensor]


@dataclass(frozen=True, slots=True)
class Batch:
    """A step's work as tensors. `wanted` `[M]` are the rows whose hidden state is read, in the works' order."""

    works: tuple[Work, ...]
    tokens: Tensor
    positions: Tensor
    slots: Tensor
    wanted: Tensor
    shared: dict[Window, list[SharedRead]]
    private: tuple[PrivateBatch, ...]


@dataclass(frozen=True, slots=True)
class _Placed:
    """A work with its first row in the step and the context position from which it reads privately."""

    work: Work
    row: int
    private_from: int

    @property
    def num_keys(self) -> int:
        return self.work.first + self.work.count - self.private_from


def build_batch(works: Sequence[Work], windows: Sequence[Window], device: torch.device) -> Batch:
    """The tensors of a step. `windows` are the distinct attention windows of the model's layers (None: all keys)."""
    paths = {id(work): _complete_path(work) for work in works}
    ordered = sorted(works, key=lambda work: [segment.start for segment in paths[id(work)]])
    runs = _choose_runs(ordered, paths)
    placed, row = [], 0
    for work in ordered:
        kept = [segment for segment in paths[id(work)] if id(segment) in runs]
        placed.append(_Placed(work, row, kept[-1].end if kept else 0))
        row += work.count
    positions = np.concatenate([p.work.request.positions(p.work.first, p.work.count) for p in placed])
    rows_of = _rows_of_runs(placed, paths, runs)
    shared = {
        window: [read for run, rows in rows_of if (read := _shared_read(run, rows, positions, window, device))]
        for window in windows
    }
    wanted = [p.row + index - p.work.first for p in placed for index in _wanted(p.work)]
    return Batch(
        works=tuple(ordered),
        tokens=_tensor(np.concatenate([_tokens(p.work) for p in placed]), device),
        positions=_tensor(positions, device),
        slots=_tensor(np.concatenate([_slots(p.work.request)[p.work.first :][: p.work.count] for p in placed]), device),
        wanted=_tensor(np.array(wanted, dtype=np.int64), device),
        shared=shared,
        private=tuple(_private_batch(group, positions, windows, device) for group in _similar(placed)),
    )


def _complete_path(work: Work) -> list[Segment]:
    """The segments of the work's context that were complete before this step."""
    lease = work.request.lease
    return [] if lease is None else [segment for segment in lease.path() if segment.end <= work.first]


def _choose_runs(works: Sequence[Work], paths: dict[int, list[Segment]]) -> set[int]:
    """Ids of the segments that are read as runs: a worthwhile prefix of every path."""
    num_rows: dict[int, int] = {}
    for work in works:
        for segment in paths[id(work)]:
            num_rows[id(segment)] = num_rows.get(id(segment), 0) + work.count
    chosen = set()
    for work in works:
        for segment in paths[id(work)]:
            length = len(segment.tokens)
            if length < MIN_RUN_TOKENS and length * (num_rows[id(segment)] - 1) < MIN_TOKENS_SAVED:
                break
            chosen.add(id(segment))
    return chosen


def _rows_of_runs(
    placed: Sequence[_Placed], paths: dict[int, list[Segment]], runs: set[int]
) -> list[tuple[Segment, NDArray[np.int64]]]:
    found: dict[int, tuple[Segment, list[NDArray[np.int64]]]] = {}
    for p in placed:
        rows = np.arange(p.row, p.row + p.work.count)
        for segment in paths[id(p.work)]:
            if id(segment) in runs and segment.end <= p.private_from:
                found.setdefault(id(segment), (segment, []))[1].append(rows)
    return [(segment, np.concatenate(rows)) for segment, rows in found.values()]


def _shared_read(
    segment: Segment, rows: NDArray[np.int64], positions: NDArray[np.int64], window: Window, device: torch.device
) -> SharedRead | None:
    """What `rows` see of a segment through a window; None when nothing."""
    first, length = segment.position, len(segment.tokens)
    if window is None:
        return SharedRead(segment.start, length, _index(rows, device), len(rows), None)
    rows = rows[positions[rows] - window < segment.end - 1]
    if not len(rows):
        return None
    seen_from = max(first, int(positions[rows].min()) - window + 1)
    keys = np.arange(seen_from, segment.end)
    distance = positions[rows][:, None] - keys[None, :]
    mask = None if (distance < window).all() else _mask(distance < window, device)
    return SharedRead(segment.start + seen_from - first, len(keys), _index(rows, device), len(rows), mask)


def _similar(placed: Sequence[_Placed]) -> list[list[_Placed]]:
    """Works grouped so that padding them to the longest of their group wastes little."""

    def size(p: _Placed) -> tuple[int, int]:
        return (p.work.count.bit_length(), p.num_keys.bit_length() if p.num_keys > 64 else 0)

    return [list(group) for _, group in groupby(sorted(placed, key=size), key=size)]


def _private_batch(
    group: Sequence[_Placed], positions: NDArray[np.int64], windows: Sequence[Window], device: torch.device
) -> PrivateBatch:
    num_queries = max(p.work.count for p in group)
    num_keys = max(p.num_keys for p in group)
    rows = np.zeros((len(group), num_queries), dtype=np.int64)
    keys = np.zeros((len(group), num_keys), dtype=np.int64)
    is_row = np.zeros((len(group), num_queries), dtype=np.bool_)
    sees = np.ones((len(group), num_queries, num_keys), dtype=np.bool_)  # padding queries see all: never empty
    distance = np.zeros((len(group), num_queries, num_keys), dtype=np.int64)
    for i, p in enumerate(group):
        count, length = p.work.count, p.num_keys
        rows[i, :count] = np.arange(p.row, p.row + count)
        is_row[i, :count] = True
        keys[i, :length] = _slots(p.work.request)[p.private_from : p.private_from + length]
        sees[i, :count, :length] = _visible(p)
        sees[i, :count, length:] = False
        key_positions = p.work.request.positions(p.private_from, length)
        distance[i, :count, :length] = positions[p.row : p.row + count][:, None] - key_positions[None, :]
    masks = {w: _mask(sees if w is None else sees & (distance < w), device) for w in windows}
    return PrivateBatch(_tensor(rows, device), _tensor(keys, device), _tensor(is_row, device), masks)


def _visible(p: _Placed) -> NDArray[np.bool_]:
    """`[queries, keys]`: causal, and among the nodes of a label trie only ancestors."""
    work, request = p.work, p.work.request
    queries = np.arange(work.first, work.first + work.count)
    keys = np.arange(p.private_from, p.private_from + p.num_keys)
    sees = keys[None, :] <= queries[:, None]
    if isinstance(request.goal, ScoreLabels):
        tail = request.num_shared
        in_q, in_k = queries >= tail, keys >= tail
        block = request.goal.trie.visible[np.ix_(queries[in_q] - tail, keys[in_k] - tail)]
        sees[np.ix_(in_q, in_k)] = block
    visible: NDArray[np.bool_] = sees
    return visible


def _wanted(work: Work) -> range:
    return work.request.wanted_rows(work.first, work.count)


def _tokens(work: Work) -> NDArray[np.int64]:
    request = work.request
    shared, end = request.num_shared, work.first + work.count
    head = request.prompt[work.first : min(end, shared)]
    tail = request.tail[max(work.first - shared, 0) : end - shared] if end > shared else []
    return np.array([*head, *tail], dtype=np.int64)


def _slots(request: Request) -> NDArray[np.int64]:
    if request.slots is None:
        raise RuntimeError("a request that runs has slots")
    return request.slots


def _index(rows: NDArray[np.int64], device: torch.device) -> Tensor | slice:
    """Consecutive rows as a slice: no copy of the queries."""
    if rows[-1] - rows[0] + 1 == len(rows):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return _tensor(rows, device)


def _mask(sees: NDArray[np.bool_], device: torch.device) -> Tensor:
    return torch.zeros(sees.shape).masked_fill_(torch.from_numpy(~sees), MASKED).to(device)


def _tensor(array: NDArray[np.int64] | NDArray[np.bool_], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
