"""Attention in bytes: in which layers it may be, found by measuring what each layer's gives on a short text.

What is rounded (attention_bytes.h) belongs to the layer's queries, keys and values, so a layer whose results on the
text move too much keeps its attention in the model's own type.
"""

import numpy as np
import torch
from torch import Tensor

from handful.model.calibration import OneSequence
from handful.model.ops.native.attention import AttentionKernel, Plan, Reads, check_plan
from handful.model.quantising import MAX_ERROR, relative_error
from handful.model.spec import ModelSpec


class SequenceInBytes:
    """The attention of one sequence that begins here, as `OneSequence`, with the products of some layers in bytes."""

    def __init__(self, spec: ModelSpec, kernel: AttentionKernel, layers: frozenset[int]) -> None:
        self._spec, self._kernel, self._layers = spec, kernel, layers
        self._exact = OneSequence(spec)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q `[N, H, D]`, k and v `[N, Hkv, D]` -> `[N, H, D]`."""
        if layer not in self._layers:
            return self._exact(layer, q, k, v)
        memory = (torch.empty(k.shape, dtype=k.dtype), torch.empty(v.shape, dtype=v.dtype))
        plan = _plan(len(q), self._spec.windows[layer])
        return self._kernel(plan, (q, k, v), memory, self._spec.attention_scale, in_bytes=True)


class ComparedSequence:
    """An `Attend` that gives the exact attention of one sequence, and notes in which layers bytes come near enough."""

    def __init__(self, spec: ModelSpec, kernel: AttentionKernel | None) -> None:
        self._exact = OneSequence(spec)
        everywhere = frozenset(range(spec.num_layers))
        self._quick = None if kernel is None else SequenceInBytes(spec, kernel, everywhere)
        self.errors: dict[int, float] = {}

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q `[N, H, D]`, k and v `[N, Hkv, D]` -> `[N, H, D]`."""
        wanted = self._exact(layer, q, k, v)
        if self._quick is not None:
            self.errors[layer] = relative_error(self._quick(layer, q, k, v).flatten(1), wanted.flatten(1))
        return wanted

    @property
    def layers(self) -> frozenset[int]:
        """Those that may be in bytes."""
        return frozenset(layer for layer, error in self.errors.items() if error <= MAX_ERROR)


def _plan(num_tokens: int, window: int | None) -> Plan:
    """One causal read of a sequence by itself."""
    rows = np.arange(num_tokens)
    return check_plan(
        Reads(
            first_row=np.zeros(1, dtype=np.int64),
            num_rows=np.array([num_tokens]),
            num_keys=np.array([num_tokens]),
            first_word=np.array([-1]),
            in_bytes=np.ones(1, dtype=np.int64),
            low=np.maximum(rows + 1 - (window or num_tokens), 0),
            high=rows + 1,
            key_slots=rows,
            words=np.zeros(0, dtype=np.uint64),
        ),
        rows,
        num_tokens,
    )
