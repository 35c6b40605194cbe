"""What of the native kernels a limit leaves."""

import pytest
import torch

from handful.model.ops.native import loading
from handful.model.ops.native.attention import AttentionKernel
from handful.model.ops.native.linear import can_multiply
from handful.model.ops.native.loading import AMX, AVX2, AVX512, AVX_VNNI, library, stops_below_avx512
from handful.types import Instructions
from tests.unit.model.instructions import limited, needs


@needs("avx2")
@pytest.mark.parametrize(
    ("instructions", "without"),
    [("all", 0), ("avx512", AMX), ("avx-vnni", AVX512), ("avx2", AVX512 | AVX_VNNI), ("none", AVX2)],
)
def test_a_limit_takes_away_what_lies_above_it(instructions: Instructions, without: int) -> None:
    with limited("all"):
        whole = library()
    with limited(instructions):
        found = library()
    assert found is not None
    assert whole is not None
    assert not found.features & without
    assert found.features & ~whole.features == 0


@needs("avx2")
def test_with_avx2_there_are_products_of_bytes_and_attention_in_float32_but_nothing_in_bfloat16() -> None:
    with limited("avx2"):
        assert can_multiply(torch.int8)
        assert not can_multiply(torch.bfloat16)
        assert list(AttentionKernel.all(torch.float32)) == ["f32_avx2"]
        assert not AttentionKernel.all(torch.bfloat16)
        assert stops_below_avx512()


def test_without_instructions_nothing_is_native() -> None:
    with limited("none"):
        assert not can_multiply(torch.int8)
        assert not AttentionKernel.all(torch.float32)
        assert not stops_below_avx512()  # torch is left as it is


def test_a_library_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "INTERFACE", -1)
    assert loading._loaded.__wrapped__() is None
