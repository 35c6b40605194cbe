"""What rows get by reads of unequal length is what torch's own attention, the oracle, gets by masks.

Random requests come, share beginnings, run their prompts in chunks, grow by a token or by several, and are labelled;
before every step both attentions are asked, over random keys, values and queries.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handful.engine import batch as batches
from handful.engine.arena import Arena
from handful.engine.attention_torch import TorchAttention
from handful.engine.attention_varlen import VarlenAttention
from handful.engine.batch import Batch, build_batch
from handful.engine.decode_graphs import power_of_two
from handful.engine.labels import LabelTrie
from handful.engine.memory import KVMemory
from handful.engine.parcel import pack, unpack
from handful.engine.request import Generate, Request, ScoreLabels, Work
from handful.engine.scheduler import Limits, Scheduler
from handful.engine.segment_tree import SegmentTree
from handful.engine.step_plan import RoundUp, plan_step
from handful.engine.stopping import TextState
from handful.model.ops.varlen import varlen_plain
from handful.model.spec import ModelSpec
from handful.types import GenerationParameters

NUM_SLOTS = 1500
LABELS = [[1], [2, 3], [2, 3, 4], [2, 5, 6, 7], [8, 9]]


@pytest.fixture(autouse=True)
def _short_runs_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that short prompts make trees of runs."""
    monkeypatch.setattr(batches, "MIN_RUN_TOKENS", 6)
    monkeypatch.setattr(batches, "MIN_TOKENS_SAVED", 9)


def spec(heads: int, kv_heads: int, size: int, windows: tuple[int | None, ...]) -> ModelSpec:
    return ModelSpec(
        architecture="",
        num_layers=len(windows),
        hidden_size=heads * size,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=size,
        intermediate_size=1,
        vocab_size=20,
        context_length=10_000,
        embedding_size=heads * size,
        windows=windows,
        attention_scale=0.7,
        activation="gelu",
        norm="layer",
        norm_eps=1e-5,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: where its prompt leaves a common text, what follows, and whether it is labelled or continued."""

    text: int
    num_common: int
    own: list[int]
    labelled: bool
    num_new: int

    def request(self, number: int) -> Request:
        common = [(self.text * i) % 13 for i in range(self.num_common)]
        prompt = (*common, *self.own)
        if self.labelled:
            return Request(number, prompt, ScoreLabels(LabelTrie.build(LABELS)))
        parameters = GenerationParameters(max_new_tokens=self.num_new)
        return Request(number, prompt, Generate(parameters, 0, TextState(lambda ids: "", ())))


ASKED = st.builds(
    Asked,
    st.sampled_from([7, 7, 9, 11]),
    st.sampled_from([0, 1, 9, 20, 21, 40, 70]),
    st.lists(st.integers(0, 19), min_size=1, max_size=25),
    st.booleans(),
    st.integers(2, 9),
)
SPECS = st.builds(
    lambda group, kv, size, windows: spec(group * kv, kv, size, tuple(windows)),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([1, 5, 8]),
    st.lists(st.sampled_from([None, None, 1, 3, 12, 50]), min_size=1, max_size=3),
)


def attend_both(made: Batch, model: ModelSpec, memory: KVMemory, round_up: RoundUp) -> None:
    """Each layer by both; the memory is written by both in the same way, but for the scratch slot."""
    step = plan_step(made, tuple(dict.fromkeys(model.windows)), NUM_SLOTS, round_up)
    places, data = pack(step.arrays())
    there = step.with_arrays(unpack(places, torch.from_numpy(data)))
    twin = KVMemory(memory.keys.clone(), memory.values.clone())
    oracle, found = TorchAttention(made, memory, model), VarlenAttention(varlen_plain, there, twin, model)
    num_rows, size = len(made.tokens), len(step.tokens)
    assert size == round_up(num_rows)
    for layer in range(model.num_layers):
        q = torch.randn(size, model.num_heads, model.head_dim)
        k, v = (torch.randn(size, model.num_kv_heads, model.head_dim) for _ in range(2))
        wanted = oracle(layer, q[:num_rows], k[:num_rows], v[:num_rows])
        got = found(layer, q, k, v)
        assert got.isfinite().all()
        assert (got[:num_rows] - wanted).abs().max() < 2e-5
    for mine, theirs in ((memory.keys, twin.keys), (memory.values, twin.values)):
        assert mine[:, :NUM_SLOTS].nan_to_num(99).equal(theirs[:, :NUM_SLOTS].nan_to_num(99))


def grow(works: list[Work], scheduler: Scheduler, random: np.random.Generator) -> None:
    """Every request that ran to its end takes a few tokens, as if they had been drawn or were forced, or is done."""
    for work in works:
        request = work.request
        if request.num_tail_computed < len(request.tail):
            continue
        room = request.tail_capacity - len(request.tail)
        if isinstance(request.goal, ScoreLabels) or not room:
            scheduler.finish(request)
        else:
            request.tail += random.integers(0, 20, min(room, int(random.integers(1, 4)))).tolist()


@pytest.mark.parametrize("round_up", [int, power_of_two], ids=["as it is", "rounded up"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=SPECS,
    asked=st.lists(ASKED, min_size=1, max_size=9),
    budget=st.sampled_from([7, 33, 500]),
    seed=st.integers(0, 99),
)
def test_every_step_of_random_requests(
    round_up: RoundUp, model: ModelSpec, asked: list[Asked], budget: int, seed: int
) -> None:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    limits = Limits(max_batched_tokens=budget, max_running_requests=5, max_queued_requests=99, num_slots=NUM_SLOTS)
    scheduler = Scheduler(SegmentTree(Arena(NUM_SLOTS)), limits)
    for number, each in enumerate(asked):
        scheduler.add(each.request(number))
    shape = (model.num_layers, NUM_SLOTS + 1, model.num_kv_heads, model.head_dim)
    memory = KVMemory(torch.full(shape, float("nan")), torch.full(shape, float("nan")))
    memory.keys[:, NUM_SLOTS] = memory.values[:, NUM_SLOTS] = 0.0
    while scheduler.has_work:
        works = scheduler.schedule()
        assert works
        attend_both(build_batch(works), model, memory, round_up)
        scheduler.advance(works)
        grow(works, scheduler, random)
