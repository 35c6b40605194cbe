"""The native attention kernel: its plan, checked once a step, and one call for each layer.

A plan lists *reads*: some rows of the step against some key slots. A row's reads are taken in the order of the list and
joined by one running softmax, which equals the log-sum-exp merge of `ops/attention.py`. The arrays mirror the structs
of `attention.h`. `check_plan` makes sure that no index leads outside the tensors; the kernel itself checks nothing.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handful.model.ops.native.loading import (
    AMX,
    AVX2,
    AVX512,
    AVX512_BF16,
    AVX512_VNNI,
    address_of,
    library,
    needed_library,
)
from handful.model.ops.native.threads import num_threads

Integers = NDArray[np.int64]

_KEYS_IN_A_WORD = TILE_KEYS = 64  # a word of a mask for each tile
MOST_DIMENSIONS = 512  # of a head
# The kernels for each element type and the instruction sets they need, the fastest first.
_KERNELS = {
    torch.bfloat16: {"amx": AMX, "bf16": AVX512_BF16 | AVX512_VNNI},
    torch.float32: {"f32": AVX512, "f32_avx2": AVX2},
}
_FAULTS = (  # `PlanFault` of attention_plan.cpp
    "a read has fewer than no rows or keys",
    "a read has rows outside the step",
    "low and high must have an entry for every row of every read",
    "key_slots must have an entry for every key of every read",
    "a read's visibility lies outside words",
    "key_slots holds an index outside [0, {slots})",
    "new_slots holds an index outside [0, {slots})",
    "asking holds an index outside [0, {tokens})",
    "an entry sees keys outside its read",
)
_WITH_BYTES = {"bf16"}  # those that can multiply bytes instead


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """What each row of a step attends to; one value for each window that the model's layers have.

    first_row, num_rows `[R]` the rows that read, counted among those that ask; they follow one another
    num_keys            `[R]` how many keys they read; rows and keys of the reads follow one another in the arrays below
    first_word          `[R]` where a read's bits begin in `words`, or -1: then `low` and `high` say what is visible
    low, high           `[E]` each row of each read sees the keys `[low, high)` of its read
    in_bytes            `[R]` 1 for a read that is multiplied in bytes in the layers that may be, 0 for the others
    key_slots           `[K]` where the keys lie in the KV memory
    words               uint64: ceil(num_keys / 64) words a row, lowest bit first

    Every row must see a key in some read.
    """

    first_row: Integers
    num_rows: Integers
    num_keys: Integers
    first_word: Integers
    in_bytes: Integers
    low: Integers
    high: Integers
    key_slots: Integers
    words: NDArray[np.uint64]


_TYPES_OF_READS = [(field.name, np.dtype(np.uint64 if field.name == "words" else np.int64)) for field in fields(Reads)]


@dataclass(frozen=True, slots=True, eq=False)
class KeptTiles:
    """A read's tiles in bytes, kept from step to step: uint8 `[layers, kv heads, tiles, bytes of a tile]`.

    Where they are not `filled` yet, the step that has them fills them, if it runs all layers.
    """

    memory: Tensor
    filled: bool


class _PlanStruct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("reads", "low", "high", "words", "key_slots", "new_slots")),
        ("asking", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("num_reads", "num_tokens", "num_rows")),
    ]


class _PlanSizes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("low", "high", "words", "key_slots", "slots")]


class _CallStruct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "keys", "values", "out")),
        *((name, ctypes.c_int64) for name in ("q_stride", "k_stride", "v_stride")),
        *((name, ctypes.c_int64) for name in ("num_heads", "num_kv_heads", "head_dim", "num_threads")),
        *((name, ctypes.c_int64) for name in ("layer", "in_bytes")),
        ("scale", ctypes.c_double),
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A checked plan, ready for every layer of one step. `kept` holds the arrays that the struct points into.

    Where `asking` `[M]` is given, only those of the `num_tokens` have queries, and the result is `[M, H, D]`.
    """

    struct: _PlanStruct
    num_tokens: int
    num_slots: int
    asking: Integers | None
    kept: tuple[NDArray[np.int64] | NDArray[np.uint64], ...]
    tiles: tuple[KeptTiles | None, ...]


def check_plan(
    reads: Reads,
    new_slots: Integers,
    num_slots: int,
    asking: Integers | None = None,
    tiles: Sequence[KeptTiles | None] = (),
) -> Plan:
    """Check a step's plan against a KV memory of `num_slots`. ValueError names what doesn't hold together.

    `asking` are the tokens that read, rising; all of them by default. `tiles` are those kept of the first reads.
    """
    for name, wanted in _TYPES_OF_READS:
        array = getattr(reads, name)
        if array.dtype != wanted or array.ndim != 1 or not array.flags.c_contiguous:
            raise ValueError(f"{name} must be one contiguous row of {wanted}, not {array.dtype}")
    table = _table(reads, tiles)
    new_slots = np.ascontiguousarray(new_slots, dtype=np.int64)
    asking = None if asking is None else np.ascontiguousarray(asking, dtype=np.int64)
    kept = (table, reads.low, reads.high, reads.words, reads.key_slots, new_slots)
    num_tokens, asked = len(new_slots), None if asking is None else asking.ctypes.data
    num_rows = num_tokens if asking is None else len(asking)
    struct = _PlanStruct(*(a.ctypes.data for a in kept), asked, len(table), num_tokens, num_rows)
    sizes = _PlanSizes(len(reads.low), len(reads.high), len(reads.words), len(reads.key_slots), num_slots)
    fault = needed_library().functions.handful_plan_fault(
        ctypes.byref(struct), ctypes.c_void_p(struct.reads), ctypes.byref(sizes)
    )
    if fault:
        raise ValueError(_FAULTS[fault - 1].format(slots=num_slots, tokens=num_tokens))
    return Plan(struct, num_tokens, num_slots, asking, kept, tuple(tiles))


def _table(reads: Reads, tiles: Sequence[KeptTiles | None]) -> Integers:
    """`Read` of attention.h, row by row, but for where its entries and keys begin."""
    num_reads = len(reads.first_row)
    columns = {0: reads.first_row, 1: reads.num_rows, 4: reads.num_keys, 5: reads.first_word, 6: reads.in_bytes}
    if any(len(column) != num_reads for column in columns.values()):
        raise ValueError(
            "each read needs its first row, number of rows and of keys, first word and whether it is in bytes"
        )
    _check_tiles(reads, tiles)
    table = np.zeros((num_reads, 9), dtype=np.int64)
    for at, column in columns.items():
        table[:, at] = column
    for number, each in enumerate(tiles):
        if each is not None:
            table[number, 7:] = each.memory.data_ptr(), each.filled
    return table


def _check_tiles(reads: Reads, tiles: Sequence[KeptTiles | None]) -> None:
    if len(tiles) > len(reads.first_row):
        raise ValueError("there are tiles for more reads than there are")
    for num_keys, each in zip(reads.num_keys.tolist(), tiles, strict=False):
        if each is not None and (each.memory.dim() != 4 or each.memory.shape[2] != -(-num_keys // TILE_KEYS)):
            raise ValueError(f"the tiles kept of a read must be those of its {num_keys} keys")


def pack_visibility(visible: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """`[queries, keys]` as the words of a read: flat, ceil(keys / 64) a query."""
    num_queries, num_keys = visible.shape
    padded = np.zeros((num_queries, ceil(num_keys / _KEYS_IN_A_WORD) * _KEYS_IN_A_WORD), dtype=np.bool_)
    padded[:, :num_keys] = visible
    return np.packbits(padded, axis=1, bitorder="little").reshape(-1).view(np.uint64)


def only_rows(rows: Integers, reads: Reads) -> Reads:
    """The same reads for some rows, `[M]` and rising, from now on counted among themselves."""
    starts, ends = (np.searchsorted(rows, edge) for edge in (reads.first_row, reads.first_row + reads.num_rows))
    counts, num_before = ends - starts, np.cumsum(reads.num_rows) - reads.num_rows
    taken = np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
    entries = rows[taken] + np.repeat(num_before - reads.first_row, counts)
    first_word, words, num_words = reads.first_word.copy(), [], 0
    for number in np.flatnonzero(reads.first_word >= 0):
        of_a_row = -(-reads.num_keys[number] // _KEYS_IN_A_WORD)
        first = reads.first_word[number] + (rows[starts[number] : ends[number]] - reads.first_row[number]) * of_a_row
        words.append(reads.words[(first[:, None] + np.arange(of_a_row)).reshape(-1)])
        first_word[number] = num_words
        num_words += len(words[-1])
    return replace(
        reads,
        first_row=starts,
        num_rows=counts,
        first_word=first_word,
        low=reads.low[entries],
        high=reads.high[entries],
        words=np.concatenate(words) if words else reads.words,
    )


@dataclass(frozen=True, slots=True, eq=False)
class PlannedAttention:
    """The attention of one step, layer by layer: store the new keys and values, then read by the plan.

    memory    keys and values of all layers, `[L, slots, Hkv, D]` each
    plans     `[L]`, the same one for layers with the same window
    in_bytes  the layers where reads that are marked are multiplied in bytes
    last      the last layer's for the step's wanted rows alone, where there are others, too
    """

    kernel: "AttentionKernel"
    memory: tuple[Tensor, Tensor]
    plans: tuple[Plan, ...]
    scale: float
    in_bytes: frozenset[int] = frozenset()
    last: Plan | None = None

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q `[N, H, D]`, k and v `[N, Hkv, D]` of the step's tokens -> the attention's output `[N, H, D]`."""
        keys, values = self.memory
        memory = (keys[layer], values[layer])
        return self.kernel(self.plans[layer], (q, k, v), memory, self.scale, layer in self.in_bytes, layer)


class AttentionKernel:
    """The kernel for one element type. `find` says whether this machine has it."""

    def __init__(self, name: str, dtype: torch.dtype, function: Callable[..., int]) -> None:
        self.has_bytes = name in _WITH_BYTES
        self.dtype = dtype
        self._function = function

    @property
    def address(self) -> int:
        """Where its function lies, for a kernel that calls it."""
        return address_of(self._function)

    @classmethod
    def find(cls, dtype: torch.dtype, head_dim: int) -> "AttentionKernel | None":
        """The fastest kernel for tensors of `dtype`, or None: not built, or not for this type, size or processor."""
        return next(iter(cls.all(dtype).values()), None) if head_dim <= MOST_DIMENSIONS else None

    @classmethod
    def all(cls, dtype: torch.dtype) -> "dict[str, AttentionKernel]":
        """The kernels for tensors of `dtype` that run here by their instruction set, the fastest first."""
        built = library()
        if built is None:
            return {}
        return {
            name: cls(name, dtype, getattr(built.functions, f"handful_attention_{name}"))
            for name, features in _KERNELS.get(dtype, {}).items()
            if built.has(features)
        }

    def __call__(
        self,
        plan: Plan,
        qkv: tuple[Tensor, Tensor, Tensor],
        memory: tuple[Tensor, Tensor],
        scale: float,
        in_bytes: bool = False,
        layer: int = 0,
    ) -> Tensor:
        """Store the step's keys and values in the memory of a layer, then attend.

        qkv: `[N, H, D]`, `[N, Hkv, D]`, `[N, Hkv, D]`, rows any distance apart; memory: keys and values
        `[slots, Hkv, D]`; all of the kernel's type. `scale` is positive. Returns `[N, H, D]`, or `[M, H, D]` for a
        plan of M rows that ask.

        With `in_bytes` the reads that are marked are multiplied in bytes, where the kernel `has_bytes`. `layer` says
        which of the layers' tiles that are kept of them are this one's.
        """
        q, k, v = qkv
        keys, values = memory
        self._check(plan, qkv, memory)
        if not scale > 0:
            raise ValueError(f"the scale of scores must be above 0, not {scale}")
        if in_bytes and not self.has_bytes:
            raise ValueError("this kernel multiplies no bytes")
        self.check_tiles(plan, k.shape[1], k.shape[2], layer)
        out = torch.empty((plan.struct.num_rows, *q.shape[1:]), dtype=q.dtype)
        pointers = (x.data_ptr() for x in (q, k, v, keys, values, out))
        sizes = (q.shape[1], k.shape[1], q.shape[2], num_threads())
        call = _CallStruct(*pointers, q.stride(0), k.stride(0), v.stride(0), *sizes, layer, in_bytes, scale)
        if self._function(ctypes.byref(plan.struct), ctypes.byref(call)):
            raise MemoryError("no memory for the attention of a step")
        return out

    def kept_tile_bytes(self, head_dim: int) -> int:
        """Bytes that `KeptTiles` take for 64 keys under a key head."""
        if not self.has_bytes:
            raise ValueError("this kernel multiplies no bytes")
        return _kept_tile_bytes(head_dim)

    def check_tiles(self, plan: Plan, num_kv_heads: int, head_dim: int, last_layer: int) -> None:
        """That the tiles a plan keeps have room for all layers up to one. ValueError if not."""
        for each in plan.tiles:
            if each is None:
                continue
            layers, kv_heads, _, size = each.memory.shape
            fits = last_layer < layers and kv_heads == num_kv_heads and size == self.kept_tile_bytes(head_dim)
            if not fits or each.memory.dtype is not torch.uint8 or not each.memory.is_contiguous():
                raise ValueError(f"tiles of {tuple(each.memory.shape)} are not those of this layer's keys and values")

    def _check(self, plan: Plan, qkv: tuple[Tensor, Tensor, Tensor], memory: tuple[Tensor, Tensor]) -> None:
        """Once a layer, so it is kept cheap."""
        q, k, v = qkv
        (n, heads, head_dim), (num_keys, kv_heads, key_dim) = q.shape, k.shape
        for x in (q, k, v, *memory):
            if x.dtype is not self.dtype or not x.is_cpu:
                raise ValueError(f"the kernel is for {self.dtype} on the processor, not {x.dtype} on {x.device}")
            if x.stride()[1:] != (head_dim, 1) and not x[0].is_contiguous():
                raise ValueError("the heads of a row must lie behind one another")
        if not n == num_keys == plan.num_tokens or head_dim != key_dim or v.shape != k.shape or heads % kv_heads:
            raise ValueError(f"q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} don't go together")
        if head_dim > MOST_DIMENSIONS:
            raise ValueError(f"heads have at most {MOST_DIMENSIONS} dimensions, not {head_dim}")
        for x in memory:
            if x.shape != (plan.num_slots, kv_heads, head_dim) or not x.is_contiguous():
                wanted = (plan.num_slots, kv_heads, head_dim)
                raise ValueError(f"the memory must be {wanted}, contiguous, not {tuple(x.shape)}")


@cache
def _kept_tile_bytes(head_dim: int) -> int:
    function = needed_library().functions.handful_kept_tile_bytes
    function.argtypes, function.restype = [ctypes.c_int64], ctypes.c_int64
    size: int = function(head_dim)
    return size
