"""In float32 the engine gives what Transformers gives, whatever is cached, shared, chunked or batched beside it."""

import pytest
import torch

from handful.types import Instructions
from tests.parity import engines
from tests.parity.engines import Setup
from tests.unit.model.tiny_models import FAMILIES, VARIANTS, random_tokens, reference_logits

TOLERANCE = 1e-4

# Attention by the native kernel (where there is one; torch otherwise), by that for AVX2, and by torch alone.
every_attention = pytest.mark.parametrize("instructions", ["all", "avx2", "none"])


def tokens(length: int, seed: int = 1) -> list[int]:
    found: list[int] = random_tokens(length, seed).tolist()
    return found


def expected_logprobs(variant: str, prompt: list[int]) -> torch.Tensor:
    """`[T, V]` log-probabilities by Transformers."""
    return reference_logits(variant, torch.tensor(prompt)).log_softmax(dim=-1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("budget", [1024, 97])
@every_attention
def test_every_token_of_a_600_token_prompt_has_the_probability_it_has_in_transformers(
    variant: str, budget: int, instructions: Instructions
) -> None:
    prompt = tokens(600)
    expected = expected_logprobs(variant, prompt)
    found = engines.prompt_logprobs(engines.engine(variant, Setup(budget=budget, instructions=instructions)), prompt)
    wanted = expected[torch.arange(599), torch.tensor(prompt[1:])]
    assert len(found) == 599
    assert (torch.tensor(found) - wanted).abs().max() < TOLERANCE


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("num_cached", "native"),
    [(0, True), (1, True), (5, True), (60, True), (300, True), (590, True), (5, False), (300, False)],
)
def test_labels_behind_a_cached_prefix_have_the_probability_they_have_in_transformers(
    variant: str, num_cached: int, native: bool
) -> None:
    prefix, prompt = tokens(num_cached), tokens(590)
    labels = [[7], [8, 9], [8, 9, 10], [8, 11, 12, 13], [300, 9]]
    made = engines.engine(variant, Setup(native=native))
    if prefix:
        engines.greedy(made, [[*prefix, 99]], 1)
    found = engines.score(made, prompt, labels)
    for label, value in zip(labels, found, strict=True):
        logprobs = expected_logprobs(variant, prompt + label)
        wanted = sum(float(logprobs[589 + i, token]) for i, token in enumerate(label))
        assert abs(value - wanted) < TOLERANCE * len(label)


@pytest.mark.parametrize("variant", VARIANTS)
def test_greedy_text_is_what_transformers_would_choose(variant: str) -> None:
    prompt = tokens(300)
    output = engines.greedy(engines.engine(variant), [prompt], 24)[0]
    logits = reference_logits(variant, torch.tensor(prompt + output))[299:-1]
    chosen = logits[torch.arange(24), torch.tensor(output)]
    assert (logits.max(dim=-1).values - chosen).max() < TOLERANCE


def many_prompts() -> list[list[int]]:
    """64 prompts of unequal lengths: most share a long start, some share a part of it, some nothing."""
    start = tokens(300)
    shared = [start + tokens(3 + i % 40, seed=i + 2) for i in range(44)]
    partial = [start[: 20 * i + 7] + tokens(9, seed=i + 60) for i in range(12)]
    alone = [tokens(5 + 37 * i, seed=i + 90) for i in range(8)]
    return [*shared, *partial, *alone]


@pytest.mark.parametrize("variant", FAMILIES)
@every_attention
def test_greedy_text_is_the_same_with_and_without_cache_alone_or_among_64_chunked_or_not(
    variant: str, instructions: Instructions
) -> None:
    prompts = many_prompts()
    together = engines.greedy(engines.engine(variant, Setup(instructions=instructions)), prompts)
    apart = Setup(share=False, slots=40_000, instructions=instructions)
    assert engines.greedy(engines.engine(variant, apart), prompts) == together
    assert engines.greedy(engines.engine(variant, Setup(budget=61, instructions=instructions)), prompts) == together
    warm = engines.engine(variant, Setup(instructions=instructions))
    alone = [engines.greedy(warm, [prompt])[0] for prompt in prompts[::3]]
    assert alone == together[::3]


@pytest.mark.parametrize("variant", FAMILIES)
def test_the_same_seed_gives_the_same_text_whatever_else_is_running(variant: str) -> None:
    prompts = many_prompts()[::4]
    wanted = [engines.sampled(seed) for seed in range(len(prompts))]
    together = engines.generate(engines.engine(variant), prompts, wanted)
    for i in range(0, len(prompts), 5):
        assert engines.generate(engines.engine(variant), prompts[i : i + 1], wanted[i : i + 1]) == [together[i]]


@pytest.mark.parametrize("variant", ["gpt_neo-small-window", "llama"])
def test_text_is_the_same_when_memory_is_short_and_segments_are_evicted(variant: str) -> None:
    prompts = many_prompts()
    together = engines.greedy(engines.engine(variant), prompts)
    assert engines.greedy(engines.engine(variant, Setup(slots=900, budget=64)), prompts) == together
