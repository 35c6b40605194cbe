"""Attention over sequences of unequal length, laid end to end: torch's kernel for GPUs and its twin in plain torch.

    q          [ sequence 0 ][ sequence 1 ][ s. 2 ]     sequence i: rows cu_q[i] to cu_q[i + 1]
    k and v    [ sequence 0 ][ seq. 1 ][ sequence 2 ]   from cu_k[i] on: to cu_k[i + 1], or used_k[i] of them

The kernel is `torch.nn.attention.varlen.varlen_attn` (torch 2.13), asked for the log-sum-exp besides.
There is no implementation for processors, so the twin stands in wherever tensors lie there. It also refuses what the
kernel would answer with nonsense, so that a test on a processor finds it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

EVERYTHING, CAUSAL = (-1, -1), (-1, 0)
MOST_DIMENSIONS = 256
AMPERE = (8, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Where each of S sequences lies: cu_q and cu_k `[S + 1]`, used_k `[S]` (None: all of them), int32. `max_q` and
    `max_k` bound the lengths."""

    cu_q: Tensor
    cu_k: Tensor
    max_q: int
    max_k: int
    used_k: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """With a window (left, right) query i of n sees of m keys those from i + m - n - left to i + m - n + right; -1 is
    no bound. Products are multiplied by `scale`."""

    scale: float
    window: tuple[int, int] = EVERYTHING


# query `[Tq, H, D]`, key and value `[Tk, Hkv, D]` -> output `[Tq, H, D]` and log-sum-exp `[H, Tq]`
Varlen = Callable[[Tensor, Tensor, Tensor, Sequences, Sight], tuple[Tensor, Tensor]]


def varlen_kernel() -> Varlen:
    """torch's kernel. `why_no_varlen` says where it runs. (The import alone takes a second, so it waits until now.)"""
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    def attend(query: Tensor, key: Tensor, value: Tensor, of: Sequences, sight: Sight) -> tuple[Tensor, Tensor]:
        found = varlen_attn(
            query,
            key,
            value,
            of.cu_q,
            of.cu_k,
            of.max_q,
            of.max_k,
            return_aux=AuxRequest(lse=True),
            scale=sight.scale,
            window_size=sight.window,
            enable_gqa=True,
            seqused_k=of.used_k,
            num_splits=1,  # its sums then don't depend on what else is run
        )
        return cast(tuple[Tensor, Tensor], found)

    return attend


def why_no_varlen(dtype: torch.dtype, head_dim: int, device: torch.device) -> str | None:
    """What keeps torch's kernel from running these tensors (checks in its flash_api.cpp); None where nothing does."""
    if device.type != "cuda":
        return f"it runs on GPUs, not on {device.type}"
    if dtype not in (torch.float16, torch.bfloat16):
        return f"it takes float16 and bfloat16, not {str(dtype).removeprefix('torch.')}"
    if head_dim % 8 or head_dim > MOST_DIMENSIONS:
        return f"it takes heads of a multiple of 8 dimensions, at most {MOST_DIMENSIONS}, not {head_dim}"
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < AMPERE:
        return "it takes an Ampere GPU or a later one"
    if not torch.backends.cuda.is_flash_attention_available():
        return "this torch was built without flash attention"
    return None


def varlen_plain(query: Tensor, key: Tensor, value: Tensor, of: Sequences, sight: Sight) -> tuple[Tensor, Tensor]:
    """Attention of each sequence's queries to its own keys, in float32.

    query `[Tq, H, D]`, key and value `[Tk, Hkv, D]`. Returns the output `[Tq, H, D]` in query's type and the
    log-sum-exp `[H, Tq]` in float32; a query that sees nothing gets 0 and infinity, as from the kernel.

    Raises ValueError for what the kernel doesn't take.
    """
    group = query.shape[1] // key.shape[1]
    ends = [each.tolist() for each in (of.cu_q, of.cu_k)]
    used = [b - a for a, b in zip(ends[1], ends[1][1:], strict=False)] if of.used_k is None else of.used_k.tolist()
    _check((query, key, value), (of.cu_q, of.cu_k, of.used_k))
    _check_lengths(ends, used, (of.max_q, of.max_k), len(query), len(key))
    out = torch.zeros(query.shape, dtype=torch.float32, device=query.device)
    lse = torch.full((query.shape[1], len(query)), float("inf"), device=query.device)
    for first, end, start, length in zip(ends[0], ends[0][1:], ends[1], used, strict=False):
        q = query[first:end].float().transpose(0, 1)  # [H, n, D]
        k, v = (x[start : start + length].float().repeat_interleave(group, dim=1).transpose(0, 1) for x in (key, value))
        scores = q @ k.transpose(-1, -2) * sight.scale
        sees = _visible(end - first, length, sight.window).to(query.device)
        scores = scores.masked_fill(~sees, float("-inf"))[:, sees.any(dim=1)]
        rows = torch.arange(first, end, device=query.device)[sees.any(dim=1)]
        lse[:, rows] = scores.logsumexp(dim=-1)
        out[rows] = (scores.softmax(dim=-1) @ v).transpose(0, 1)
    return out.to(query.dtype), lse


def _visible(num_queries: int, num_keys: int, window_size: tuple[int, int]) -> Tensor:
    """`[queries, keys]`: the last query stands at the last key."""
    distance = torch.arange(num_keys)[None, :] - torch.arange(num_keys - num_queries, num_keys)[:, None]
    left, right = window_size
    sees = torch.ones(num_queries, num_keys, dtype=torch.bool)
    if left >= 0:
        sees &= distance >= -left
    if right >= 0:
        sees &= distance <= right
    return sees


def _check(qkv: tuple[Tensor, ...], integers: tuple[Tensor | None, ...]) -> None:
    query, key, value = qkv
    heads, kv_heads = query.shape[1], key.shape[1]
    if key.shape != value.shape or query.shape[2] != key.shape[2] or len({x.dtype for x in qkv}) > 1:
        raise ValueError(f"q {tuple(query.shape)}, k {tuple(key.shape)}, v {tuple(value.shape)} don't go together")
    if heads % kv_heads:
        raise ValueError(f"{heads} heads of queries can't read {kv_heads} of keys")
    if any(x.stride(-1) != 1 for x in qkv):
        raise ValueError("the dimensions of a head must lie behind one another")
    if any(x is not None and (x.dtype != torch.int32 or not x.is_contiguous()) for x in integers):
        raise ValueError("offsets and lengths must be int32 without gaps")


def _check_lengths(ends: list[list[int]], used: list[int], most: tuple[int, int], num_q: int, num_k: int) -> None:
    counts = [b - a for a, b in zip(ends[0], ends[0][1:], strict=False)]
    if not len(ends[0]) == len(ends[1]) == len(used) + 1 or len(used) < 1:
        raise ValueError("every sequence needs its offsets and its length")
    if ends[0][0] != 0 or ends[0][-1] != num_q or min(counts) < 0 or max(counts) > most[0]:
        raise ValueError(f"offsets {ends[0]} don't divide {num_q} queries into sequences of at most {most[0]}")
    if most[0] == 1 and min(counts) < 1:  # grouped heads are then read as if each sequence had one query
        raise ValueError("with max_q 1 every sequence must have its query")
    if sorted(ends[1]) != ends[1] or ends[1][0] < 0 or ends[1][-1] > num_k:
        raise ValueError(f"offsets {ends[1]} don't divide {num_k} keys")
    if any(length > b - a for length, a, b in zip(used, ends[1], ends[1][1:], strict=False)):
        raise ValueError("a sequence uses more keys than it has")
    if min(used) < 0 or max(used) > most[1]:
        raise ValueError(f"sequences of {min(used)} to {max(used)} keys with max_k {most[1]}")
