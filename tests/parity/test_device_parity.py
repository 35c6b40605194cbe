"""Steps as they run on a GPU give what Transformers and the processor's own path give, in float32.

The kernel's twin stands in for the kernel, and something that runs a step again for CUDA graphs; the rest is the code
that runs on hardware.
"""

import pytest
import torch

from handful.engine.decode_graphs import MAX_ROWS
from handful.engine.engine import Engine
from tests.parity import engines
from tests.parity.engines import Recorder, Setup
from tests.parity.test_engine_parity import TOLERANCE, expected_logprobs, many_prompts, tokens
from tests.unit.model.tiny_models import FAMILIES, VARIANTS

LABELS = [[7], [8, 9], [8, 9, 10], [8, 11, 12, 13], [300, 9]]


def as_device(capture: Recorder | None = None, **more: int) -> Setup:
    return Setup(as_device=True, capture=capture, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", VARIANTS)
def test_labels_behind_a_cached_prefix_have_the_probability_they_have_in_transformers(variant: str) -> None:
    prompt = tokens(400)
    made = engines.engine(variant, as_device())
    engines.greedy(made, [[*prompt[:300], 99]], 1)
    found = engines.score(made, prompt, LABELS)
    for label, value in zip(LABELS, found, strict=True):
        logprobs = expected_logprobs(variant, prompt + label)
        wanted = sum(float(logprobs[399 + i, token]) for i, token in enumerate(label))
        assert abs(value - wanted) < TOLERANCE * len(label)


@pytest.mark.parametrize("variant", FAMILIES)
def test_every_token_of_a_prompt_in_chunks_has_the_probability_it_has_in_transformers(variant: str) -> None:
    prompt = tokens(330)
    found = engines.prompt_logprobs(engines.engine(variant, as_device(budget=97)), prompt)
    wanted = expected_logprobs(variant, prompt)[torch.arange(329), torch.tensor(prompt[1:])]
    assert (torch.tensor(found) - wanted).abs().max() < TOLERANCE


@pytest.mark.parametrize("variant", FAMILIES)
def test_greedy_texts_are_those_of_the_processor_with_and_without_recorded_steps(variant: str) -> None:
    prompts = many_prompts()[::2]
    wanted = engines.greedy(engines.engine(variant), prompts)
    assert engines.greedy(engines.engine(variant, as_device()), prompts) == wanted
    recorder = Recorder()
    assert engines.greedy(engines.engine(variant, as_device(recorder, free_rows=0)), prompts) == wanted
    assert recorder.num_replayed > recorder.num_recorded > 0


@pytest.mark.parametrize("variant", ["gpt_neo-small-window", "llama"])
def test_one_request_after_the_other_replays_what_the_first_ones_recorded(variant: str) -> None:
    recorder = Recorder()
    made = engines.engine(variant, as_device(recorder, free_rows=0))
    beginning = tokens(200)
    prompts = [beginning + tokens(20, seed=i) for i in range(2, 7)]
    wanted = engines.greedy(engines.engine(variant), prompts, 12)
    first = engines.greedy(made, prompts[:1], 12)
    num_recorded = recorder.num_recorded
    assert [*first, *(engines.greedy(made, [prompt], 12)[0] for prompt in prompts[1:])] == wanted
    assert recorder.num_recorded <= num_recorded + 2  # the first one computed the beginning and the others share it


def test_the_same_seeds_give_the_same_texts() -> None:
    prompts = many_prompts()[::6]
    wanted = [engines.sampled(seed) for seed in range(len(prompts))]
    there = engines.generate(engines.engine("llama", as_device(Recorder())), prompts, wanted)
    assert there == engines.generate(engines.engine("llama"), prompts, wanted)


def test_rows_that_fill_a_step_up_touch_no_slot_that_belongs_to_somebody() -> None:
    """Memory that nobody wrote stays as it was, and a neighbour's keys too: all slots but the scratch one."""
    prompts = [tokens(50 + i, seed=i) for i in range(5)]  # five rows, eight in the recording
    plain, padded = (engines.engine("llama", as_device(capture, free_rows=0)) for capture in (None, Recorder()))
    for made in (plain, padded):
        made.runner.memory.keys[:, :-1].fill_(7.0)  # type: ignore[attr-defined]
        made.runner.memory.values[:, :-1].fill_(7.0)  # type: ignore[attr-defined]
        engines.greedy(made, prompts, 6)
    for mine, theirs in zip(_memories(plain), _memories(padded), strict=True):
        assert (mine[:, :-1] - theirs[:, :-1]).abs().max() < 1e-4
        assert (mine[:, :-1] == 7.0).all(dim=(2, 3)).equal((theirs[:, :-1] == 7.0).all(dim=(2, 3)))


def _memories(made: Engine) -> tuple[torch.Tensor, torch.Tensor]:
    return made.runner.memory.keys, made.runner.memory.values  # type: ignore[attr-defined]


def test_a_step_of_more_rows_than_are_recorded_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_ROWS > 2
    monkeypatch.setattr("handful.engine.device_runner.MAX_ROWS", 2)
    recorder = Recorder()
    prompts = [tokens(9, seed=i) for i in range(3)]
    found = engines.greedy(engines.engine("llama", as_device(recorder, free_rows=0)), prompts)
    assert found == engines.greedy(engines.engine("llama"), prompts)
    assert recorder.num_recorded == 0
