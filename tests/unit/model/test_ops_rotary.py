"""Rotary positions against the definition: a pair of dimensions turns by position times frequency."""

import math

import pytest
import torch
from torch import Tensor

from handful.model.ops.native.rotary import can_rotate, rotate_heads
from handful.model.ops.rotary import half_order, inverse_frequencies, rotate, rotate_in_place, rotation_at
from handful.model.spec import LinearScaling, Llama3Scaling, Rotary
from handful.types import Instructions
from tests.unit.model.instructions import NEEDED, limited, needs


def rotated(x: Tensor, positions: Tensor, rotary: Rotary) -> Tensor:
    frequencies, factor = inverse_frequencies(rotary)
    return rotate(x, rotation_at(positions, frequencies, factor, x.shape[-1], x.dtype))


def test_position_zero_turns_nothing() -> None:
    x = torch.randn(1, 2, 8)
    assert torch.equal(rotated(x, torch.tensor([0]), Rotary(10_000.0, 8)), x)


def test_a_pair_turns_by_position_times_frequency() -> None:
    x = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    found = rotated(x, torch.tensor([3]), Rotary(100.0, 4))
    assert torch.allclose(found, torch.tensor([[[math.cos(3), 0.0, math.sin(3), 0.0]]]))
    slow = rotated(x.roll(1, -1), torch.tensor([3]), Rotary(100.0, 4))
    assert torch.allclose(slow, torch.tensor([[[0.0, math.cos(0.3), 0.0, math.sin(0.3)]]]))


def test_dimensions_past_the_rotated_ones_stay() -> None:
    x = torch.randn(3, 2, 10)
    found = rotated(x, torch.tensor([5, 6, 7]), Rotary(10_000.0, 4))
    assert torch.equal(found[..., 4:], x[..., 4:])
    assert not torch.equal(found[..., :4], x[..., :4])


def test_scores_depend_on_the_distance_only() -> None:
    q, k = torch.randn(1, 1, 8), torch.randn(1, 1, 8)
    rotary = Rotary(50.0, 8)

    def score(at_q: int, at_k: int) -> float:
        turned_q = rotated(q, torch.tensor([at_q]), rotary)
        return (turned_q * rotated(k, torch.tensor([at_k]), rotary)).sum().item()

    assert score(9, 4) == pytest.approx(score(105, 100), abs=1e-4)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-4)


def test_neighbouring_pairs_are_laid_half_a_head_apart() -> None:
    assert half_order(8, 6).tolist() == [0, 2, 4, 1, 3, 5, 6, 7]


def test_linear_scaling_divides_positions() -> None:
    x = torch.randn(1, 1, 8)
    scaled = rotated(x, torch.tensor([12]), Rotary(100.0, 8, scaling=LinearScaling(4.0)))
    assert torch.allclose(scaled, rotated(x, torch.tensor([3]), Rotary(100.0, 8)), atol=1e-6)


def test_llama3_scaling_keeps_short_waves_and_stretches_long_ones() -> None:
    plain, _ = inverse_frequencies(Rotary(500_000.0, 64))
    scaled, _ = inverse_frequencies(Rotary(500_000.0, 64, scaling=Llama3Scaling(8.0, 1.0, 4.0, 8192)))
    assert scaled[0] == plain[0]
    assert torch.allclose(scaled[-1], plain[-1] / 8)
    assert ((scaled <= plain) & (scaled >= plain / 8 * 0.999)).all()


@pytest.mark.parametrize("level", [pytest.param(level, marks=needs(level)) for level in NEEDED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("head_dim", "dims"), [(64, 64), (80, 20), (6, 4), (100, 70)])
def test_heads_turned_in_place_are_those_that_torch_turns(
    level: Instructions, dtype: torch.dtype, head_dim: int, dims: int
) -> None:
    torch.manual_seed(0)
    whole = torch.randn(40, 7, head_dim, dtype=dtype)
    frequencies, factor = inverse_frequencies(Rotary(10_000.0, dims))
    rotation = rotation_at(torch.arange(40) * 3, frequencies, factor, head_dim, dtype)
    before = whole.clone()
    with limited(level):
        found = rotate_in_place(whole[:, :5], rotation)
    tolerance = {torch.float32: 1e-6, torch.bfloat16: 3e-2}[dtype]
    assert torch.allclose(found, rotate(before[:, :5], rotation), atol=tolerance)
    assert found.data_ptr() == whole.data_ptr()
    assert torch.equal(whole[:, 5:], before[:, 5:])


@pytest.mark.skipif(not can_rotate(torch.zeros(1, 1, 2)), reason="the native library isn't built, or no AVX2")
def test_what_would_be_turned_elsewhere_is_refused() -> None:
    x, table = torch.zeros(3, 2, 8), torch.zeros(3, 1, 8)
    with pytest.raises(ValueError, match="behind one another"):
        rotate_heads(x.transpose(0, 1), table, table, 8)
    with pytest.raises(ValueError, match="cos and sin"):
        rotate_heads(x, table[:2], table, 8)
    with pytest.raises(ValueError, match="even number"):
        rotate_heads(x, table, table, 10)
