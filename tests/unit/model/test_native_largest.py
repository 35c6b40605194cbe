"""The largest logit by half of the weights: the same as by all of them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from handful.model.ops.fused import Fused
from handful.model.ops.head import PlainHead, ScreenedHead, head_of, make_head
from handful.model.ops.linear_int8 import Evening, NativeInt8, PlainInt8, rotation_of
from handful.model.ops.native.largest import MOST_ROWS, NativeLargest
from handful.model.ops.native.linear import NativeProduct, can_multiply
from handful.model.ops.native.panels import Columns, pack_panels
from handful.types import Instructions
from tests.unit.model.instructions import NEEDED, limited, needs

pytestmark = pytest.mark.skipif(
    not can_multiply(torch.int8), reason="the native library isn't built here, or this processor has no AVX2"
)

LIMITS: list[Instructions] = ["all", "avx512", "avx-vnni", "avx2"]
LIMITED = [pytest.param(limit, marks=[needs(limit)] if limit in NEEDED else []) for limit in LIMITS]
SIZES = [(1, 64), (31, 100), (32, 576), (33, 768), (1000, 512), (50_257, 192)]


def product_of(weight: Tensor, bias: Tensor | None = None) -> NativeInt8:
    return NativeInt8(weight, Fused(bias), Evening(None, rotation_of(weight.shape[1])))


def head_and_rows(num_out: int, num_in: int, rows: int, seed: int = 0) -> tuple[NativeInt8, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn((num_out, num_in), generator=generator), torch.randn(num_out, generator=generator)
    return product_of(weight, bias), torch.randn((rows, num_in), generator=generator)


def by_all(linear: NativeInt8, x: Tensor) -> list[int]:
    found: list[int] = linear.wide(x).numpy().argmax(-1).tolist()
    return found


@pytest.mark.parametrize("limit", LIMITED)
@pytest.mark.parametrize(("num_out", "num_in"), SIZES)
def test_the_largest_is_that_of_the_whole_product(limit: Instructions, num_out: int, num_in: int) -> None:
    with limited(limit):
        for rows in range(1, MOST_ROWS + 1):
            linear, x = head_and_rows(num_out, num_in, rows, seed=rows)
            assert NativeLargest(linear.product)(x).tolist() == by_all(linear, x)


@pytest.mark.parametrize("limit", LIMITED)
def test_rows_in_bfloat16_and_of_a_wider_tensor_are_taken_as_they_lie(limit: Instructions) -> None:
    with limited(limit):
        linear, x = head_and_rows(5000, 128, 4)
        wide = torch.cat((x, x), dim=1).bfloat16()[:, 128:]
        assert NativeLargest(linear.product)(wide).tolist() == by_all(linear, wide)


@pytest.mark.parametrize("limit", LIMITED)
def test_of_equal_results_the_first_is_taken(limit: Instructions) -> None:
    weight = torch.randn((10, 64), generator=torch.Generator().manual_seed(1))
    with limited(limit):
        linear = product_of(weight.repeat(300, 1))
        x = weight[3:5].clone()
        assert NativeLargest(linear.product)(x).tolist() == [3, 4]


@pytest.mark.parametrize("limit", LIMITED)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_row_that_is_no_number_gets_what_the_whole_product_says_and_spoils_no_other(
    limit: Instructions, bad: float
) -> None:
    with limited(limit):
        linear, x = head_and_rows(3000, 64, 3)
        x[1, 5] = bad
        assert NativeLargest(linear.product)(x).tolist() == by_all(linear, x)


def test_a_row_of_zeros_is_decided_by_the_bias() -> None:
    linear, x = head_and_rows(3000, 64, 1)
    assert NativeLargest(linear.product)(x * 0).tolist() == by_all(linear, x * 0)


def test_no_rows_have_no_largest() -> None:
    linear, x = head_and_rows(100, 64, 1)
    assert NativeLargest(linear.product)(x[:0]).tolist() == []


def test_inputs_with_one_large_channel_that_nothing_mixes_are_screened_safely() -> None:
    generator = torch.Generator().manual_seed(2)
    linear = NativeInt8(torch.randn((20_000, 96), generator=generator))
    x = torch.randn((8, 96), generator=generator)
    x[:, 7] *= 100
    assert NativeLargest(linear.product)(x).tolist() == by_all(linear, x)


def test_what_the_upper_bits_lose_is_as_far_off_as_the_screen_takes_it_to_be() -> None:
    linear, x = head_and_rows(20_000, 512, 8)
    screen = NativeLargest(linear.product).screen
    size = linear.product.weights.panels.shape[1] * 4
    bytes_ = linear.product.weights.panels.permute(0, 2, 1, 3).reshape(-1, size).int()
    halves = screen.nibbles.permute(0, 2, 1, 3).reshape(-1, size // 8, 4).int()
    upper = torch.stack((halves & 15, halves >> 4), dim=2).reshape(-1, size) - 8
    lost = (bytes_ - 16 * upper).float()
    assert torch.allclose(screen.losses, lost.norm(dim=1) * linear.product.weights.scales, rtol=1e-5)
    assert torch.equal(screen.offsets, -128 * (upper + 8).sum(dim=1, dtype=torch.int32))
    off = lost @ x.T / (lost.norm(dim=1)[:, None] * x.norm(dim=1) / size**0.5)  # in standard deviations
    assert 0.97 < off.std() < 1.03
    assert off.abs().max() < 6


@pytest.mark.parametrize("fused", [Fused(activation="relu"), Fused(activation="silu", gated=True)])
def test_a_product_that_ends_in_an_activation_is_refused(fused: Fused) -> None:
    with pytest.raises(ValueError, match="a plain product in int8"):
        NativeLargest(NativeInt8(torch.randn(64, 64), fused).product)


@pytest.mark.skipif(not can_multiply(torch.bfloat16), reason="no native product in bfloat16 here")
def test_a_product_in_bfloat16_is_refused() -> None:
    columns = Columns(torch.ones(64), torch.zeros(64, dtype=torch.int32))
    product = NativeProduct(pack_panels(torch.randn(64, 64).bfloat16(), columns, Fused()))
    with pytest.raises(ValueError, match="a plain product in int8"):
        NativeLargest(product)


def test_more_rows_than_pay_are_refused_by_the_screen_and_taken_by_the_head() -> None:
    linear, x = head_and_rows(1000, 64, MOST_ROWS + 1)
    with pytest.raises(ValueError, match="at most 8 rows"):
        NativeLargest(linear.product)(x)
    assert ScreenedHead(linear).largest(x).tolist() == by_all(linear, x)


def test_a_native_head_in_int8_is_screened_and_its_logits_are_the_products() -> None:
    linear, x = head_and_rows(1000, 64, 2)
    head = head_of(linear, x)
    assert isinstance(head, ScreenedHead)
    assert torch.equal(head(x), linear.wide(x))
    assert head.largest(x).tolist() == by_all(linear, x)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_head_with_columns_that_are_no_numbers_is_not_screened(bad: float) -> None:
    linear, x = head_and_rows(1000, 64, 2)
    bias = torch.zeros(1000)
    bias[700] = bad
    head = head_of(linear.with_bias(bias), x)
    assert not isinstance(head, ScreenedHead)
    assert head.largest(x).tolist() == [700, 700]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_head_says_which_logit_is_the_largest(dtype: torch.dtype) -> None:
    weight, x = torch.randn(500, 64).to(dtype), torch.randn(20, 64).to(dtype)
    head = make_head(weight)
    assert head.largest(x).tolist() == np.argmax(head(x).numpy(), axis=-1).tolist()


def test_torchs_own_product_in_int8_makes_a_plain_head() -> None:
    head = head_of(PlainInt8(torch.randn(100, 64)), torch.randn(2, 64))
    assert type(head) is PlainHead


@pytest.mark.parametrize("num_in", [576, 1000])
def test_a_head_whose_weights_and_rows_owe_their_size_to_the_same_input_is_not_screened(num_in: int) -> None:
    generator = torch.Generator().manual_seed(2)
    weight, x = torch.randn((5000, num_in), generator=generator), torch.randn((104, num_in), generator=generator)
    weight[:, 100] *= 100
    x[:, 100] *= 300
    linear, seen, new = product_of(weight), x[8:], x[:8]
    assert ScreenedHead(linear).largest(new).tolist() != by_all(linear, new)
    head = head_of(linear, seen)
    assert not isinstance(head, ScreenedHead)
    assert head.largest(new).tolist() == by_all(linear, new)
