"""Weights in the order of the native products: panels of 32 columns, 32 bits of a column together."""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from handful.model.ops.fused import Fused
from handful.model.ops.native.linear import DEPTH, PANEL, PackedWeights
from handful.model.ops.native.loading import needed_library
from handful.model.ops.native.threads import num_threads


class _Packing(ctypes.Structure):
    """`Packing` of panels.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("rows", "panels")),
        *((name, ctypes.c_int64) for name in ("num_out", "row_bytes", "padded_bytes")),
        *((name, ctypes.c_int32) for name in ("gated", "threads")),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """How the bytes of each column of a product are read, `[out]` each: 1 and 0 where they are no bytes."""

    scales: Tensor
    offsets: Tensor


def pack_panels(rows: Tensor, columns: Columns, fused: Fused, rotation: int = 0) -> PackedWeights:
    """Lay out rows `[out, in]` (gated: gate above up) of int8 or bfloat16. See `PackedWeights`."""
    num_out, num_in = rows.shape
    gated, bias = fused.gated, torch.zeros(num_out) if fused.bias is None else fused.bias.float()
    return PackedWeights(
        panels=_pack(rows.contiguous(), gated),
        scales=in_panels(columns.scales, gated),
        offsets=in_panels(columns.offsets, gated),
        bias=in_panels(bias, gated),
        num_in=num_in,
        num_out=num_out // 2 if gated else num_out,
        activation=fused.activation,
        gated=gated,
        norm=fused.norm,
        rotation=rotation,
    )


def _pack(rows: Tensor, gated: bool) -> Tensor:
    num_out, num_in = rows.shape
    depth, together = -(-num_in // DEPTH) * DEPTH, 4 // rows.dtype.itemsize
    width, columns = (PANEL // 2, num_out // 2) if gated else (PANEL, num_out)
    panels = torch.empty((-(-columns // width), depth // together, PANEL, together), dtype=rows.dtype)
    sizes = (num_out, num_in * rows.dtype.itemsize, depth * rows.dtype.itemsize)
    call = _Packing(rows.data_ptr(), panels.data_ptr(), *sizes, int(gated), num_threads())
    needed_library().functions.handful_pack(ctypes.byref(call))
    return panels


def in_panels(values: Tensor, gated: bool) -> Tensor:
    """Pad `[out]` with zeros to whole panels; gated: 16 of the gate, 16 of up, and so on."""
    halves = 2 if gated else 1
    width = PANEL // halves
    split = values.view(halves, -1)
    padded = values.new_zeros((halves, -(-split.shape[1] // width) * width))
    padded[:, : split.shape[1]] = split
    return padded.view(halves, -1, width).transpose(0, 1).reshape(-1).contiguous()
