"""Runs a batch through the decoder: the KV memory, the attention of a step, and the rows that are wanted.

The only place where the engine's plan meets the model's tensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from handful.engine.batch import Batch, PrivateBatch, SharedRead, Window, build_batch
from handful.engine.request import Work
from handful.model.decoder import Decoder
from handful.model.ops.attention import attend, merge
from handful.model.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class KVMemory:
    """Keys and values of `num_slots` tokens: `[layers, slots, kv heads, head size]` each, touched only where used."""

    keys: Tensor
    values: Tensor

    @classmethod
    def allocate(cls, spec: ModelSpec, num_slots: int, dtype: torch.dtype, device: torch.device) -> "KVMemory":
        """Reserve (not touch) the memory."""
        shape = (spec.num_layers, num_slots, spec.num_kv_heads, spec.head_dim)
        return cls(torch.empty(shape, dtype=dtype, device=device), torch.empty(shape, dtype=dtype, device=device))


class StepAttention:
    """The attention of one step, layer by layer: store the new keys and values, then read by the batch's plan."""

    def __init__(self, batch: Batch, memory: KVMemory, spec: ModelSpec) -> None:
        self._batch = batch
        self._memory = memory
        self._spec = spec
        self._group = spec.num_heads // spec.num_kv_heads

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q `[N, H, D]`, k and v `[N, Hkv, D]` of the step's tokens -> the attention's output `[N, H, D]`."""
        keys, values = self._memory.keys[layer], self._memory.values[layer]
        keys.index_copy_(0, self._batch.slots, k.to(keys.dtype))
        values.index_copy_(0, self._batch.slots, v.to(values.dtype))
        window = self._spec.windows[layer]
        # Query heads that share a key head are stacked behind each other: [N, Hkv, G, D] with G = H / Hkv.
        grouped = q.view(q.shape[0], self._spec.num_kv_heads, self._group, self._spec.head_dim)
        out = grouped.new_empty(grouped.shape, dtype=torch.float32)
        lse = out.new_empty(out.shape[:-1])
        for part in self._batch.private:
            self._read_private(part, window, grouped, (keys, values), (out, lse))
        for read in self._batch.shared[window]:
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
        rows = part.rows[part.is_row]
        into[0][rows] = out[part.is_row]
        into[1][rows] = lse[part.is_row]

    def _read_shared(
        self, read: SharedRead, q: Tensor, kv: tuple[Tensor, Tensor], into: tuple[Tensor, Tensor]
    ) -> None:
        heads, group, size = q.shape[1:]
        asked = q[read.rows].permute(1, 0, 2, 3).reshape(1, heads, read.num_rows * group, size)
        k, v = (x[read.start : read.start + read.length].transpose(0, 1).unsqueeze(0) for x in kv)
        mask = None if read.mask is None else read.mask.repeat_interleave(group, dim=0)[None, None]
        out, lse = attend(asked, k, v, mask, self._spec.attention_scale)
        out = out.view(heads, read.num_rows, group, size).transpose(0, 1)
        lse = lse.view(heads, read.num_rows, group).transpose(0, 1)
        into[0][read.rows], into[1][read.rows] = merge(into[0][read.rows], into[1][read.rows], out, lse)


class Runner:
    """A decoder with its KV memory."""

    def __init__(self, decoder: Decoder, num_slots: int) -> None:
        self.decoder = decoder
        self.spec = decoder.spec
        self.memory = KVMemory.allocate(decoder.spec, num_slots, decoder.dtype, decoder.device)
        self._windows: list[Window] = list(dict.fromkeys(decoder.spec.windows))

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> tuple[Batch, Tensor]:
        """Run a step. Returns the batch (its works in row order) and the wanted rows, normed, `[M, hidden]`."""
        batch = build_batch(works, self._windows, self.decoder.device)
        attention = StepAttention(batch, self.memory, self.spec)
        hidden = self.decoder.forward(batch.tokens, batch.positions, attention)
        return batch, self.decoder.final_norm(hidden[batch.wanted])
