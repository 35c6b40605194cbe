"""The attention of a step in torch's own operations: any device, and the oracle of the native kernel.

Runs are read for all their rows at once, private parts in padded rows of like size under a mask; the parts are merged
by their log-sum-exp. Windows (GPT-Neo's local layers) only change which keys of a run are read and the masks, so these
are made once for each window that the model has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handful.engine.batch import Batch, Integers, Placed, Run, Window, visible_keys
from handful.engine.memory import KVMemory
from handful.engine.transfer import send
from handful.model.ops.attention import MASKED, attend, merge
from handful.model.spec import ModelSpec


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

    `real` are the places of rows that aren't padding, `[N]` of R and `[N]` of Q, and `real_rows` `[N]` the rows there;
    `masks` holds `[R, Q, T]` additive for each window.
    """

    rows: Tensor
    keys: Tensor
    real: tuple[Tensor, Tensor]
    real_rows: Tensor
    masks: dict[Window, Tensor]


class TorchAttention:
    """The attention of one step, layer by layer: store the new keys and values, then read by the plan."""

    def __init__(self, batch: Batch, memory: KVMemory, spec: ModelSpec) -> None:
        windows, device = list(dict.fromkeys(spec.windows)), memory.keys.device
        positions = batch.positions
        self._slots = send(batch.slots, device)
        self._memory = memory
        self._spec = spec
        self._group = spec.num_heads // spec.num_kv_heads
        self._private = [_private_batch(group, positions, windows, device) for group in _similar(batch.placed)]
        self._shared = {
            window: [read for run in batch.runs if (read := _shared_read(run, positions, window, device))]
            for window in windows
        }

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q `[N, H, D]`, k and v `[N, Hkv, D]` of the step's tokens -> the attention's output `[N, H, D]`."""
        keys, values = self._memory.keys[layer], self._memory.values[layer]
        keys.index_copy_(0, self._slots, k.to(keys.dtype))
        values.index_copy_(0, self._slots, v.to(values.dtype))
        window = self._spec.windows[layer]
        # Query heads that share a key head are stacked behind each other: [N, Hkv, G, D] with G = H / Hkv.
        grouped = q.view(q.shape[0], self._spec.num_kv_heads, self._group, self._spec.head_dim)
        out = grouped.new_empty(grouped.shape, dtype=torch.float32)
        lse = out.new_empty(out.shape[:-1])
        for part in self._private:
            self._read_private(part, window, grouped, (keys, values), (out, lse))
        for read in self._shared[window]:
            self._read_shared(read, grouped, (keys, values), (out, lse))
        return out.to(q.dtype).view(q.shape)

    def _read_private(
        self, part: PrivateBatch, window: Window, q: Tensor, kv: tuple[Tensor, Tensor], into: tuple[Tensor, Tensor]
    ) -> None:
        num_requests, num_queries = part.rows.shape
        heads, group, size = q.shape[1:]
        asked = q[part.rows].permute(0, 2, 3, 1, 4).reshape(num_requests, heads, group * num_queries, size)
        k, v = (x[part.keys].transpose(1, 2) for x in kv)  # [R, Hkv, T, D]
        mask = part.masks[window].unsqueeze(1).repeat(1, 1, group, 1)  # rows in the order (group, query)
        out, lse = attend(asked, k, v, mask, self._spec.attention_scale)
        out = out.view(num_requests, heads, group, num_queries, size).permute(0, 3, 1, 2, 4)
        lse = lse.view(num_requests, heads, group, num_queries).permute(0, 3, 1, 2)
        into[0][part.real_rows] = out[part.real]
        into[1][part.real_rows] = lse[part.real]

    def _read_shared(self, read: SharedRead, q: Tensor, kv: tuple[Tensor, Tensor], into: tuple[Tensor, Tensor]) -> None:
        heads, group, size = q.shape[1:]
        asked = q[read.rows].permute(1, 0, 2, 3).reshape(1, heads, read.num_rows * group, size)
        k, v = (x[read.start : read.start + read.length].transpose(0, 1).unsqueeze(0) for x in kv)
        mask = None if read.mask is None else read.mask.repeat_interleave(group, dim=0)[None, None]
        out, lse = attend(asked, k, v, mask, self._spec.attention_scale)
        out = out.view(heads, read.num_rows, group, size).transpose(0, 1)
        lse = lse.view(heads, read.num_rows, group).transpose(0, 1)
        into[0][read.rows], into[1][read.rows] = merge(into[0][read.rows], into[1][read.rows], out, lse)


def _shared_read(run: Run, positions: Integers, window: Window, device: torch.device) -> SharedRead | None:
    """What the run's rows see of it through a window; None when nothing."""
    segment, rows = run.segment, np.arange(run.first_row, run.end_row)
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


def _similar(placed: Sequence[Placed]) -> list[list[Placed]]:
    """Works grouped so that padding them to the longest of their group wastes little."""

    def size(p: Placed) -> tuple[int, int]:
        return (p.work.count.bit_length(), p.num_keys.bit_length() if p.num_keys > 64 else 0)

    return [list(group) for _, group in groupby(sorted(placed, key=size), key=size)]


def _private_batch(
    group: Sequence[Placed], positions: Integers, windows: Sequence[Window], device: torch.device
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
        keys[i, :length] = p.key_slots
        sees[i, :count, :length] = visible_keys(p)
        sees[i, :count, length:] = False
        key_positions = p.work.request.positions(p.private_from, length)
        distance[i, :count, :length] = positions[p.row : p.row + count][:, None] - key_positions[None, :]
    masks = {w: _mask(sees if w is None else sees & (distance < w), device) for w in windows}
    requests, queries = np.nonzero(is_row)
    return PrivateBatch(
        rows=send(rows, device),
        keys=send(keys, device),
        real=(send(requests, device), send(queries, device)),
        real_rows=send(rows[requests, queries], device),
        masks=masks,
    )


def _index(rows: Integers, device: torch.device) -> Tensor | slice:
    """Consecutive rows as a slice: no copy of the queries."""
    if rows[-1] - rows[0] + 1 == len(rows):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return send(rows, device)


def _mask(sees: NDArray[np.bool_], device: torch.device) -> Tensor:
    return send(np.where(sees, np.float32(0), np.float32(MASKED)), device)
