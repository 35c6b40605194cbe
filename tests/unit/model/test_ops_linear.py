"""The packed product and the plain one are the same function; so are the norms and rotations and their definitions."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from handful.model.ops.activation import activate, gate
from handful.model.ops.fused import Fused
from handful.model.ops.linear import PackedLinear, PlainLinear, can_pack, make_linear
from handful.model.spec import Activation

ACTIVATIONS: list[Activation | None] = [None, "gelu", "gelu_tanh", "relu", "silu"]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


needs_packing = pytest.mark.skipif(not can_pack(torch.zeros(2, 2)), reason="this torch has no packed product")


@needs_packing
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("rows", [1, 16, 77])
def test_a_packed_product_is_the_plain_one(activation: Activation | None, has_bias: bool, rows: int) -> None:
    weight, bias = random(33, 48), random(33, seed=1) if has_bias else None
    x = random(rows, 48, seed=2)
    with torch.inference_mode():
        packed = PackedLinear(weight, Fused(bias, activation))(x)
    assert torch.allclose(packed, PlainLinear(weight, Fused(bias, activation))(x), atol=2e-5)


@needs_packing
def test_no_rows_give_no_rows() -> None:
    with torch.inference_mode():
        assert make_linear(random(33, 48))(random(0, 48)).shape == (0, 33)


@needs_packing
def test_packing_takes_a_transposed_weight() -> None:
    stored, x = random(48, 33), random(5, 48, seed=1)
    with torch.inference_mode():
        assert torch.allclose(make_linear(stored.t())(x), x @ stored, atol=1e-5)


def test_types_without_a_packed_product_take_the_plain_one() -> None:
    assert isinstance(make_linear(random(3, 4).double()), PlainLinear)


@pytest.mark.parametrize("activation", [a for a in ACTIVATIONS if a is not None])
def test_activations_agree_with_those_of_transformers(activation: Activation) -> None:
    from transformers.activations import ACT2FN

    names = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}
    x = random(1000) * 4
    assert torch.allclose(activate(x, activation), ACT2FN[names[activation]](x), atol=1e-6)


def test_a_gate_multiplies_the_activated_first_half_with_the_second() -> None:
    x = random(5, 8)
    assert torch.allclose(gate(x, "silu"), F.silu(x[:, :4]) * x[:, 4:])


def test_a_gate_leaves_its_input_alone() -> None:
    x = random(5, 8)
    before = x.clone()
    gate(x, "relu")
    assert torch.equal(x, before)
