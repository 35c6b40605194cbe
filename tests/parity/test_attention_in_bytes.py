"""What has been computed is read in bytes, near what it is otherwise; what a step computes never is."""

import pytest
import torch

from handful.engine.runner import Runner
from handful.model.ops.native.attention import AttentionKernel
from tests.parity import engines
from tests.parity.engines import Setup
from tests.unit.model.tiny_models import random_tokens, reference_logits

LABELS = [[7], [8], [300]]

kernel = AttentionKernel.find(torch.bfloat16, 12)
pytestmark = pytest.mark.skipif(
    kernel is None or not kernel.has_bytes, reason="no kernel with bytes for this processor"
)


def tokens(length: int, seed: int = 1) -> list[int]:
    found: list[int] = random_tokens(length, seed).tolist()
    return found


def scores(variant: str, prompts: list[list[int]], *, in_bytes: bool) -> torch.Tensor:
    setup = Setup(slots=30_000)
    made = engines.engine_of(Runner(engines.int8_decoder(variant, attention=in_bytes), setup.slots), setup)
    engines.greedy(made, [[*prompts[0][:300], 99]], 1)  # the shared start is in the cache
    return torch.tensor(engines.scores(made, prompts, LABELS))


@pytest.mark.parametrize("variant", ["llama", "gpt_neo-small-window", "qwen2"])
def test_queries_behind_a_shared_start_are_nearly_what_they_are_without(variant: str) -> None:
    prompts = [tokens(300) + tokens(3 + i, seed=i + 2) for i in range(40)]
    exact, quick = (scores(variant, prompts, in_bytes=in_bytes) for in_bytes in (False, True))
    float32 = torch.stack(
        [reference_logits(variant, torch.tensor(p))[-1].log_softmax(-1)[[7, 8, 300]] for p in prompts]
    )
    assert not torch.equal(exact, quick)
    assert (exact - quick).abs().mean() < 0.06
    assert (quick - float32).abs().mean() < 2 * (exact - float32).abs().mean()


def test_a_prompt_that_is_computed_and_asked_in_one_step_is_the_same_to_the_bit() -> None:
    exact, quick = (in_turn("llama", [[tokens(315)]], in_bytes=in_bytes) for in_bytes in (False, True))
    assert torch.equal(exact[0], quick[0])


def in_turn(variant: str, groups: list[list[list[int]]], *, in_bytes: bool) -> list[torch.Tensor]:
    """Scores of groups of prompts one after the other, in one engine."""
    setup = Setup(slots=30_000)
    made = engines.engine_of(Runner(engines.int8_decoder(variant, attention=in_bytes), setup.slots), setup)
    return [torch.tensor(engines.scores(made, prompts, LABELS)) for prompts in groups]


def test_behind_a_start_that_is_kept_in_bytes_a_request_alone_gets_what_it_gets_among_many() -> None:
    prompts = [tokens(300) + tokens(3 + i, seed=i + 2) for i in range(40)]
    _, many, alone = in_turn("llama", [prompts[:2], prompts, prompts[5:6]], in_bytes=True)
    assert torch.equal(alone[0], many[5])


@pytest.mark.parametrize("variant", ["llama", "gpt_neo-small-window"])
def test_starts_that_are_parted_again_and_again_are_read_as_nearly_as_before(variant: str) -> None:
    whole = tokens(400)
    groups = [[whole[:length] + tokens(5, seed=length + i) for i in range(3)] for length in (400, 250, 330, 90, 400)]
    exact, quick = (in_turn(variant, groups, in_bytes=in_bytes) for in_bytes in (False, True))
    assert not torch.equal(exact[-1], quick[-1])
    for a, b in zip(exact, quick, strict=True):
        assert (a - b).abs().mean() < 0.06
