"""Rotary positions: inverse frequencies once a model, cos and sin once a step, one rotation for q and k together.

Everything here pairs dimension i with i + dims/2. A model that pairs neighbours (GPT-J) has its q and k rows reordered
at load (`half_order`), which leaves every q.k as it was.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from handful.model.ops.native.rotary import can_rotate, rotate_heads
from handful.model.spec import LinearScaling, Llama3Scaling, Rotary, YarnScaling


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """cos and signed sin of one step's positions, `[N, 1, head_dim]`; 1 and 0 in dimensions that aren't rotated."""

    cos: Tensor
    sin: Tensor
    dims: int


def inverse_frequencies(rotary: Rotary) -> tuple[Tensor, float]:
    """Radians a position turns each pair, float32 `[dims/2]`, and the factor on cos and sin (1 but for YaRN)."""
    base = 1.0 / (rotary.theta ** (torch.arange(0, rotary.dims, 2, dtype=torch.float32) / rotary.dims))
    match rotary.scaling:
        case None:
            return base, 1.0
        case LinearScaling(factor):
            return base / factor, 1.0
        case Llama3Scaling():
            return _llama3(base, rotary.scaling), 1.0
        case YarnScaling():
            return _yarn(rotary, rotary.scaling), rotary.scaling.attention_factor


def _llama3(base: Tensor, scaling: Llama3Scaling) -> Tensor:
    turns = scaling.original_context_length * base / (2 * math.pi)  # full turns within the original context
    smooth = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    stretched = base / scaling.factor
    between = (1 - smooth) * stretched + smooth * base
    return torch.where(turns < scaling.low_freq_factor, stretched, torch.where(smooth > 1, base, between))


def _yarn(rotary: Rotary, scaling: YarnScaling) -> Tensor:
    def dimension_of(turns: float) -> float:
        length = scaling.original_context_length / (turns * 2 * math.pi)
        return rotary.dims * math.log(length) / (2 * math.log(rotary.theta))

    low, high = dimension_of(scaling.beta_fast), dimension_of(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary.dims - 1)
    if low == high:
        high += 0.001
    ramp = ((torch.arange(rotary.dims // 2, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
    powers = rotary.theta ** (torch.arange(0, rotary.dims, 2, dtype=torch.float32) / rotary.dims)
    return ramp / (scaling.factor * powers) + (1 - ramp) / powers


def half_order(head_dim: int, dims: int) -> Tensor:
    """Where each dimension of a head with neighbouring pairs goes so that pairs lie `dims/2` apart: `[head_dim]`."""
    return torch.cat((torch.arange(0, dims, 2), torch.arange(1, dims, 2), torch.arange(dims, head_dim)))


def rotation_at(positions: Tensor, frequencies: Tensor, factor: float, head_dim: int, dtype: torch.dtype) -> Rotation:
    """cos and sin for positions `[N]`, computed in float32 and kept in `dtype`, as Transformers does."""
    angles = positions.to(torch.float32)[:, None] * frequencies
    cos, sin = angles.cos() * factor, angles.sin() * factor
    dims = 2 * frequencies.shape[0]
    rest = (positions.shape[0], head_dim - dims)
    parts_cos = (cos, cos, cos.new_ones(rest)) if dims < head_dim else (cos, cos)
    parts_sin = (-sin, sin, sin.new_zeros(rest)) if dims < head_dim else (-sin, sin)
    return Rotation(torch.cat(parts_cos, -1).to(dtype)[:, None], torch.cat(parts_sin, -1).to(dtype)[:, None], dims)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate heads `[N, H, D]` (any strides) -> `[N, H, D]` contiguous."""
    half = rotation.dims // 2
    swapped = torch.cat((x[..., half : rotation.dims], x[..., :half], x[..., rotation.dims :]), -1)
    return torch.addcmul(x * rotation.cos, swapped, rotation.sin)


def rotate_in_place(x: Tensor, rotation: Rotation) -> Tensor:
    """`rotate` for heads that nobody needs as they were: natively where it can be, and then without another tensor."""
    if not can_rotate(x):
        return rotate(x, rotation)
    rotate_heads(x, rotation.cos, rotation.sin, rotation.dims)
    return x
