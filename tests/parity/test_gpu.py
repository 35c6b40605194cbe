"""On a GPU itself: the kernel against its twin, and replayed steps. Skipped where torch sees none."""

import numpy as np
import pytest
import torch

from handful.engine.arena import Arena
from handful.engine.cuda_capture import CudaCapture
from handful.engine.decode_graphs import DecodeGraphs
from handful.engine.device_runner import DeviceRunner
from handful.engine.engine import Engine
from handful.engine.scheduler import Limits, Scheduler
from handful.engine.segment_tree import SegmentTree
from handful.engine.transfer import fetch, pick, refill, send
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.decoder import Decoder
from handful.model.families import spec_from_config
from handful.model.ops.varlen import CAUSAL, EVERYTHING, Sequences, Sight, varlen_kernel, varlen_plain, why_no_varlen
from tests.parity import engines
from tests.parity.test_engine_parity import expected_logprobs, many_prompts, tokens
from tests.unit.model.tiny_models import FAMILIES, checkpoint, reference_logits

GPU = torch.device("cuda")
SLOTS = 20_000
ROUNDING = 0.5  # of a log-probability in bfloat16, of models whose weights are far larger than real ones

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


def engine(variant: str, *, capture: CudaCapture | None) -> Engine:
    folder = checkpoint(variant)
    with Checkpoint(folder) as weights:
        made = Decoder.load(spec_from_config(read_config(folder)), weights, torch.bfloat16, GPU)
    assert why_no_varlen(made.dtype, made.spec.head_dim, GPU) is None
    limits = Limits(
        max_batched_tokens=512, max_running_requests=128, max_queued_requests=1000, num_slots=SLOTS, free_rows=0
    )
    runner = DeviceRunner(made, SLOTS, varlen_kernel(), capture)
    return Engine(runner, Scheduler(SegmentTree(Arena(SLOTS)), limits), frozenset())


@pytest.mark.parametrize("window_size", [EVERYTHING, CAUSAL, (6, 0)])
@pytest.mark.parametrize("counts", [[1, 1, 1], [5, 1, 70]])
@pytest.mark.parametrize("is_pool", [False, True], ids=["end to end", "where they lie"])
def test_the_kernel_gives_what_its_twin_gives(counts: list[int], window_size: tuple[int, int], is_pool: bool) -> None:
    torch.manual_seed(1)
    q = torch.randn(sum(counts), 6, 64).bfloat16()
    k, v = (torch.randn(600, 2, 64).bfloat16() for _ in range(2))
    starts, lengths = ([17, 130, 300, 600], [90, 170, 80]) if is_pool else ([0, 90, 260, 340], None)
    cu_q, cu_k = torch.tensor([0, *torch.tensor(counts).cumsum(0)]).int(), torch.tensor(starts).int()
    used = None if lengths is None else torch.tensor(lengths).int()
    sight = Sight(0.2, window_size)
    wanted = varlen_plain(q, k, v, Sequences(cu_q, cu_k, max(counts), 300, used), sight)
    used = None if used is None else used.to(GPU)
    there = Sequences(cu_q.to(GPU), cu_k.to(GPU), max(counts), 300, used)
    found = varlen_kernel()(q.to(GPU), k.to(GPU), v.to(GPU), there, sight)
    assert [x.shape for x in found] == [x.shape for x in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        assert (mine.cpu().float() - theirs.float()).abs().max() < 2e-2


def test_what_is_sent_comes_back() -> None:
    array = np.arange(5)
    there = send(array, GPU)
    refill(there, array + 1)
    found, rows = fetch(there, pick(there, [4, 1]))
    assert found.tolist() == [1, 2, 3, 4, 5]
    assert rows.tolist() == [5, 2]


@pytest.mark.parametrize("variant", FAMILIES)
@pytest.mark.parametrize("records", [False, True])
def test_greedy_texts_are_among_the_likeliest_by_transformers(variant: str, records: bool) -> None:
    made = engine(variant, capture=CudaCapture() if records else None)
    prompts = many_prompts()[::3]
    texts = engines.greedy(made, prompts)
    for prompt, text in zip(prompts, texts, strict=True):
        logits = reference_logits(variant, torch.tensor(prompt + text))[len(prompt) - 1 : -1]
        chosen = logits[torch.arange(len(text)), torch.tensor(text)]
        assert (logits.max(dim=-1).values - chosen).max() < ROUNDING
    graphs = made.runner.graphs  # type: ignore[attr-defined]
    assert (isinstance(graphs, DecodeGraphs) and graphs.num_recorded > 0) if records else graphs is None


@pytest.mark.parametrize("variant", FAMILIES)
def test_labels_have_the_probability_they_have_in_transformers(variant: str) -> None:
    prompt = tokens(400)
    labels = [[7], [8, 9], [8, 11, 12, 13]]
    found = engines.score(engine(variant, capture=None), prompt, labels)
    for label, value in zip(labels, found, strict=True):
        logprobs = expected_logprobs(variant, prompt + label)
        wanted = sum(float(logprobs[399 + i, token]) for i, token in enumerate(label))
        assert abs(value - wanted) < ROUNDING * len(label)


def test_a_recorded_step_is_replayed_with_the_values_of_each_step() -> None:
    """One request has the same shapes alone for many steps; its text is right only if their values went over."""
    made = engine("llama", capture=CudaCapture())
    prompt = tokens(300)
    (text,) = engines.greedy(made, [prompt], 24)
    logits = reference_logits("llama", torch.tensor(prompt + text))[299:-1]
    assert (logits.max(dim=-1).values - logits[torch.arange(24), torch.tensor(text)]).max() < ROUNDING
    assert made.runner.graphs.num_recorded < 12  # type: ignore[attr-defined]
