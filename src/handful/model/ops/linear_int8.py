"""int8 linears (W8A8): weights by output channel, activations by row as they come, exact 32-bit sums.

    W ~ scale_w[out] * q_w,  norm(x) ~ scale_x[row] * q_x,  both symmetric in [-127, 127]
    y = residual + activation(scale_x scale_w (q_x . q_w) + b)

Two kernels compute the same sums: `PlainInt8` in torch alone (the oracle, and the path where the native library is
missing) and `NativeInt8` (AMX or AVX-512 VNNI, everything fused).

A row with NaN or infinity in it gives NaN in the whole row; other rows don't see it.
"""

import torch
from torch import Tensor

from handful.model.ops.activation import activate, gate
from handful.model.ops.linear import Linear
from handful.model.ops.native.linear import MAX_DEPTH, ZERO_BYTE, NativeProduct, PackedWeights, can_multiply
from handful.model.ops.native.panels import Columns, pack_panels, quantise_rows
from handful.model.ops.norm import Normalise
from handful.model.spec import Activation

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


class PlainInt8:
    """The definition, in torch's own operators."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        norm: Normalise | None = None,
        factors: Tensor | None = None,
    ) -> None:
        self._weight, self._scales = quantise_symmetric(weight if factors is None else weight.float() * factors)
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
    """AMX or AVX-512 VNNI: activations quantised once, multiplied and finished in one pass."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        activation: Activation | None = None,
        gated: bool = False,
        norm: Normalise | None = None,
        factors: Tensor | None = None,
    ) -> None:
        self._product = NativeProduct(pack(weight, bias, activation, gated, norm, factors))

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        return self._product.linear(x, residual)


def pack(
    weight: Tensor,
    bias: Tensor | None,
    activation: Activation | None,
    gated: bool,
    norm: Normalise | None,
    factors: Tensor | None = None,
) -> PackedWeights:
    """Quantise a weight `[out, in]` (gated: gate above up; column i times factors[i]) and lay it out in panels."""
    quantised, scales, sums = quantise_rows(weight, factors)
    return pack_panels(quantised, Columns(scales, sums * -ZERO_BYTE, bias), activation, gated, norm)


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


def make_int8(
    weight: Tensor,
    bias: Tensor | None = None,
    activation: Activation | None = None,
    *,
    gated: bool = False,
    norm: Normalise | None = None,
    largest: Tensor | None = None,
) -> Linear:
    """The fastest int8 linear layer for this weight here; arguments as `make_linear`'s.

    `largest` `[in]`: the magnitudes that the channels of norm(x) reach; where given, and there is a norm to do it in,
    the channels are evened out (`smooth`).
    """
    if not can_quantise(weight):
        raise ValueError(f"no int8 product takes a weight of {list(weight.shape)} {weight.dtype} on {weight.device}")
    factors = None
    if largest is not None and norm is not None:
        factors, norm = smooth(weight, norm, largest)
    kind = NativeInt8 if can_multiply(torch.int8) else PlainInt8
    return kind(weight, bias, activation, gated, norm, factors)
