"""The native products against their definition: integers exact, everything fused to them near float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from handful.model.ops import linear_int8
from handful.model.ops.activation import activate
from handful.model.ops.fused import NOTHING, Fused
from handful.model.ops.linear import NativeLinear, PlainLinear, is_native_bfloat16, make_linear
from handful.model.ops.linear_int8 import (
    AS_IT_COMES,
    Evening,
    NativeInt8,
    PlainInt8,
    make_int8,
    mix,
    pack,
    quantise_symmetric,
    rotation_of,
    smooth,
)
from handful.model.ops.native.linear import MAX_DEPTH, NativeProduct, can_multiply
from handful.model.ops.native.panels import Columns, pack_panels
from handful.model.ops.native.quantising import quantise_rows
from handful.model.ops.norm import Normalise
from handful.model.precision import has_exact_int8_in_torch, has_int8_products
from handful.model.spec import Activation, Norm
from handful.types import Instructions
from tests.unit.model.instructions import NEEDED, limited, needs

needs_native = pytest.mark.skipif(
    not can_multiply(torch.int8), reason="the native library isn't built here, or this processor has no AVX2"
)
needs_bytes = pytest.mark.skipif(
    not has_int8_products(torch.device("cpu")), reason="this processor has neither AVX2 nor AMX"
)
needs_exact = pytest.mark.skipif(
    not has_exact_int8_in_torch(torch.device("cpu")), reason="torch's own sums of bytes may saturate on this processor"
)
needs_halves = pytest.mark.skipif(
    not can_multiply(torch.bfloat16), reason="the native library isn't built here, or this processor has no AVX512-BF16"
)


class HalvesWithoutTiles(NativeLinear):
    """The product of AVX-512 BF16 where AMX would be taken."""

    def __init__(self, weight: Tensor, fused: Fused = NOTHING) -> None:
        columns = Columns(torch.ones(weight.shape[0]), torch.zeros(weight.shape[0], dtype=torch.int32))
        self.product = NativeProduct(pack_panels(weight, columns, fused), tiles=False)


class WithoutTiles(NativeInt8):
    """The product of AVX-512 VNNI where AMX would be taken."""

    def __init__(self, weight: Tensor, fused: Fused = NOTHING, evening: Evening = AS_IT_COMES) -> None:
        self.product = NativeProduct(pack(weight, fused, evening), tiles=False)


class WithAvxVnni(NativeInt8):
    """The product of AVX-VNNI where AVX-512 would be taken."""

    INSTRUCTIONS: Instructions = "avx-vnni"

    def __init__(self, weight: Tensor, fused: Fused = NOTHING, evening: Evening = AS_IT_COMES) -> None:
        with limited(self.INSTRUCTIONS):
            super().__init__(weight, fused, evening)


class WithAvx2(WithAvxVnni):
    """The product of AVX2 alone."""

    INSTRUCTIONS: Instructions = "avx2"


NATIVE = [
    pytest.param(NativeInt8, marks=needs_native),
    pytest.param(WithoutTiles, marks=needs_native),
    pytest.param(WithAvxVnni, marks=needs("avx-vnni")),
    pytest.param(WithAvx2, marks=needs("avx2")),
]
KINDS = [pytest.param(PlainInt8, marks=needs_exact), *NATIVE]
Kind = type[PlainInt8] | type[NativeInt8]
HALVES = [NativeLinear, HalvesWithoutTiles]
ROWS = [1, 2, 3, 4, 7, 8, 13, 14, 15, 29, 253, 300]
ACTIVATIONS: list[Activation | None] = [None, "gelu", "gelu_tanh", "relu", "silu"]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def expected(weight: Tensor, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """The quantised product in float64: its sums are whole numbers that float64 holds exactly."""
    (w, w_scales), (q, q_scales) = quantise_symmetric(weight), quantise_symmetric(x)
    product = (q.double() @ w.double().t()) * (q_scales.double()[:, None] * w_scales.double())
    return product if bias is None else product + bias.double()


def whole(*shape: int, seed: int) -> Tensor:
    """Whole numbers in [-127, 127], each row with a 127: quantising changes nothing, every scale is 1."""
    drawn = torch.randint(-127, 128, shape, generator=torch.Generator().manual_seed(seed)).float()
    drawn[:, 0] = 127.0
    return drawn


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("num_in", "num_out"), [(64, 32), (33, 50), (1, 1), (130, 97)])
def test_sums_of_whole_numbers_are_exact(kind: Kind, rows: int, num_in: int, num_out: int) -> None:
    weight, x = whole(num_out, num_in, seed=1), whole(rows, num_in, seed=2)
    assert torch.equal(kind(weight)(x), (x.double() @ weight.double().t()).float())


@pytest.mark.parametrize("kind", KINDS)
def test_a_wide_result_is_not_rounded(kind: Kind) -> None:
    weight, x = random(50, 128), random(9, 128, seed=2).bfloat16()
    wide = kind(weight, evening=Evening(None, 64)).wide(x)
    assert wide.dtype == torch.float32
    assert torch.equal(wide.bfloat16(), kind(weight, evening=Evening(None, 64))(x))
    assert not torch.equal(wide, wide.bfloat16().float())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("activation", "gated"), [(a, gated) for a in ACTIVATIONS for gated in (False, True) if a is not None or not gated]
)
@pytest.mark.parametrize("num_out", [48, 50])
def test_what_is_fused_is_what_torch_computes(
    kind: Kind, activation: Activation | None, num_out: int, gated: bool
) -> None:
    weight, bias, x = random(num_out, 70, scale=0.2), random(num_out, seed=1), random(9, 70, seed=2)
    residual = random(9, num_out // 2 if gated else num_out, seed=3)
    wanted = expected(weight, x, bias)
    if gated and activation is not None:
        middle = num_out // 2
        wanted = activate(wanted[:, :middle], activation) * wanted[:, middle:]
    elif activation is not None:
        wanted = activate(wanted, activation)
    found = kind(weight, Fused(bias, activation, gated))(x, residual)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), wanted + residual, atol=3e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_the_norm_in_front_is_applied_before_quantising(kind: Kind, norm: str) -> None:
    weight, x = random(40, 70, scale=0.2), random(11, 70, seed=1, scale=3.0) + 1.0
    scale, shift = random(70, seed=2), random(70, seed=3)
    wide = x.double()
    if norm == "layer":
        made = Normalise("layer", 1e-5, 70, scale, shift)
        normed = F.layer_norm(wide, (70,), scale.double(), shift.double(), 1e-5)
    else:
        made = Normalise("rms", 1e-5, 70, scale)
        normed = F.rms_norm(wide, (70,), scale.double(), 1e-5)
    found = kind(weight, Fused(norm=made))(x)
    step = quantise_symmetric(normed.float())[1].max().item() * weight.abs().max().item()
    assert (found - expected(weight, normed.float())).abs().max().item() < 3 * step  # a tie may round the other way


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_the_float32_result_rounded(kind: Kind) -> None:
    weight, bias = random(50, 70, scale=0.2), random(50, seed=1)
    x, residual = random(20, 70, seed=2).bfloat16(), random(20, 50, seed=3).bfloat16()
    linear = kind(weight, Fused(bias, "silu"))
    found = linear(x, residual)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, linear(x.float(), residual.float()).bfloat16())


@pytest.mark.parametrize("kind", NATIVE)  # torch's own activations round the last elements of a tensor differently
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_does_not_depend_on_the_others(kind: Kind, threads: int) -> None:
    torch.set_num_threads(threads)
    linear = kind(random(97, 130, scale=0.2), Fused(random(97, seed=1), "gelu_tanh"))
    x = random(600, 130, seed=2)
    together = linear(x)
    for start, stop in ((0, 1), (5, 12), (253, 282), (599, 600)):
        assert torch.equal(linear(x[start:stop]), together[start:stop])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_row_with_nan_or_infinity_is_nan_and_alone_so(kind: Kind, bad: float) -> None:
    linear, x = kind(random(33, 70, scale=0.2), Fused(random(33, seed=1))), random(20, 70, seed=2)
    clean = linear(x)
    x[7, 69] = bad
    found = linear(x)
    assert found[7].isnan().all()
    keep = torch.arange(20) != 7
    assert torch.equal(found[keep], clean[keep])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 1e-38, -1e-40])
def test_a_row_of_nothing_gives_the_bias(kind: Kind, value: float) -> None:
    bias = random(33)
    found = kind(random(33, 70), Fused(bias))(torch.full((3, 70), value))
    assert torch.equal(found, bias.expand(3, -1))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_may_lie_apart_and_there_may_be_none(kind: Kind) -> None:
    linear, x = kind(random(33, 70)), random(6, 200)
    assert torch.equal(linear(x[:, 50:120]), linear(x[:, 50:120].contiguous()))
    assert torch.equal(linear(x[::2, :70]), linear(x[:, :70])[::2])
    assert linear(x[:0, :70]).shape == (0, 33)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("gated", [False, True])
def test_no_rows_give_no_results_however_they_are_mixed(make: Kind, *, gated: bool) -> None:
    linear = make(random(64, 128), Fused(None, "silu", gated), Evening(None, 128))
    for x in (torch.zeros(0, 128), torch.zeros(0, 128, dtype=torch.bfloat16)):
        assert linear(x).shape == (0, 32 if gated else 64)
        assert linear(x).dtype == x.dtype


@pytest.mark.parametrize("kind", NATIVE)
@pytest.mark.parametrize(("num_in", "num_out", "gated"), [(576, 960, False), (130, 194, True)])
def test_every_kernel_gives_the_same_sums(kind: type[NativeInt8], num_in: int, num_out: int, gated: bool) -> None:
    weight, bias, x = random(num_out, num_in, scale=0.1), random(num_out, seed=1), random(77, num_in, seed=2)
    assert torch.equal(kind(weight, Fused(bias))(x), NativeInt8(weight, Fused(bias))(x))
    found, wanted = (made(weight, Fused(bias, "silu", gated))(x) for made in (kind, NativeInt8))
    # AVX2 divides where AVX-512 approximates, which the last bits of an activation show
    assert torch.allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_smoothing_changes_no_product() -> None:
    weight, x = random(40, 70).double(), random(11, 70, seed=1)
    norm = Normalise("layer", 1e-5, 70, random(70, seed=2), random(70, seed=3))
    largest = norm(x).abs().amax(dim=0)
    largest[3] = 0.0
    factors, evened = smooth(weight.float(), norm, largest)
    assert torch.allclose(evened(x) @ (weight.float() * factors).t(), norm(x) @ weight.float().t(), atol=2e-4)
    assert factors[3] == 1.0


@pytest.mark.parametrize("level", [pytest.param(level, marks=needs(level)) for level in NEEDED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (40, 70), (33, 576)])
def test_rows_are_quantised_to_the_bits_of_the_definition(
    level: Instructions, dtype: torch.dtype, shape: tuple[int, int]
) -> None:
    weight, factors = random(*shape).to(dtype), random(shape[1], seed=1).abs() + 0.1
    weight[0] = 0.0
    for some in (None, factors):
        with limited(level):
            found, scales, sums = quantise_rows(weight, some)
        wanted, wanted_scales = quantise_symmetric(weight if some is None else weight.float() * some)
        assert torch.equal(found, wanted)
        assert torch.equal(scales, wanted_scales)
        assert torch.equal(sums, wanted.sum(dim=1, dtype=torch.int32))


@needs_native
@pytest.mark.parametrize("dtype", [torch.int8, torch.bfloat16])
@pytest.mark.parametrize(
    ("num_out", "num_in", "gated"), [(32, 64, False), (50, 33, False), (98, 131, True), (2, 1, True)]
)
def test_panels_hold_every_weight_at_its_place_and_zeros_elsewhere(
    dtype: torch.dtype, num_out: int, num_in: int, gated: bool
) -> None:
    rows = torch.randint(1, 100, (num_out, num_in)).to(dtype)
    columns = Columns(torch.ones(num_out), torch.zeros(num_out, dtype=torch.int32))
    panels = pack_panels(rows, columns, Fused(activation="silu" if gated else None, gated=gated)).panels
    by_column = panels.transpose(1, 2).reshape(panels.shape[0], 32, -1)  # [P, 32, padded in]
    if gated:
        halves = by_column.view(-1, 2, 16, by_column.shape[-1]).transpose(0, 1).reshape(2, -1, by_column.shape[-1])
        laid = torch.cat((halves[0, : num_out // 2], halves[1, : num_out // 2]))
    else:
        laid = by_column.reshape(-1, by_column.shape[-1])[:num_out]
    assert torch.equal(laid[:, :num_in], rows)
    assert panels.float().sum() == rows.float().sum()


@needs_bytes
def test_smoothing_helps_where_a_channel_is_far_larger_than_the_rest() -> None:
    weight, x = random(40, 70, scale=0.2), random(50, 70, seed=1)
    norm = Normalise("rms", 1e-5, 70, torch.ones(70).index_fill(0, torch.tensor([5]), 100.0))
    wanted = make_linear(weight, Fused(norm=norm))(x)
    plain = make_int8(weight, Fused(norm=norm))(x)
    smoothed = make_int8(weight, Fused(norm=norm), seen=norm(x))(x)
    assert (smoothed - wanted).norm() < (plain - wanted).norm() / 3


@needs_native
def test_wrong_tensors_are_refused_before_a_pointer_leaves() -> None:
    product = NativeProduct(pack(random(33, 70)))
    for x in (random(3, 71), random(3, 70).double(), random(70), torch.zeros(3, 70, dtype=torch.int64)):
        with pytest.raises(ValueError, match="x must be"):
            product.linear(x, None)
    for residual in (random(3, 32), random(3, 33).bfloat16(), random(33, 3).t()):
        with pytest.raises(ValueError, match="residual"):
            product.linear(random(3, 70), residual)
    with pytest.raises(ValueError, match="results are"):
        product.linear(random(3, 70), dtype=torch.float16)


@needs_native
def test_a_weight_whose_sums_could_overflow_is_refused() -> None:
    with pytest.raises(ValueError, match="int8"):
        make_int8(torch.zeros(1, MAX_DEPTH + 1))


@needs_bytes
def test_without_the_library_torch_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_int8, "can_multiply", lambda dtype: False)
    assert isinstance(make_int8(random(33, 70)), PlainInt8)


def halves(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return random(*shape, seed=seed, scale=scale).bfloat16()


@needs_halves
@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("num_in", "num_out"), [(64, 32), (33, 50), (1, 1), (130, 98)])
@pytest.mark.parametrize(("activation", "gated"), [(None, False), ("gelu_tanh", False), ("silu", True)])
def test_the_product_of_halves_is_the_float32_one_rounded_once(
    kind: type[NativeLinear], rows: int, num_in: int, num_out: int, activation: Activation | None, gated: bool
) -> None:
    if gated and num_out % 2:
        return
    weight, bias, x = halves(num_out, num_in, scale=0.2), halves(num_out, seed=1), halves(rows, num_in, seed=2)
    residual = halves(rows, num_out // 2 if gated else num_out, seed=3)
    wide = PlainLinear(weight.float(), Fused(bias.float(), activation, gated))(x.float(), residual.float())
    found = kind(weight, Fused(bias, activation, gated))(x, residual)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), wide, atol=2e-3, rtol=2.0**-8)


@needs_halves
@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_the_norm_in_front_of_halves_is_rounded_once(kind: type[NativeLinear], norm: Norm) -> None:
    weight, x = halves(40, 70, scale=0.2), halves(11, 70, seed=1, scale=3.0) + 1.0
    shift = halves(70, seed=3) if norm == "layer" else None
    made = Normalise(norm, 1e-5, 70, halves(70, seed=2), shift)
    wanted = PlainLinear(weight.float())(made(x).float())
    assert torch.allclose(kind(weight, Fused(norm=made))(x).float(), wanted, atol=2e-2, rtol=2.0**-7)


@needs_halves
@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_of_halves_does_not_depend_on_the_others(kind: type[NativeLinear], threads: int) -> None:
    torch.set_num_threads(threads)
    linear, x = kind(halves(97, 1600, scale=0.2), Fused(halves(97, seed=1), "gelu_tanh")), halves(600, 1600, seed=2)
    x[13, 5] = torch.nan
    together = linear(x)
    assert together[13].isnan().all()
    for start, stop in ((0, 1), (5, 12), (253, 282), (599, 600)):
        assert torch.equal(linear(x[start:stop]), together[start:stop])


@needs_halves
@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("rows", [1, 40, 700])
def test_very_deep_products_are_whole(kind: type[NativeLinear], rows: int) -> None:
    weight, x = halves(70, 7000, scale=0.1), halves(rows, 7000, seed=1)
    wide = PlainLinear(weight.float())(x.float())
    assert torch.allclose(kind(weight)(x).float(), wide, atol=1e-2, rtol=2.0**-8)
    whole_weight, whole_x = whole(70, 7000, seed=1), whole(rows, 7000, seed=2)
    assert torch.equal(NativeInt8(whole_weight)(whole_x), (whole_x.double() @ whole_weight.double().t()).float())


@needs_halves
def test_bfloat16_takes_the_native_product_and_float32_never_does() -> None:
    assert isinstance(make_linear(halves(33, 48)), NativeLinear)
    assert not is_native_bfloat16(random(33, 48))


@needs_halves
@pytest.mark.parametrize("kind", HALVES)
def test_results_may_be_wider_than_the_rows(kind: type[NativeLinear]) -> None:
    weight, x = halves(50, 70), halves(20, 70, seed=1)
    columns = Columns(torch.ones(50), torch.zeros(50, dtype=torch.int32))
    product = NativeProduct(pack_panels(weight, columns, NOTHING))
    wide = product.linear(x, dtype=torch.float32)
    assert torch.allclose(wide, x.float() @ weight.float().t(), atol=1e-4)
    assert torch.equal(wide.bfloat16(), product.linear(x))


@pytest.mark.parametrize("size", [64, 128, 512])
def test_products_of_mixed_rows_are_the_rows_products_times_the_size_of_a_block(size: int) -> None:
    random = torch.Generator().manual_seed(1)
    x, y = (torch.randint(-9, 9, (5, 1024), generator=random).float() for _ in range(2))
    assert torch.equal(mix(x, size) @ mix(y, size).t(), x @ y.t() * size)
    first = mix(torch.nn.functional.pad(x[:, :size], (0, 1024 - size)), size)
    assert not first[:, size:].any()  # blocks keep apart


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_what_all_values_of_a_block_have_in_common_is_no_larger_mixed_than_any_other_part(size: int) -> None:
    most = mix(torch.ones(1, size), size).abs().amax().item()
    assert most == {64: 8, 128: 16, 256: 16, 512: 32}[size]  # of `size` in the usual order


def test_blocks_are_as_large_as_the_inputs_allow() -> None:
    assert [rotation_of(n) for n in (576, 768, 1536, 3072, 2560, 2048, 64, 100, 33)] == [
        64, 256, 512, 512, 512, 512, 64, 0, 0,
    ]  # fmt: skip


@needs_native
@pytest.mark.parametrize("size", [64, 256, 512])
@pytest.mark.parametrize("norm", [None, "layer", "rms"])
@pytest.mark.parametrize("kind", NATIVE)
def test_a_mixed_product_has_the_bits_of_its_definition(kind: type[NativeInt8], norm: Norm | None, size: int) -> None:
    weight, bias, x = random(50, 1024, scale=0.1), random(50, seed=1), random(37, 1024, seed=2)
    made = None if norm is None else Normalise(norm, 1e-5, 1024, None, None)
    evening = Evening(random(1024, seed=3).abs() + 0.5, size)
    found = kind(weight, Fused(bias, norm=made), evening)(x)
    wanted = PlainInt8(weight, Fused(bias, norm=made), evening)(x)
    # without a norm to the last bit of the bytes; norms are summed up in another order here and there
    assert torch.allclose(found, wanted, atol=1e-4 if norm is None else 5e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_mixing_helps_where_a_value_is_far_larger_than_the_rest(kind: type[PlainInt8] | type[NativeInt8]) -> None:
    weight, x = random(40, 512, scale=0.1), random(30, 512, seed=1)
    x[torch.arange(30), torch.arange(30) * 7] *= 100.0
    wanted = x @ weight.t()
    plain, mixed = kind(weight)(x), kind(weight, evening=Evening(rotation=512))(x)
    assert (mixed - wanted).norm() < (plain - wanted).norm() / 3


@needs_native
@pytest.mark.parametrize("size", [32, 96, 128])
def test_blocks_that_do_not_fit_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="blocks"):
        NativeInt8(random(32, 192), evening=Evening(rotation=size))
