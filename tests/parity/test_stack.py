"""All layers in one native call give the same bits as one after the other."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from handful.engine.runner import Runner
from handful.model.calibration import Calibration
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.decoder import Decoder
from handful.model.families import spec_from_config
from handful.model.ops.native.attention import AttentionKernel, PlannedAttention, Reads, check_plan, only_rows
from handful.model.ops.native.linear import can_multiply
from tests.parity import engines
from tests.parity.engines import Setup
from tests.unit.model.instructions import limited
from tests.unit.model.tiny_models import checkpoint, random_tokens

pytestmark = pytest.mark.skipif(
    not can_multiply(torch.bfloat16) or AttentionKernel.find(torch.bfloat16, 12) is None,
    reason="the native kernels aren't built here, or this processor has no AVX512-BF16",
)

# A window, learned positions, biases; grouped heads; both branches from one norm; both from two; part of a head turned.
STACKED = ["gpt_neo-small-window", "llama", "qwen2", "gptj", "gpt_neox", "opt"]


@cache
def decoder(variant: str, precision: str, *, stacked: bool) -> Decoder:
    folder = checkpoint(variant)
    with Checkpoint(folder) as weights:
        text = Calibration(random_tokens(150, 3)) if precision == "int8" else None
        spec, place = spec_from_config(read_config(folder)), torch.device("cpu")
        made = Decoder.load(spec, weights, torch.bfloat16, place, text)
    if not stacked:
        made._stack = None
    return made


def tokens(length: int, seed: int) -> list[int]:
    found: list[int] = random_tokens(length, seed).tolist()
    return found


def answers(made: Decoder) -> tuple[list[list[int]], list[list[float]], list[float]]:
    """Greedy tokens, label scores and a prompt's log-probabilities, in an engine that shares and drafts."""
    shared = tokens(90, 1)
    prompts = [shared + tokens(2 + i, 10 + i) for i in range(12)]
    setup = Setup(budget=128)
    engine = engines.engine_of(Runner(made, setup.slots), setup)
    texts = engines.greedy(engine, prompts)
    return texts, engines.scores(engine, prompts, [[7], [8, 9], [300, 2]]), engines.prompt_logprobs(engine, prompts[3])


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("variant", STACKED)
def test_the_stack_gives_the_bits_of_its_layers(variant: str, precision: str) -> None:
    stacked, layered = (decoder(variant, precision, stacked=stacked) for stacked in (True, False))
    assert stacked._stack is not None
    assert answers(stacked) == answers(layered)


@pytest.mark.parametrize("variant", ["qwen3", "opt-post-norm"])
def test_layers_with_norms_of_their_own_run_one_after_the_other(variant: str) -> None:
    made = decoder(variant, "bfloat16", stacked=True)
    assert made._stack is None
    assert answers(made)[0]


def causal_reads(rows: int) -> Reads:
    numbers, one = np.arange(rows), np.zeros(1, dtype=np.int64)
    empty = np.zeros(0, dtype=np.uint64)
    return Reads(one, one + rows, one + rows, one - 1, one, numbers * 0, numbers + 1, numbers, empty)


def attention(made: Decoder, rows: int) -> PlannedAttention:
    """One causal sequence of `rows` tokens in a memory that it fills."""
    spec, kernel = made.spec, AttentionKernel.find(made.dtype, made.spec.head_dim)
    assert kernel is not None
    plan = check_plan(causal_reads(rows), np.arange(rows), rows)
    memory = torch.zeros(spec.num_layers, rows, spec.num_kv_heads, spec.head_dim, dtype=made.dtype)
    return PlannedAttention(kernel, (memory, memory.clone()), (plan,) * spec.num_layers, spec.attention_scale)


def test_what_does_not_fit_is_refused_before_a_pointer_leaves_python() -> None:
    made = decoder("llama", "bfloat16", stacked=True)
    stack, planned = made._stack, attention(made, 5)
    assert stack is not None
    hidden = torch.zeros(5, stack.hidden, dtype=torch.bfloat16)
    rotation = made._rotation(torch.arange(5))
    assert stack.run(hidden.clone(), planned, rotation, torch.tensor([0, 4])).shape == (2, stack.hidden)
    for wrong in (hidden.float(), hidden[:4], hidden.t()):
        with pytest.raises(ValueError, match=r"hidden states must be|planned for 5 rows, not 4"):
            stack.run(wrong, planned, rotation)
    for wanted in ([4, 0], [2, 2], [-1, 0], [0, 5]):
        with pytest.raises(ValueError, match=r"rise within \[0, 5\)"):
            stack.run(hidden.clone(), planned, rotation, torch.tensor(wanted))
    with pytest.raises(ValueError, match="without gaps"):
        stack.run(hidden.clone(), planned, rotation, torch.tensor([0, 9, 4, 9])[::2])
    last = check_plan(only_rows(np.array([1, 4]), causal_reads(5)), np.arange(5), 5, np.array([1, 4]))
    with pytest.raises(ValueError, match="planned for other rows"):
        stack.run(hidden.clone(), replace(planned, last=last), rotation, torch.tensor([0, 4]))
    with pytest.raises(ValueError, match=r"cos and sin must be \[5, 1, "):
        stack.run(hidden.clone(), planned, made._rotation(torch.arange(4)))


def test_what_a_later_model_may_use_changes_nothing_for_a_stack_that_is_there() -> None:
    made = decoder("llama", "bfloat16", stacked=True)
    stack, planned = made._stack, attention(made, 5)
    assert stack is not None
    hidden, rotation = torch.randn(5, stack.hidden).bfloat16(), made._rotation(torch.arange(5))
    before = stack.run(hidden.clone(), planned, rotation)
    with limited("none"):
        assert torch.equal(stack.run(hidden.clone(), planned, rotation), before)
