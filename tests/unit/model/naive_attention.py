"""The plainest attention that the decoder's seam admits: the oracle of the engine's and of the decoder's tests.

`NaiveAttention` serves one step: a ragged row of tokens of several requests, each with its own history in a cache that
only grows. For every request it forms the whole score matrix in float32, masks it by position and window, and takes a
softmax.
"""

import torch
from torch import Tensor

from handful.model.decoder import Decoder
from handful.model.spec import ModelSpec


class NaiveCache:
    """Keys and values of one request by layer: `[T, Hkv, D]` each, and the position of each token `[T]`."""

    def __init__(self, spec: ModelSpec) -> None:
        empty = torch.zeros(0, spec.num_kv_heads, spec.head_dim)
        self.keys = [empty] * spec.num_layers
        self.values = [empty] * spec.num_layers
        self.length = 0


class NaiveAttention:
    """`Attend` for a step in which `caches[i]`'s request runs the next `counts[i]` tokens of the row."""

    def __init__(self, spec: ModelSpec, caches: list[NaiveCache], counts: list[int]) -> None:
        self._spec, self._caches, self._counts = spec, caches, counts

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q `[N, H, D]`, k and v `[N, Hkv, D]` -> `[N, H, D]`."""
        outs = []
        parts = (torch.split(x, self._counts) for x in (q, k, v))
        for cache, (queries, keys, values) in zip(self._caches, zip(*parts, strict=True), strict=True):
            cache.keys[layer] = torch.cat((cache.keys[layer].to(keys.dtype), keys))
            cache.values[layer] = torch.cat((cache.values[layer].to(values.dtype), values))
            outs.append(self._one(layer, cache, queries))
        return torch.cat(outs)

    def _one(self, layer: int, cache: NaiveCache, queries: Tensor) -> Tensor:
        group = self._spec.num_heads // self._spec.num_kv_heads
        keys = cache.keys[layer].repeat_interleave(group, dim=1)
        values = cache.values[layer].repeat_interleave(group, dim=1)
        scores = torch.einsum("qhd,khd->hqk", queries.float(), keys.float()) * self._spec.attention_scale
        at_key = torch.arange(keys.shape[0])
        at_query = cache.length + torch.arange(queries.shape[0])[:, None]
        visible = at_key <= at_query
        window = self._spec.windows[layer]
        if window is not None:
            visible &= at_key > at_query - window
        weights = scores.masked_fill(~visible, float("-inf")).softmax(-1)
        return torch.einsum("hqk,khd->qhd", weights.to(values.dtype), values)


def run_step(decoder: Decoder, caches: list[NaiveCache], parts: list[Tensor]) -> list[Tensor]:
    """Run the next tokens `parts[i]` `[n_i]` of every request in one step; logits `[n_i, V]` of each."""
    counts = [len(part) for part in parts]
    positions = torch.cat([cache.length + torch.arange(len(p)) for cache, p in zip(caches, parts, strict=True)])
    with torch.inference_mode():
        attend = NaiveAttention(decoder.spec, caches, counts)
        hidden = decoder.forward(torch.cat(parts), positions, attend)
        logits = decoder.logits(decoder.final_norm(hidden))
    for cache, count in zip(caches, counts, strict=True):
        cache.length += count
    return list(torch.split(logits, counts))


def naive_logits(decoder: Decoder, tokens: Tensor) -> Tensor:
    """Logits of one sequence `[T]` in one piece: `[T, V]`."""
    return run_step(decoder, [NaiveCache(decoder.spec)], [tokens])[0]
