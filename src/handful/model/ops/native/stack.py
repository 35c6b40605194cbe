"""All layers of a decoder in one native call, where every product is native: the same bits as layer by layer.

From one kernel to the next Python takes 20 microseconds, 180 times a step of 30 layers: a sixth of the time of a single
request.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from handful.model.ops.native.attention import PlannedAttention
from handful.model.ops.native.linear import TILE_ROWS, NativeProduct
from handful.model.ops.native.loading import library
from handful.model.ops.native.rotary import rotate_address
from handful.model.ops.native.threads import num_threads
from handful.model.ops.rotary import Rotation

_TYPES = {torch.float32: 0, torch.bfloat16: 1}


class _Layer(ctypes.Structure):
    """`StackLayer` of stack.cpp."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("qkv", "attention_out", "mlp_up", "mlp_down"))


class _Stack(ctypes.Structure):
    """`Stack` of stack.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("layers", "attention", "rotate")),
        *((name, ctypes.c_int64) for name in ("num_layers", "hidden", "heads", "kv_heads", "head_dim")),
        *((name, ctypes.c_int32) for name in ("type", "features", "is_parallel")),
        ("scale", ctypes.c_double),
    )


class _Call(ctypes.Structure):
    """`StackCall` of stack.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "qkv", "mixed", "attended", "middle", "packed", "scales")),
        *((name, ctypes.c_void_p) for name in ("keys", "values", "cos", "sin", "plans", "in_bytes", "wanted")),
        *((name, ctypes.c_int64) for name in ("rows", "num_wanted", "layer_bytes", "dims", "threads")),
    )


@dataclass(frozen=True, slots=True, eq=False)
class StackProducts:
    """The products of one layer, each with its norm and what else is fused to it."""

    qkv: NativeProduct
    attention_out: NativeProduct
    mlp_up: NativeProduct
    mlp_down: NativeProduct


@dataclass(frozen=True, slots=True)
class StackShape:
    """heads and kv_heads of head_dim; in a parallel layer the MLP starts from the layer's input, too."""

    heads: int
    kv_heads: int
    head_dim: int
    is_parallel: bool


class NativeStack:
    """The layers of a decoder, checked once, and their run over the rows of a step."""

    def __init__(self, layers: Sequence[StackProducts], shape: StackShape, dtype: torch.dtype) -> None:
        native = library()
        if native is None:
            raise RuntimeError("the native kernels aren't there")
        self._run = native.functions.handful_stack
        self._rotate = rotate_address()
        self._shape, self._dtype, self._kept = shape, dtype, tuple(layers)
        self.hidden = layers[0].qkv.num_in
        self._check_sizes()
        products = [p for layer in layers for p in (layer.qkv, layer.attention_out, layer.mlp_up, layer.mlp_down)]
        self._features = products[0].features
        if any(p.features != self._features for p in products):
            raise ValueError("the products of a stack take the same instruction sets")
        self._middle = max(layer.mlp_up.num_out for layer in layers)
        self._row_bytes = max(p.row_bytes for p in products)
        self._layers = (_Layer * len(layers))(
            *(_Layer(*(p.address for p in (x.qkv, x.attention_out, x.mlp_up, x.mlp_down))) for x in layers)
        )

    def run(
        self,
        hidden: Tensor,
        attention: PlannedAttention,
        rotation: Rotation | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Hidden states `[N, d]` before the first layer, which are overwritten -> those behind the last one, `[N, d]`.

        With `wanted` `[M]` int64, rising, only those rows go through the last layer: `[M, d]`.
        """
        rows, shape = len(hidden), self._shape
        num_wanted = rows if wanted is None else len(wanted)
        self._check(hidden, attention, rotation, wanted)
        keys, values = attention.memory
        heads = shape.heads + 2 * shape.kv_heads
        widths = (heads * shape.head_dim, shape.heads * shape.head_dim, self.hidden, self._middle)
        room = [torch.empty((rows, width), dtype=self._dtype) for width in widths]
        packed = torch.empty(-(-rows // TILE_ROWS) * TILE_ROWS * self._row_bytes, dtype=torch.uint8)
        planned = (
            attention.plans if wanted is None or attention.last is None else (*attention.plans[:-1], attention.last)
        )
        plans = (ctypes.c_void_p * len(self._kept))(*(ctypes.addressof(plan.struct) for plan in planned))
        in_bytes = (ctypes.c_int64 * len(self._kept))(*(n in attention.in_bytes for n in range(len(self._kept))))
        scales = torch.empty(-(-rows // TILE_ROWS) * TILE_ROWS)
        call = _Call(
            *(x.data_ptr() for x in (hidden, *room, packed, scales, keys, values)),
            *(None, None) if rotation is None else (rotation.cos.data_ptr(), rotation.sin.data_ptr()),
            ctypes.addressof(plans),
            ctypes.addressof(in_bytes),
            None if wanted is None else wanted.data_ptr(),
            rows,
            num_wanted,
            keys.stride(0) * keys.dtype.itemsize,
            0 if rotation is None else rotation.dims,
            num_threads(),
        )
        stack = _Stack(
            ctypes.addressof(self._layers),
            attention.kernel.address,
            self._rotate,
            *(len(self._kept), self.hidden, shape.heads, shape.kv_heads, shape.head_dim),
            *(_TYPES[self._dtype], self._features, int(shape.is_parallel)),
            attention.scale,
        )
        if self._run(ctypes.byref(stack), ctypes.byref(call)):
            raise MemoryError("no memory for the attention of a step")
        return hidden[:num_wanted]

    def _check_sizes(self) -> None:
        shape = self._shape
        queries, qkv = shape.heads * shape.head_dim, (shape.heads + 2 * shape.kv_heads) * shape.head_dim
        for number, layer in enumerate(self._kept):
            wanted = ((self.hidden, qkv), (queries, self.hidden), (self.hidden, None), (None, self.hidden))
            products = (layer.qkv, layer.attention_out, layer.mlp_up, layer.mlp_down)
            for product, (num_in, num_out) in zip(products, wanted, strict=True):
                if num_in not in (None, product.num_in) or num_out not in (None, product.num_out):
                    raise ValueError(f"a product of layer {number} doesn't fit the decoder's heads and hidden size")
            if layer.mlp_down.num_in != layer.mlp_up.num_out:
                raise ValueError(f"the two products of the MLP of layer {number} don't fit each other")

    def _check(
        self, hidden: Tensor, attention: PlannedAttention, rotation: Rotation | None, wanted: Tensor | None
    ) -> None:
        """What the kernels rely on; once a step."""
        shape, rows = self._shape, len(hidden)
        if hidden.dtype != self._dtype or hidden.shape != (rows, self.hidden) or not hidden.is_contiguous():
            raise ValueError(f"hidden states must be [N, {self.hidden}] {self._dtype} without gaps")
        if len(attention.plans) != len(self._kept) or not attention.scale > 0:
            raise ValueError(f"{len(self._kept)} layers need as many plans, and a scale above 0")
        if attention.kernel.dtype != self._dtype or (attention.in_bytes and not attention.kernel.has_bytes):
            raise ValueError("the attention's kernel is for another type, or multiplies no bytes")
        num_slots = attention.plans[0].num_slots
        distinct = set(attention.plans)
        for plan in distinct if attention.last is None else {*distinct, attention.last}:
            attention.kernel.check_tiles(plan, shape.kv_heads, shape.head_dim, len(self._kept) - 1)
        for plan in distinct:
            if plan.num_tokens != rows or plan.num_slots != num_slots or plan.asking is not None:
                raise ValueError(f"the attention was planned for {plan.num_tokens} rows, not {rows}")
        for x in attention.memory:
            sizes = (len(self._kept), num_slots, shape.kv_heads, shape.head_dim)
            if x.shape != sizes or x.dtype != self._dtype or not x.is_contiguous():
                raise ValueError(f"the memory must be {list(sizes)} {self._dtype} without gaps, not {list(x.shape)}")
        if rotation is not None:
            if self._rotate is None or rotation.dims % 2 or not 0 < rotation.dims <= shape.head_dim:
                raise ValueError(f"an even number of a head's {shape.head_dim} dimensions is turned")
            for x in (rotation.cos, rotation.sin):
                if x.shape != (rows, 1, shape.head_dim) or x.dtype != self._dtype or not x.is_contiguous():
                    raise ValueError(f"cos and sin must be [{rows}, 1, {shape.head_dim}] {self._dtype} without gaps")
        if wanted is not None:
            which = wanted.numpy()
            is_rising = wanted.dtype == torch.int64 and wanted.is_contiguous() and (which[1:] > which[:-1]).all()
            if not is_rising or (len(which) and not 0 <= which[0] <= which[-1] < rows):
                raise ValueError(f"wanted rows must rise within [0, {rows}), in int64 without gaps")
        if wanted is not None and attention.last is not None:
            asking, tokens = attention.last.asking, attention.last.num_tokens
            if asking is None or tokens != rows or not np.array_equal(asking, wanted.numpy()):
                raise ValueError("the last layer's attention was planned for other rows than those that are wanted")
