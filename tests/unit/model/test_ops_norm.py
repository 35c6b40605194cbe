"""Norms against their definitions."""

import torch

from handful.model.ops.norm import Normalise


def test_an_rms_norm_divides_by_the_root_of_the_mean_square() -> None:
    x, weight = torch.tensor([[3.0, -4.0]]), torch.tensor([2.0, 1.0])
    root = (12.5 + 0.5) ** 0.5
    wanted = torch.tensor([[6.0 / root, -4.0 / root]])
    assert torch.allclose(Normalise("rms", 0.5, 2, weight)(x), wanted)


def test_a_layer_norm_takes_the_mean_away() -> None:
    x, weight, bias = torch.tensor([[1.0, 3.0]]), torch.tensor([2.0, 1.0]), torch.tensor([0.5, 0.0])
    wanted = torch.tensor([[0.5 - 2.0 / 2**0.5, 1.0 / 2**0.5]])
    assert torch.allclose(Normalise("layer", 1.0, 2, weight, bias)(x), wanted)


def test_a_norm_over_heads_takes_each_head_apart() -> None:
    x = torch.randn(5, 3, 4)
    norm = Normalise("rms", 1e-6, 4, torch.ones(4))
    assert torch.allclose(norm(x)[2, 1], norm(x[2, 1]))


def test_statistics_in_bfloat16_are_those_of_float32() -> None:
    x = (torch.randn(4, 576) + 30).bfloat16()
    found = Normalise("rms", 1e-5, 576, torch.ones(576).bfloat16())(x)
    wanted = Normalise("rms", 1e-5, 576, torch.ones(576))(x.float())
    assert found.dtype == torch.bfloat16
    assert (found.float() - wanted).abs().max() < 0.01
