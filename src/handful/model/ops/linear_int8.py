"""int8 linears (W8A8): weights by output channel, activations by row as they come, exact 32-bit sums.

    W ~ scale_w[out] * q_w,  norm(x) ~ scale_x[row] * q_x,  both symmetric in [-127, 127]
    y = residual + activation(scale_x scale_w (q_x . q_w) + b)

Three kernels compute the same sums: `PlainInt8` in torch alone (the oracle, and the path where the native library is
missing), `NativeInt8` (AVX-512 VNNI, everything fused), and `SharedInt8` (oneDNN's product between native quantising
and finishing; it uses AMX where there is AMX). `make_int8` chooses; where AMX gives a choice, by measuring once.

A row with NaN or infinity in it gives NaN in the whole row; other rows don't see it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from handful.model.ops.activation import activate, gate
from handful.model.ops.linear import Linear
from handful.model.ops.native.linear import (
    DEPTH,
    MAX_DEPTH,
    PANEL,
    ZERO_BYTE,
    NativeProduct,
    PackedWeights,
    can_finish,
    can_multiply,
)
from handful.model.ops.norm import Normalise
from handful.model.spec import Activation

SMALLEST = 2.0**-100  # a row without anything larger counts as zeros
MEASURED_ROWS = 256


def quantise_symmetric(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of `[R, K]` as int8 `[R, K]` and their scales `[R]` float32; rounded to nearest even."""
    wide = x.float()
    top = wide.abs().amax(dim=1)
    finite = top.isfinite()
    used = finite & (top > SMALLEST)
    inverse = torch.where(used, top.new_full((), 127.0) / top, 0.0)  # `127.0 / top` would be a rounded reciprocal
    scaled = torch.where(used[:, None], wide * inverse[:, None], 0.0)
    scales = torch.where(used, top / 127.0, 0.0).masked_fill(~finite, torch.nan)
    return scaled.round().to(torch.int8), scales


class PlainInt8:
    """The definition, in torch's own operators."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        norm: Normalise | None = None,
    ) -> None:
        self._weight, self._scales = quantise_symmetric(weight)
        self._bias = None if bias is None else bias.float()
        self._activation, self._gated, self._norm = activation, gated, norm

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        quantised, scales = quantise_symmetric(x if self._norm is None else _wide_norm(self._norm, x))
        sums = torch._int_mm(quantised, self._weight.t())
        product = sums.float() * (scales[:, None] * self._scales)
        if self._bias is not None:
            product += self._bias
        if self._activation is not None:
            product = (gate if self._gated else activate)(product, self._activation)
        return (product if residual is None else product + residual.float()).to(x.dtype)


def _wide_norm(norm: Normalise, x: Tensor) -> Tensor:
    """The norm with its result in float32: nothing is rounded between it and the quantising."""
    weight, bias = (None if part is None else part.float() for part in (norm.weight, norm.bias))
    return Normalise(norm.kind, norm.eps, norm.size, weight, bias)(x.float())


class NativeInt8:
    """AVX-512 VNNI: activations quantised once, multiplied and finished in one pass."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        norm: Normalise | None = None,
    ) -> None:
        self._product = NativeProduct(pack(weight, bias, activation, gated, norm))

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        return self._product.linear(x, residual)


class SharedInt8:
    """torch's own int8 product, quantised before and finished behind by native code."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        norm: Normalise | None = None,
    ) -> None:
        packed = pack(weight, bias, activation, gated, norm)
        self._product = NativeProduct(packed)
        self._weight = packed.panels.transpose(1, 2).reshape(-1, self._product.padded_in).contiguous()

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        quantised, scales = self._product.quantise(x, 0)
        return self._product.finish(torch._int_mm(quantised, self._weight.t()), scales, x.dtype, residual)


def pack(
    weight: Tensor, bias: Tensor | None, activation: Activation | None, gated: bool, norm: Normalise | None
) -> PackedWeights:
    """Quantise a weight `[out, in]` (gated: gate above up) and lay it out in panels. See `PackedWeights`."""
    quantised, scales = quantise_symmetric(weight)
    depth = -(-weight.shape[1] // DEPTH) * DEPTH
    rows = torch.zeros((weight.shape[0], depth), dtype=torch.int8)
    rows[:, : weight.shape[1]] = quantised
    rows = _in_panels(rows, gated)
    panels = rows.view(-1, PANEL, depth // 4, 4).transpose(1, 2).contiguous()
    return PackedWeights(
        panels=panels,
        scales=_in_panels(scales, gated),
        offsets=(rows.sum(dim=1, dtype=torch.int32) * -ZERO_BYTE).to(torch.int32),
        bias=_in_panels(torch.zeros(weight.shape[0]) if bias is None else bias.float(), gated),
        num_in=weight.shape[1],
        num_out=weight.shape[0] // 2 if gated else weight.shape[0],
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


def can_quantise(weight: Tensor) -> bool:
    """Whether an int8 product takes this weight: on the CPU, floating point, sums that fit 32 bits."""
    return weight.device.type == "cpu" and weight.is_floating_point() and weight.shape[1] <= MAX_DEPTH
