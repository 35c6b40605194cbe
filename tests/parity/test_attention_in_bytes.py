"""What many requests share is read in bytes, near what it is otherwise; what a request has to itself never is."""

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


def test_a_short_request_alone_is_the_same_to_the_bit() -> None:
    prompt = tokens(315)
    assert torch.equal(scores("llama", [prompt], in_bytes=True), scores("llama", [prompt], in_bytes=False))
