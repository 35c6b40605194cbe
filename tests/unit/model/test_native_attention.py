"""The native attention kernel against plain torch, over ragged plans, odd head sizes and both element types."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from handful.model.ops.attention import attend_plain
from handful.model.ops.native.attention import (
    AttentionKernel,
    KeptTiles,
    Reads,
    check_plan,
    only_rows,
    pack_visibility,
)

SHAPES = [(4, 4, 64), (9, 3, 64), (4, 2, 80), (8, 1, 128), (4, 2, 10), (2, 1, 12), (3, 1, 7), (5, 5, 1), (4, 1, 200)]
# Each kernel's name and element type; `bytes` is bf16 with every read in bytes.
KINDS = {
    "f32": torch.float32,
    "f32_avx2": torch.float32,
    "bf16": torch.bfloat16,
    "amx": torch.bfloat16,
    "bytes": torch.bfloat16,
}
# Each probability and each output is rounded to bfloat16 once (half a unit: 2^-9); outputs are averages of values
# below 4 or so. In bytes a key errs by 1% or so of its length, so a score by some hundredths and a probability by as
# many in a hundred.
TOLERANCE = {"f32": 3e-6, "f32_avx2": 3e-6, "bf16": 1.6e-2, "amx": 1.6e-2, "bytes": 0.12}
LARGEST_ERROR_IN_BYTES = 0.02  # of all results together, relative
NAMES = {"bytes": "bf16"}


def built(kind: str) -> bool:
    return NAMES.get(kind, kind) in AttentionKernel.all(KINDS[kind])


def kernel(kind: str) -> AttentionKernel:
    found = AttentionKernel.all(KINDS[kind]).get(NAMES.get(kind, kind))
    if found is None:
        pytest.skip(f"no native attention {kind}: not built, or the processor lacks the instructions")
    return found


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class OneRead:
    """Neighbouring rows of the step, and slots; `visible` `[rows, keys]`, told the kernel as bits or as intervals."""

    rows: NDArray[np.int64]
    slots: NDArray[np.int64]
    visible: NDArray[np.bool_]
    as_words: bool = False
    in_bytes: bool = True


def join(reads: list[OneRead]) -> Reads:
    words, first_words, lows, highs = [], [], [], []
    num_words = 0
    for read in reads:
        first_words.append(num_words if read.as_words else -1)
        if read.as_words:
            words.append(pack_visibility(read.visible))
            num_words += len(words[-1])
            lows.append(np.zeros(len(read.rows), dtype=np.int64))
            highs.append(np.zeros(len(read.rows), dtype=np.int64))
        else:
            lows.append(read.visible.argmax(axis=1))
            highs.append(np.where(read.visible.any(axis=1), lows[-1] + read.visible.sum(axis=1), 0))
    return Reads(
        first_row=np.array([read.rows[0] if len(read.rows) else 0 for read in reads]),
        num_rows=np.array([len(read.rows) for read in reads]),
        num_keys=np.array([len(read.slots) for read in reads]),
        first_word=np.array(first_words),
        in_bytes=np.array([int(read.in_bytes) for read in reads]),
        low=np.concatenate(lows),
        high=np.concatenate(highs),
        key_slots=np.concatenate([read.slots for read in reads]),
        words=np.concatenate(words) if words else np.zeros(0, dtype=np.uint64),
    )


@dataclass
class Step:
    """Random tensors for a step of some tokens, and a memory whose every slot is filled."""

    kind: str
    qkv: tuple[Tensor, Tensor, Tensor]
    memory: tuple[Tensor, Tensor]
    new_slots: NDArray[np.int64]
    scale: float

    @classmethod
    def random(cls, shape: tuple[int, int, int], num_tokens: int, num_slots: int, kind: str) -> "Step":
        dtype = KINDS[kind]
        heads, kv_heads, size = shape
        q, k, v = (torch.randn(num_tokens, n, size).to(dtype) for n in (heads, kv_heads, kv_heads))
        memory = (torch.randn(num_slots, kv_heads, size).to(dtype), torch.randn(num_slots, kv_heads, size).to(dtype))
        return cls(kind, (q, k, v), memory, np.arange(num_slots - num_tokens, num_slots), size**-0.5)

    def run(self, reads: list[OneRead], in_bytes: bool | None = None, tiles: KeptTiles | None = None) -> Tensor:
        """`tiles`: those kept of the first read, of three layers."""
        if in_bytes is None:
            in_bytes = self.kind == "bytes"
        plan = check_plan(join(reads), self.new_slots, len(self.memory[0]), tiles=[tiles])
        return kernel(self.kind)(plan, self.qkv, self.memory, self.scale, in_bytes, layer=2)

    def expected(self, reads: list[OneRead]) -> Tensor:
        """Row by row in float32, after the new keys and values are stored."""
        q, k, v = self.qkv
        keys, values = (x.clone() for x in self.memory)
        keys[self.new_slots], values[self.new_slots] = k, v
        out = torch.empty(q.shape)
        group = q.shape[1] // k.shape[1]
        for row in range(len(q)):
            seen = [r.slots[r.visible[i]] for r in reads for i in np.flatnonzero(r.rows == row)]
            slots = np.concatenate(seen)
            mine_k, mine_v = (x[slots].transpose(0, 1).repeat_interleave(group, 0)[None] for x in (keys, values))
            out[row] = attend_plain(q[row][None, :, None], mine_k, mine_v, None, self.scale)[0][0, :, 0]
        return out


def causal(num_rows: int, num_keys: int, window: int | None = None) -> NDArray[np.bool_]:
    distance = np.arange(num_keys - num_rows, num_keys)[:, None] - np.arange(num_keys)[None, :]
    return (distance >= 0) & (distance < (window or num_keys + 1))


def check(step: Step, reads: list[OneRead]) -> None:
    expected = step.expected(reads)
    found = step.run(reads)
    assert found.dtype == step.qkv[0].dtype
    errors = found.float() - expected
    assert errors.abs().max() < TOLERANCE[step.kind]
    if step.kind == "bytes":
        assert errors.norm() < LARGEST_ERROR_IN_BYTES * expected.norm()


def shared_and_private(num_shared: int, own: list[int], past: int, step: Step) -> list[OneRead]:
    """A run for all rows, then for each request `past` private keys and its new ones, causal."""
    slots = np.random.default_rng(1).permutation(len(step.memory[0]) - sum(own))
    total = sum(own)
    reads = [OneRead(np.arange(total), slots[:num_shared], np.ones((total, num_shared), dtype=np.bool_))]
    row, used = 0, num_shared
    for count in own:
        mine = np.concatenate((slots[used : used + past], step.new_slots[row : row + count]))
        reads.append(OneRead(np.arange(row, row + count), mine, causal(count, past + count)))
        row, used = row + count, used + past
    return reads


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_shared_run_and_private_causal_parts_give_what_plain_torch_gives(
    shape: tuple[int, int, int], kind: str
) -> None:
    torch.manual_seed(1)
    own = [1, 1, 7, 1, 20, 3]
    step = Step.random(shape, sum(own), 400, kind)
    check(step, shared_and_private(130, own, 17, step))


@pytest.mark.parametrize("kind", KINDS)
def test_runs_longer_than_what_is_packed_at_a_time_are_read_whole(kind: str) -> None:
    torch.manual_seed(2)
    step = Step.random((2, 1, 128), 40, 3000, kind)
    check(step, shared_and_private(2500, [33, 7], 100, step))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [1, 5, 64, 100])
def test_a_window_hides_what_lies_too_far_back(window: int, kind: str) -> None:
    torch.manual_seed(3)
    step = Step.random((4, 4, 16), 90, 400, kind)
    slots = np.arange(310)[::-1].copy()
    whole = causal(90, 400, window)
    rows = np.arange(90)
    check(step, [OneRead(rows, slots, whole[:, :310]), OneRead(rows, step.new_slots, whole[:, 310:])])


@pytest.mark.parametrize("kind", KINDS)
def test_only_keys_whose_bits_are_set_are_seen(kind: str) -> None:
    torch.manual_seed(4)
    step = Step.random((6, 2, 24), 13, 300, kind)
    visible = np.random.default_rng(4).random((13, 213)) < 0.2
    visible[:, 200:] = np.eye(13, dtype=np.bool_)
    visible[3, :200] = False  # sees nothing but itself
    slots = np.concatenate((np.arange(200), step.new_slots))
    check(step, [OneRead(np.arange(13), slots, visible, as_words=True)])


@st.composite
def plans(draw: st.DrawFn) -> tuple[tuple[int, int, int], str, int, list[OneRead], int]:
    group, kv_heads, size = draw(st.integers(1, 7)), draw(st.integers(1, 3)), draw(st.integers(1, 70))
    num_tokens, num_slots = draw(st.integers(1, 40)), 300
    random = np.random.default_rng(draw(st.integers(0, 2**20)))
    reads = []
    for _ in range(draw(st.integers(0, 4))):
        first, end = np.sort(random.integers(0, num_tokens + 1, 2))
        rows = np.arange(first, end)
        slots = random.integers(0, num_slots - num_tokens, draw(st.integers(1, 150)))
        as_words = draw(st.booleans())
        if as_words:
            visible = random.random((len(rows), len(slots))) < 0.5
        else:
            ends = np.sort(random.integers(0, len(slots) + 1, (len(rows), 2)), axis=1)
            keys = np.arange(len(slots))
            visible = (keys >= ends[:, :1]) & (keys < ends[:, 1:])
        reads.append(OneRead(rows, slots, visible, as_words))
    new = np.arange(num_slots - num_tokens, num_slots)
    reads.append(OneRead(np.arange(num_tokens), new, causal(num_tokens, num_tokens)))
    kind = draw(st.sampled_from([kind for kind in KINDS if built(kind)] or ["f32"]))
    return (group * kv_heads, kv_heads, size), kind, num_slots, reads, num_tokens


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans())
def test_any_plan_gives_what_plain_torch_gives(
    case: tuple[tuple[int, int, int], str, int, list[OneRead], int],
) -> None:
    shape, kind, num_slots, reads, num_tokens = case
    torch.manual_seed(5)
    check(Step.random(shape, num_tokens, num_slots, kind), reads)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_row_gets_is_the_same_to_the_bit_alone_among_others_and_on_any_number_of_threads(
    kind: str,
) -> None:
    torch.manual_seed(6)
    own = [1, 7, 1, 3, 160, 1]
    step = Step.random((9, 3, 64), sum(own), 1400, kind)
    reads = shared_and_private(913, own, 30, step)
    torch.set_num_threads(2)
    together = step.run(reads)
    for number in (1, 5):
        torch.set_num_threads(number)
        assert torch.equal(step.run(reads), together)
    for read in reads[1:]:
        first, count = int(read.rows[0]), len(read.rows)
        some = slice(first, first + count)
        alone = Step(step.kind, (*(x[some] for x in step.qkv),), step.memory, step.new_slots[some], step.scale)  # type: ignore[arg-type]
        rows = np.arange(count)
        shared = replace(reads[0], rows=rows, visible=reads[0].visible[some])
        assert torch.equal(alone.run([shared, replace(read, rows=rows)]), together[some])


@pytest.mark.parametrize("kind", [kind for kind, dtype in KINDS.items() if dtype == torch.float32])
def test_rows_of_a_wider_tensor_are_taken_as_they_lie(kind: str) -> None:
    torch.manual_seed(7)
    step = Step.random((6, 2, 16), 30, 200, kind)
    reads = shared_and_private(50, [30], 20, step)
    expected = step.run(reads)
    wide = torch.cat(step.qkv, dim=1)
    step.qkv = (wide[:, :6], wide[:, 6:8], wide[:, 8:])
    assert torch.equal(step.run(reads), expected)


@pytest.mark.parametrize("kind", [kind for kind, dtype in KINDS.items() if dtype == torch.float32])
def test_new_keys_and_values_are_stored_in_their_slots_and_nowhere_else(kind: str) -> None:
    torch.manual_seed(8)
    step = Step.random((4, 2, 20), 5, 50, kind)
    step.new_slots = np.array([7, 3, 40, 8, 9])
    before = [x.clone() for x in step.memory]
    step.run([OneRead(np.arange(5), step.new_slots, causal(5, 5))])
    for now, then, new in zip(step.memory, before, step.qkv[1:], strict=True):
        then[step.new_slots] = new
        assert torch.equal(now, then)


@pytest.mark.parametrize("kind", [kind for kind, dtype in KINDS.items() if dtype == torch.float32])
def test_unscaled_scores_in_the_hundreds_are_no_trouble(kind: str) -> None:
    torch.manual_seed(9)
    step = Step.random((4, 4, 64), 10, 200, kind)
    step.scale = 1.0
    step.qkv = (step.qkv[0] * 30, *step.qkv[1:])
    reads = shared_and_private(150, [10], 20, step)
    assert (step.run(reads) - step.expected(reads)).abs().max() < 1e-3


def test_only_marked_reads_are_in_bytes_and_only_where_they_may_be() -> None:
    torch.manual_seed(10)
    step = Step.random((9, 3, 64), 32, 400, "bytes")
    reads = shared_and_private(300, [32], 60, step)
    exact, all_marked = step.run(reads, in_bytes=False), step.run(reads)
    none_marked = step.run([replace(read, in_bytes=False) for read in reads])
    run_marked = step.run([reads[0], replace(reads[1], in_bytes=False)])
    assert torch.equal(none_marked, exact)
    assert not torch.equal(run_marked, exact)
    assert not torch.equal(run_marked, all_marked)


@pytest.mark.parametrize("length", [0.0, 1e-33, 1e-3])
def test_a_probable_key_with_next_to_no_value_leaves_the_others_their_digits_in_bytes(length: float) -> None:
    torch.manual_seed(12)
    step = Step.random((4, 2, 64), 20, 300, "bytes")
    q, k, v = step.qkv
    step.memory[0][0] = q[0, :2] * 1.2  # the first key has most of the probability
    step.memory[1][0] = length * step.memory[1][0]
    step.qkv = (q[:1].expand(20, -1, -1).contiguous() + 0.1 * q, k, v)
    check(step, [OneRead(np.arange(20), np.arange(200), np.ones((20, 200), dtype=np.bool_))])


def test_values_of_zeros_give_zeros_in_bytes() -> None:
    torch.manual_seed(13)
    step = Step.random((4, 2, 64), 20, 300, "bytes")
    step.memory[1][:] = 0.0
    found = step.run([OneRead(np.arange(20), np.arange(200), np.ones((20, 200), dtype=np.bool_))])
    assert torch.equal(found, torch.zeros_like(found))


def test_a_key_or_value_that_is_no_number_spoils_only_rows_that_see_it_in_bytes() -> None:
    torch.manual_seed(11)
    for spoilt in range(2):
        step = Step.random((4, 2, 64), 20, 300, "bytes")
        visible = np.ones((20, 200), dtype=np.bool_)
        visible[5:, 70] = False
        reads = [OneRead(np.arange(20), np.arange(200), visible, as_words=True)]
        sound = step.run(reads)
        step.memory[spoilt][70, 1, 3] = float("nan")  # of the second key head: query heads 2 and 3
        found = step.run(reads)
        assert found[:5, 2:].isnan().any(dim=-1).all()
        assert torch.equal(found[:, :2], sound[:, :2])
        assert not found[5:].isnan().any()


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_tiles_that_are_kept_give_the_bits_of_those_that_are_packed_anew_and_are_read_again(rows: int) -> None:
    torch.manual_seed(15)
    step = Step.random((6, 2, 80), rows, 300, "bytes")
    reads = [OneRead(np.arange(rows), np.arange(200), np.ones((rows, 200), dtype=np.bool_))]
    reads.append(OneRead(np.arange(rows), step.new_slots, causal(rows, rows), in_bytes=False))
    packed_anew = step.run(reads)
    tiles = KeptTiles(torch.zeros(3, 2, 4, kernel("bytes").kept_tile_bytes(80), dtype=torch.uint8), filled=False)
    assert torch.equal(step.run(reads, tiles=tiles), packed_anew)
    step.memory[0][:200] = step.memory[1][:200] = 0  # is not read any more
    assert torch.equal(step.run(reads, tiles=replace(tiles, filled=True)), packed_anew)
    assert tiles.memory[2].any()  # of layer 2 alone
    assert not tiles.memory[:2].any()


def test_a_step_without_rows_that_ask_fills_its_tiles_all_the_same() -> None:
    torch.manual_seed(16)
    step = Step.random((4, 2, 64), 5, 300, "bytes")
    reads = only_rows(np.arange(0), join([OneRead(np.arange(5), np.arange(200), np.ones((5, 200), dtype=np.bool_))]))
    tiles = KeptTiles(torch.zeros(1, 2, 4, kernel("bytes").kept_tile_bytes(64), dtype=torch.uint8), filled=False)
    plan = check_plan(reads, step.new_slots, 300, np.arange(0), [tiles])
    assert kernel("bytes")(plan, step.qkv, step.memory, step.scale, True).shape == (0, 4, 64)
    assert all(tile.any() for tile in tiles.memory.flatten(0, 2))


@pytest.mark.parametrize("shape", [(3, 2, 3), (2, 2, 4), (3, 1, 4)])
def test_tiles_that_are_not_those_of_the_read_are_refused(shape: tuple[int, int, int]) -> None:
    step = Step.random((4, 2, 64), 5, 300, "bytes")
    reads = [OneRead(np.arange(5), np.arange(200), np.ones((5, 200), dtype=np.bool_))]
    tiles = KeptTiles(torch.zeros(*shape, kernel("bytes").kept_tile_bytes(64), dtype=torch.uint8), filled=False)
    with pytest.raises(ValueError, match=r"tiles kept of a read|are not those of this layer"):
        step.run(reads, tiles=tiles)


def test_a_kernel_without_bytes_refuses_to_use_them() -> None:
    step = Step.random((4, 2, 8), 3, 100, "f32")
    with pytest.raises(ValueError, match="multiplies no bytes"):
        step.run([OneRead(np.arange(3), step.new_slots, causal(3, 3))], in_bytes=True)


def good_plan() -> tuple[Reads, NDArray[np.int64]]:
    return join([OneRead(np.arange(3), np.arange(70), causal(3, 70), as_words=True)]), np.array([1, 2, 3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first_row": np.array([1])}, "rows outside the step"),
        ({"first_row": np.array([-1])}, "rows outside the step"),
        ({"high": np.array([0, 1, 2], dtype=np.int32)}, "contiguous row of int64"),
        ({"high": np.arange(6)[::2]}, "contiguous row of int64"),
        ({"key_slots": np.arange(70) + 1000}, "key_slots holds an index outside"),
        ({"key_slots": np.arange(70) - 1}, "key_slots holds an index outside"),
        ({"key_slots": np.arange(69)}, "key_slots must have an entry for every key"),
        ({"low": np.array([0, 0])}, "must have an entry for every row"),
        ({"low": np.array([0, -1, 0])}, "outside its read"),
        ({"high": np.array([0, 71, 0])}, "outside its read"),
        ({"num_keys": np.array([-1])}, "fewer than no"),
        ({"num_keys": np.array([70, 1])}, "each read needs"),
        ({"in_bytes": np.array([1, 0])}, "each read needs"),
        ({"first_word": np.array([1])}, "outside words"),
    ],
)
def test_a_plan_that_would_read_elsewhere_is_refused(change: dict[str, NDArray[np.int64]], message: str) -> None:
    reads, new_slots = good_plan()
    with pytest.raises(ValueError, match=message):
        check_plan(replace(reads, **change), new_slots, 1000)  # type: ignore[arg-type]


@pytest.mark.parametrize("new_slots", [np.array([1, 2, 1000]), np.array([-1, 2, 3])])
def test_a_plan_that_would_write_elsewhere_is_refused(new_slots: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match="new_slots holds an index outside"):
        check_plan(good_plan()[0], new_slots, 1000)


@pytest.mark.parametrize("as_words", [False, True])
@pytest.mark.parametrize("asking", [[0, 7, 39], list(range(40)), []])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_ask_get_what_they_get_among_all_and_all_keys_are_stored(
    kind: str, asking: list[int], as_words: bool
) -> None:
    torch.manual_seed(14)
    step, rows = Step.random((6, 2, 64), 40, 400, kind), np.array(asking, dtype=np.int64)
    run, own = np.arange(200), causal(40, 40)
    whole = [OneRead(np.arange(40), run, np.ones((40, 200), dtype=np.bool_), as_words)]
    whole.append(OneRead(np.arange(40), step.new_slots, own, as_words, in_bytes=False))
    among, memory = step.run(whole), tuple(x.clone() for x in step.memory)
    step.memory[0][step.new_slots] = step.memory[1][step.new_slots] = 0
    few = only_rows(rows, join(whole))
    plan = check_plan(few, step.new_slots, 400, rows)
    found = kernel(kind)(plan, step.qkv, step.memory, step.scale, kind == "bytes")
    assert torch.equal(found, among[rows])
    assert all(torch.equal(a, b) for a, b in zip(step.memory, memory, strict=True))


@pytest.mark.parametrize("asking", [np.array([0, 3]), np.array([-1])])
def test_a_plan_that_would_ask_for_other_tokens_than_the_steps_is_refused(asking: NDArray[np.int64]) -> None:
    reads = only_rows(np.arange(1), good_plan()[0])
    with pytest.raises(ValueError, match="asking holds an index outside"):
        check_plan(reads, good_plan()[1], 1000, asking)


def test_tensors_that_do_not_go_with_the_plan_are_refused() -> None:
    step = Step.random((4, 2, 8), 3, 1000, "f32")
    plan = check_plan(*good_plan(), 1000)
    run, (q, k, v), (keys, values) = kernel("f32"), step.qkv, step.memory
    with pytest.raises(ValueError, match="float32"):
        run(plan, (q.double(), k, v), step.memory, 1.0)
    with pytest.raises(ValueError, match="go together"):
        run(plan, (q[:2], k[:2], v[:2]), step.memory, 1.0)
    with pytest.raises(ValueError, match="go together"):
        run(plan, (q[:, :3], k, v), step.memory, 1.0)
    with pytest.raises(ValueError, match="memory must be"):
        run(plan, step.qkv, (keys[:999], values), 1.0)
    with pytest.raises(ValueError, match="behind one another"):
        run(plan, (q.transpose(1, 2).contiguous().transpose(1, 2), k, v), step.memory, 1.0)
    with pytest.raises(ValueError, match="scale"):
        run(plan, step.qkv, step.memory, 0.0)


def test_visibility_is_packed_lowest_bit_first_with_whole_words_for_each_query() -> None:
    visible = np.zeros((2, 70), dtype=np.bool_)
    visible[0, [0, 3]] = visible[1, [69]] = True
    assert pack_visibility(visible).tolist() == [9, 0, 0, 1 << 5]


def test_there_is_no_kernel_for_other_types() -> None:
    assert AttentionKernel.find(torch.float64, 64) is None
