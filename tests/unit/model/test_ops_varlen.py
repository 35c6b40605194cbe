"""Attention over sequences of unequal length: the twin against the plain oracle, and against the kernel's signature."""

from itertools import accumulate, pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from handful.model.ops.attention import attend_plain
from handful.model.ops.varlen import (
    CAUSAL,
    EVERYTHING,
    Sequences,
    Sight,
    Varlen,
    varlen_kernel,
    varlen_plain,
    why_no_varlen,
)


def offsets(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    counts = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    before = [draw(st.integers(0, 12)) for _ in counts]
    unused = [draw(st.integers(0, 3)) for _ in counts]
    window = draw(st.sampled_from([EVERYTHING, CAUSAL, (0, 0), (3, 0), (20, 0)]))
    group, kv_heads, size = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 9))
    return locals() | {"draw": None}


@settings(deadline=None)
@given(cases())
def test_each_sequence_gets_what_the_oracle_gives_it(case: dict[str, Any]) -> None:
    counts, lengths = case["counts"], [n + b for n, b in zip(case["counts"], case["before"], strict=True)]
    torch.manual_seed(1)
    q = torch.randn(sum(counts), case["group"] * case["kv_heads"], case["size"])
    room = [length + unused for length, unused in zip(lengths, case["unused"], strict=True)]
    k, v = (torch.randn(sum(room), case["kv_heads"], case["size"]) for _ in range(2))
    cu_q, cu_k, used = offsets(counts), offsets(room), torch.tensor(lengths, dtype=torch.int32)
    most = (max(counts), max(room))
    found, lse = varlen_plain(q, k, v, Sequences(cu_q, cu_k, *most, used), Sight(0.6, case["window"]))
    for (first, end), start, length in zip(pairwise(cu_q.tolist()), cu_k.tolist(), lengths, strict=False):
        mine = q[first:end].transpose(0, 1)[None]
        keys, values = (
            x[start : start + length].repeat_interleave(case["group"], 1).transpose(0, 1)[None] for x in (k, v)
        )
        at_query = torch.arange(length - (end - first), length)[:, None]
        left, right = case["window"]
        hidden = (torch.arange(length) > at_query) if right == 0 else torch.zeros(end - first, length).bool()
        if left >= 0:
            hidden |= torch.arange(length) < at_query - left
        mask = torch.zeros(hidden.shape).masked_fill(hidden, float("-inf"))[None, None]
        wanted, wanted_lse = attend_plain(mine, keys, values, mask, 0.6)
        assert (found[first:end] - wanted[0].transpose(0, 1)).abs().max() < 1e-5
        assert (lse[:, first:end] - wanted_lse[0]).abs().max() < 1e-5


def test_a_query_without_keys_gets_zero_and_infinity() -> None:
    q, k = torch.randn(2, 1, 8), torch.randn(3, 1, 8)
    out, lse = varlen_plain(q, k, k, Sequences(offsets([1, 1]), offsets([0, 3]), 1, 3), Sight(1.0))
    assert out[0].eq(0).all()
    assert lse[0, 0] == float("inf")
    assert lse[0, 1].isfinite()


def arguments() -> dict[str, Any]:
    q, k = torch.randn(5, 4, 8), torch.randn(7, 2, 8)
    return {
        "query": q,
        "key": k,
        "value": k,
        "cu_q": offsets([2, 3]),
        "cu_k": offsets([3, 4]),
        "max_q": 3,
        "max_k": 4,
    }


def call(kernel: Varlen, given: dict[str, Any]) -> tuple[Tensor, Tensor]:
    where = {name: value for name, value in given.items() if name not in ("query", "key", "value")}
    return kernel(given["query"], given["key"], given["value"], Sequences(**where), Sight(1.0, (2, 0)))


def test_torchs_kernel_takes_the_same_arguments_and_gives_results_of_the_same_shapes_and_types() -> None:
    """On the meta device, which knows shapes only: the kernel itself needs a GPU."""
    given = arguments() | {"used_k": torch.tensor([3, 2], dtype=torch.int32)}
    mine = call(varlen_plain, given)
    there = {name: value.to("meta") if isinstance(value, Tensor) else value for name, value in given.items()}
    theirs = call(varlen_kernel(), there)
    assert [(x.shape, x.dtype) for x in theirs] == [(x.shape, x.dtype) for x in mine]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.randn(5, 3, 8)}, "3 heads of queries can't read 2"),
        ({"value": torch.randn(7, 1, 8)}, "don't go together"),
        ({"value": torch.randn(7, 2, 8).bfloat16()}, "don't go together"),
        ({"query": torch.randn(5, 8, 4).transpose(1, 2).reshape(5, 8, 4).transpose(1, 2)}, "behind one another"),
        ({"cu_q": offsets([2, 3]).long()}, "int32"),
        ({"cu_q": offsets([2, 2])}, "don't divide 5 queries"),
        ({"max_q": 2}, "at most 2"),
        ({"cu_q": offsets([1, 1, 1, 0, 1, 1]), "cu_k": offsets([1] * 6), "max_q": 1}, "must have its query"),
        ({"cu_k": offsets([3, 5])}, "don't divide 7 keys"),
        ({"cu_k": torch.tensor([3, 0, 7], dtype=torch.int32)}, "don't divide 7 keys"),
        ({"cu_k": offsets([7])}, "its offsets and its length"),
        ({"used_k": torch.tensor([4, 1], dtype=torch.int32)}, "more keys than it has"),
        ({"max_k": 3}, "max_k 3"),
    ],
)
def test_what_the_kernel_does_not_take_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(varlen_plain, arguments() | change)


class Gpu:
    """A GPU as far as it is asked."""

    type = "cuda"


@pytest.mark.parametrize(
    ("dtype", "head_dim", "capability", "has_flash", "why"),
    [
        (torch.bfloat16, 64, (8, 0), True, None),
        (torch.float16, 256, (9, 0), True, None),
        (torch.float32, 64, (9, 0), True, "not float32"),
        (torch.bfloat16, 65, (9, 0), True, "multiple of 8"),
        (torch.bfloat16, 264, (9, 0), True, "at most 256"),
        (torch.bfloat16, 64, (7, 5), True, "Ampere"),
        (torch.bfloat16, 64, (9, 0), False, "without flash attention"),
    ],
)
def test_what_keeps_the_kernel_from_running_is_said(
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    head_dim: int,
    capability: tuple[int, int],
    has_flash: bool,
    why: str | None,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: has_flash)
    found = why_no_varlen(dtype, head_dim, Gpu())  # type: ignore[arg-type]
    assert found is None if why is None else found is not None and why in found


def test_on_a_processor_there_is_no_kernel() -> None:
    assert "GPUs" in (why_no_varlen(torch.bfloat16, 64, torch.device("cpu")) or "")
