"""The attention of a step on the native kernel: the whole of a layer in one call.

The plan is flat rows of integers (`Reads`): each run for its rows, then each request's private part for its own. A row
sees an interval of a read's keys, by causality and window; only where several branches of a label trie are run is
visibility given key by key. What a row gets depends on how its own context is split into runs and which of them are in
bytes, not on other rows.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handful.engine.batch import Batch, Integers, Placed, Window, visible_keys
from handful.engine.kept_tiles import TileStore
from handful.engine.memory import KVMemory
from handful.engine.request import ScoreLabels
from handful.model.ops.native.attention import (
    TILE_KEYS,
    AttentionKernel,
    PlannedAttention,
    Reads,
    check_plan,
    only_rows,
    pack_visibility,
)
from handful.model.spec import ModelSpec

# Making bytes of a run's keys and values costs what some 60 rows under a key head save by it.
BYTES_PAY_FROM = 96


def plan_attention(
    kernel: AttentionKernel,
    in_bytes: frozenset[int],
    store: TileStore | None,
    batch: Batch,
    memory: KVMemory,
    spec: ModelSpec,
) -> PlannedAttention:
    """The attention of one step. In the layers `in_bytes`, runs are multiplied in bytes, which `store` keeps."""
    num_slots = memory.keys.shape[1]
    many = read_by_many(batch, spec.num_heads // spec.num_kv_heads)
    shared = [run.segment.is_shared or m for run, m in zip(batch.runs, many, strict=True)]
    tiles = () if store is None else store.plan(batch.runs, shared)
    marked = many if store is None else [m or t is not None for m, t in zip(many, tiles, strict=True)]
    reads = plan_reads(batch, marked)
    seen = {window: seen_through(window, reads, batch) for window in set(spec.windows)}
    plans = {window: check_plan(each, batch.slots, num_slots, tiles=tiles) for window, each in seen.items()}
    last = None
    if len(batch.wanted) < len(batch.tokens):
        few = only_rows(batch.wanted, seen[spec.windows[-1]])
        last = check_plan(few, batch.slots, num_slots, batch.wanted, tiles)
    by_layer = tuple(plans[window] for window in spec.windows)
    return PlannedAttention(kernel, (memory.keys, memory.values), by_layer, spec.attention_scale, in_bytes, last)


def read_by_many(batch: Batch, group: int) -> list[bool]:
    """Which runs so many rows read that bytes pay even where they are not kept.

    `group` is the number of query heads of a key head. Only runs may be in bytes: their keys and values are computed
    already, so what rounding moves is one row's result and not what others will read.
    """
    return [
        (run.end_row - run.first_row) * group >= BYTES_PAY_FROM and len(run.segment.tokens) >= TILE_KEYS
        for run in batch.runs
    ]


def plan_reads(batch: Batch, in_bytes: Sequence[bool]) -> Reads:
    """Who reads what, by causality alone; `seen_through` adds a window and the label tries.

    `in_bytes` says of each run whether it is multiplied so.
    """
    runs, placed = batch.runs, batch.placed
    num_rows = np.array([*(r.end_row - r.first_row for r in runs), *(p.work.count for p in placed)], dtype=np.int64)
    num_keys = np.array([*(len(r.segment.tokens) for r in runs), *(p.num_keys for p in placed)], dtype=np.int64)
    own_rows = np.arange(len(batch.positions))
    own_first = np.repeat(num_keys[len(runs) :] - num_rows[len(runs) :], num_rows[len(runs) :])
    within = own_rows - np.repeat([p.row for p in placed], num_rows[len(runs) :])
    run_keys = [np.arange(r.segment.start, r.segment.start + len(r.segment.tokens)) for r in runs]
    run_rows = num_rows[: len(runs)]
    return Reads(
        first_row=np.array([*(r.first_row for r in runs), *(p.row for p in placed)], dtype=np.int64),
        num_rows=num_rows,
        num_keys=num_keys,
        first_word=np.full(len(num_rows), -1),
        in_bytes=np.array([*in_bytes, *[False] * len(placed)], dtype=np.int64),
        low=np.zeros(num_rows.sum(), dtype=np.int64),
        high=np.concatenate((np.repeat(num_keys[: len(runs)], run_rows), own_first + within + 1)),
        key_slots=np.concatenate([*run_keys, *(p.key_slots for p in placed)]),
        words=np.zeros(0, dtype=np.uint64),
    )


def seen_through(window: Window, reads: Reads, batch: Batch) -> Reads:
    """The same reads where a row at position i sees only keys at positions above i - window, and a trie's ancestors."""
    first_word, words = _trie_words(window, reads, batch)
    if window is None:
        return replace(reads, first_word=first_word, words=words)
    starts = [*(r.segment.position for r in batch.runs), *(p.private_from for p in batch.placed)]
    rows = np.concatenate([np.arange(n) + first for first, n in zip(reads.first_row, reads.num_rows, strict=True)])
    low = batch.positions[rows] - window + 1 - np.repeat(starts, reads.num_rows)
    return replace(reads, low=np.maximum(low, 0), first_word=first_word, words=words)


def _trie_words(window: Window, reads: Reads, batch: Batch) -> tuple[Integers, NDArray[np.uint64]]:
    first_word, found, num_words = reads.first_word.copy(), [], 0
    for number, p in enumerate(batch.placed, start=len(batch.runs)):
        if not _runs_trie_nodes(p):
            continue
        visible = visible_keys(p)
        if window is not None:
            key_positions = p.work.request.positions(p.private_from, p.num_keys)
            rows = slice(p.row, p.row + p.work.count)
            visible &= batch.positions[rows][:, None] - key_positions[None, :] < window
        found.append(pack_visibility(visible))
        first_word[number] = num_words
        num_words += len(found[-1])
    return first_word, np.concatenate(found) if found else reads.words


def _runs_trie_nodes(p: Placed) -> bool:
    """Whether rows beyond the last prompt token are run, of which not everything before them is an ancestor."""
    request = p.work.request
    return isinstance(request.goal, ScoreLabels) and p.work.first + p.work.count > request.num_shared + 1
