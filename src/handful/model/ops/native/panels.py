"""Weights in the order of the native products: panels of 32 columns, 32 bits of a column together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from handful.model.ops.native.linear import DEPTH, PANEL, PackedWeights
from handful.model.ops.norm import Normalise


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What each column of a product has beside its weights: `[out]`. scales and offsets of int8, 1 and 0 otherwise."""

    scales: Tensor
    offsets: Tensor
    bias: Tensor | None


def pack_panels(
    rows: Tensor, columns: Columns, activation: str | None, gated: bool, norm: Normalise | None
) -> PackedWeights:
    """Lay out rows `[out, in]` (gated: gate above up) of int8 or bfloat16. See `PackedWeights`."""
    num_out, num_in = rows.shape
    depth, together = -(-num_in // DEPTH) * DEPTH, 4 // rows.dtype.itemsize
    padded = rows.new_zeros((num_out, depth))
    padded[:, :num_in] = rows
    panels = _in_panels(padded, gated).view(-1, PANEL, depth // together, together)
    bias = torch.zeros(num_out) if columns.bias is None else columns.bias.float()
    return PackedWeights(
        panels=panels.transpose(1, 2).contiguous(),
        scales=_in_panels(columns.scales, gated),
        offsets=_in_panels(columns.offsets, gated),
        bias=_in_panels(bias, gated),
        num_in=num_in,
        num_out=num_out // 2 if gated else num_out,
        activation=activation,
        gated=gated,
        norm=norm,
    )


def _in_panels(rows: Tensor, gated: bool) -> Tensor:
    """Pad rows `[out, ...]` with zeros to whole panels; gated: 16 of the gate, 16 of up, and so on."""
    halves = 2 if gated else 1
    width = PANEL // halves
    split = rows.view(halves, rows.shape[0] // halves, *rows.shape[1:])
    padded = rows.new_zeros((halves, -(-split.shape[1] // width) * width, *rows.shape[1:]))
    padded[:, : split.shape[1]] = split
    return padded.view(halves, -1, width, *rows.shape[1:]).transpose(0, 1).reshape(-1, *rows.shape[1:]).contiguous()
