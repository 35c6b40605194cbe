"""The KV memory: keys and values of every token slot, layer by layer. Who owns which slot is `arena.py`'s affair."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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

    def write(self, slots: NDArray[np.int64], keys: Tensor, values: Tensor) -> None:
        """Put keys (turned by their positions) and values `[layers, n, kv heads, head size]` into `n` slots."""
        there = torch.from_numpy(slots).to(self.keys.device)
        self.keys[:, there] = keys.to(self.keys)
        self.values[:, there] = values.to(self.values)
