"""int8 linears (W8A8): weights by output channel, activations by row as they come, exact 32-bit sums.

    W ~ scale_w[out] * q_w,  norm(x) ~ scale_x[row] * q_x,  both symmetric in [-127, 127]
    y = residual + activation(scale_x scale_w (q_x . q_w) + b)

What one scale a row can't span is evened out in front of it, exactly (`Evening`): channels that are large for every
token by factors (`smooth`), values that are large for one token by mixing blocks of channels with a Hadamard matrix H.
x W^T = (x H)(W H)^T / size, and the weight is mixed once (QuaRot, arXiv 2404.00456).

Two kernels compute the same sums: `PlainInt8` in torch alone (the oracle, and the path where the native library is
missing) and `NativeInt8` (AVX2 and all above, everything fused). The first rounds weights to nearest; the second does,
too, unless it is told what its inputs have most of (`directions.py`).

A row with NaN or infinity in it gives NaN in the whole row; other rows don't see it.
"""

from copy import copy
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from handful.model.ops.activation import activate, gate
from handful.model.ops.directions import principal_directions
from handful.model.ops.fused import NOTHING, Fused
from handful.model.ops.linear import Linear
from handful.model.ops.native.linear import (
    MAX_DEPTH,
    ZERO_BYTE,
    NativeProduct,
    PackedWeights,
    can_multiply,
    fits_rotation,
)
from handful.model.ops.native.panels import Columns, in_panels, pack_panels
from handful.model.ops.native.quantising import quantise_rows
from handful.model.ops.norm import Normalise

SMALLEST = 2.0**-100  # a row without anything larger counts as zeros
SMOOTHING = 0.7  # a of `smooth`: the least error of 0.3, 0.5, 0.7 and 0.85 on SmolLM2-135M (docs/log.md)


def quantise_symmetric(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of `[R, K]` as int8 `[R, K]` and their scales `[R]` float32; rounded to nearest even."""
    wide = x.float()
    top = torch.maximum(wide.amax(dim=1), -wide.amin(dim=1))
    finite = top.isfinite()
    used = finite & (top > SMALLEST)
    inverse = torch.where(used, top.new_full((), 127.0) / top, 0.0)  # `127.0 / top` would be a rounded reciprocal
    scaled = wide * inverse[:, None]
    if not finite.all():
        scaled[~finite] = 0.0
    scales = torch.where(used, top / 127.0, 0.0).masked_fill(~finite, torch.nan)
    return scaled.round_().to(torch.int8), scales


@dataclass(frozen=True, slots=True, eq=False)
class Evening:
    """What is done to a linear's inputs and undone in its weight.

    factors   `[in]`: the weight's columns are multiplied by them; the norm in front has been divided by them
    rotation  the size of the blocks of channels that are mixed, behind the norm; 0 for none
    """

    factors: Tensor | None = None
    rotation: int = 0

    def of_inputs(self, x: Tensor) -> Tensor:
        """Inputs `[N, in]` as they come out of the norm, evened, float32."""
        wide = x.float() if self.factors is None else x.float() / self.factors
        return mix(wide, self.rotation) if self.rotation else wide

    def of_weight(self, weight: Tensor) -> Tensor:
        """The weight `[out, in]` that stands behind evened inputs, float32."""
        wide = weight.float() if self.factors is None else weight.float() * self.factors
        return mix(wide, self.rotation) / self.rotation if self.rotation else wide


AS_IT_COMES = Evening()


def mix(x: Tensor, size: int) -> Tensor:
    """Rows `[R, K]` times a Hadamard matrix (of 1 and -1) in blocks of `size`, a power of two that divides K.

    Where size is a power of 4 it is a power of the regular Hadamard matrix of 4, whose rows all sum to 2 or -2: a part
    that all values have in common (behind an activation there is one) stays as small as it was. Twice that: the largest
    such matrix, mixed once more as usual.
    """
    mixed, apart = x, 1
    while 4 * apart <= size:
        a, b, c, d = mixed.reshape(x.shape[0], -1, 4, apart).unbind(2)
        first, second, third, fourth = a + b, a - b, d - c, c + d
        mixed = torch.stack((first + third, second + fourth, first - third, second - fourth), dim=2)
        apart *= 4
    if apart < size:
        first, second = mixed.reshape(x.shape[0], -1, 2, apart).unbind(2)
        mixed = torch.stack((first + second, first - second), dim=2)
    return mixed.reshape(x.shape)


def rotation_of(num_in: int) -> int:
    """The size of the blocks for so many inputs: as large as divides them, up to 512; 0 where none does."""
    return next((size for size in (512, 256, 128, 64) if fits_rotation(num_in, size)), 0)


class Int8Linear(Linear, Protocol):
    """A linear layer in int8."""

    def wide(self, x: Tensor) -> Tensor:
        """The product without a residual in float32, as its sums are: `[N, in]` -> `[N, out]`."""
        ...

    def with_bias(self, bias: Tensor) -> Self:
        """The same layer, its weight shared, with another bias `[out]`."""
        ...


class PlainInt8:
    """The definition, in torch's own operators."""

    def __init__(self, weight: Tensor, fused: Fused = NOTHING, evening: Evening = AS_IT_COMES) -> None:
        self._weight, self._scales = quantise_symmetric(evening.of_weight(weight))
        self._rotation = evening.rotation
        self._fused = fused

    def with_bias(self, bias: Tensor) -> Self:
        """The same layer, its weight shared, with another bias `[out]`."""
        made = copy(self)
        made._fused = replace(self._fused, bias=bias)
        return made

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        product = self.wide(x)
        return (product if residual is None else product + residual.float()).to(x.dtype)

    def wide(self, x: Tensor) -> Tensor:
        """The product without a residual in float32, as its sums are."""
        fused = self._fused
        if not len(x):  # a step of which nothing is wanted; torch's own operations don't all take that
            return x.new_zeros((0, len(self._weight) // (2 if fused.gated else 1)), dtype=torch.float32)
        normed = x.float() if fused.norm is None else _wide_norm(fused.norm, x)
        quantised, scales = quantise_symmetric(mix(normed, self._rotation))
        sums = torch._int_mm(quantised, self._weight.t())
        product = sums.float() * (scales[:, None] * self._scales)
        if fused.bias is not None:
            product += fused.bias.float()
        if fused.activation is not None:
            product = (gate if fused.gated else activate)(product, fused.activation)
        return product


def _wide_norm(norm: Normalise, x: Tensor) -> Tensor:
    """The norm with its result in float32: nothing is rounded between it and the quantising."""
    weight, bias = (None if part is None else part.float() for part in (norm.weight, norm.bias))
    return Normalise(norm.kind, norm.eps, norm.size, weight, bias)(x.float())


class NativeInt8:
    """The kernels for AVX2 and all above: activations quantised once, multiplied and finished in one pass."""

    def __init__(
        self,
        weight: Tensor,
        fused: Fused = NOTHING,
        evening: Evening = AS_IT_COMES,
        directions: Tensor | None = None,
    ) -> None:
        self._packed = pack(weight, fused, evening, directions)
        self.product = NativeProduct(self._packed)

    def with_bias(self, bias: Tensor) -> Self:
        """The same layer, its weight shared, with another bias `[out]`."""
        made = copy(self)
        made._packed = replace(self._packed, bias=in_panels(bias.float(), self._packed.gated))
        made.product = NativeProduct(made._packed)
        return made

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        return self.product.linear(x, residual)

    def wide(self, x: Tensor) -> Tensor:
        """The product without a residual in float32, as its sums are."""
        return self.product.linear(x, dtype=torch.float32)


def pack(
    weight: Tensor,
    fused: Fused = NOTHING,
    evening: Evening = AS_IT_COMES,
    directions: Tensor | None = None,
) -> PackedWeights:
    """Quantise a weight `[out, in]` (gated: gate above up) and lay it out in panels.

    `directions` `[in, 16]`: what evened inputs have most of, on which the rounding's errors are to cancel out.
    """
    quantised, scales, sums = quantise_rows(weight, evening.factors, evening.rotation, directions)
    return pack_panels(quantised, Columns(scales, sums * -ZERO_BYTE), fused, evening.rotation)


def can_quantise(weight: Tensor) -> bool:
    """Whether an int8 product takes this weight: on the CPU, floating point, sums that fit 32 bits."""
    return weight.device.type == "cpu" and weight.is_floating_point() and weight.shape[1] <= MAX_DEPTH


def smooth(weight: Tensor, norm: Normalise, largest: Tensor) -> tuple[Tensor, Normalise]:
    """Factors s `[in]` for the weight's columns, and the norm with channel i divided by s_i: the same product.

    s = largest^a / max|W|^(1 - a), SmoothQuant's formula (arXiv 2211.10438), 1 where a channel is unused. Both come
    back in float32.
    """
    reach, weights = largest.float(), torch.maximum(weight.amax(dim=0), -weight.amin(dim=0)).float()
    usable = (reach > SMALLEST) & reach.isfinite() & (weights > SMALLEST) & weights.isfinite()
    s = torch.where(usable, reach**SMOOTHING / weights ** (1 - SMOOTHING), 1.0)
    scale = torch.ones_like(s) if norm.weight is None else norm.weight.float()
    bias = None if norm.bias is None else norm.bias.float() / s
    return s, Normalise(norm.kind, norm.eps, norm.size, scale / s, bias)


def make_int8(weight: Tensor, fused: Fused = NOTHING, seen: Tensor | None = None) -> Int8Linear:
    """The fastest int8 linear layer for this weight here; arguments as `make_linear`'s.

    Inputs are mixed in blocks where their number allows it. `seen` `[N, in]`: rows norm(x) of some text. Where given,
    the channels are evened out first (`smooth`) if there is a norm to do it in, and the kernels' weights are rounded so
    that errors cancel out on what these rows have most of.
    """
    if not can_quantise(weight):
        raise ValueError(f"no int8 product takes a weight of {list(weight.shape)} {weight.dtype} on {weight.device}")
    factors = None
    if seen is not None and fused.norm is not None:
        factors, norm = smooth(weight, fused.norm, seen.abs().amax(dim=0))
        fused = replace(fused, norm=norm)
    evening = Evening(factors, rotation_of(weight.shape[1]))
    if not can_multiply(torch.int8):
        return PlainInt8(weight, fused, evening)
    return NativeInt8(weight, fused, evening, None if seen is None else principal_directions(evening.of_inputs(seen)))
