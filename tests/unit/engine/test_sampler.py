"""The sampler: each parameter does what it says, row by row."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from handful.engine.logits import HostRows
from handful.engine.request import Generate, Request
from handful.engine.sampler import Sampled, Sampler
from handful.engine.stopping import TextState
from handful.types import GenerationParameters

EOS = 0


def request(
    parameters: GenerationParameters, output: list[int] | None = None, seed: int = 0, number: int = 1
) -> Request:
    made = Request(number, (3,), Generate(parameters, seed, TextState(lambda ids: "", ())))
    made.output = output or []
    return made


def sample(logits: list[float], made: Request) -> Sampled:
    return Sampler(frozenset({EOS})).sample(HostRows(torch.tensor([logits])), [made])[0]


def draws(logits: list[float], count: int = 200, **parameters: object) -> set[int]:
    wanted = GenerationParameters(temperature=1.0, **parameters)  # type: ignore[arg-type]
    sampler = Sampler(frozenset({EOS}))
    found = set()
    made = request(wanted)
    for _ in range(count):
        found.add(sampler.sample(HostRows(torch.tensor([logits])), [made])[0].token)
    return found


def test_temperature_zero_takes_the_best() -> None:
    assert sample([0.0, 2.0, 1.0], request(GenerationParameters())).token == 1


def test_top_k_leaves_the_k_best() -> None:
    assert draws([0.0, 0.1, 0.2, 0.3], top_k=2) == {2, 3}


def test_top_p_leaves_the_fewest_tokens_that_reach_the_mass() -> None:
    logits = [math.log(p) for p in (0.5, 0.3, 0.15, 0.05)]
    assert draws(logits, top_p=0.75) == {0, 1}
    assert draws(logits, top_p=0.5) == {0}


def test_typical_p_leaves_the_tokens_whose_surprise_is_nearest_the_entropy() -> None:
    probabilities = [0.4, 0.2, 0.2, 0.2]  # entropy 1.33: the 0.2s (1.61) are nearer than the 0.4 (0.92)
    assert draws([math.log(p) for p in probabilities], typical_p=0.5) == {1, 2, 3}


def test_every_token_can_be_drawn_without_filters() -> None:
    assert draws([0.0, 0.1, 0.2, 0.3]) == {0, 1, 2, 3}


def test_a_seed_gives_the_same_tokens_whatever_rows_are_beside_it() -> None:
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(1))
    wanted = GenerationParameters(temperature=1.0)
    alone, among = Sampler(frozenset()), Sampler(frozenset())
    others = [request(wanted, seed=9, number=2 + i) for i in range(4)]
    for _ in range(10):
        one = alone.sample(HostRows(logits[:1].clone()), [request(wanted, seed=7)])[0]
        many = among.sample(HostRows(logits.clone()), [request(wanted, seed=7), *others])[0]
        assert one.token == many.token


def test_a_repeated_token_is_made_less_likely() -> None:
    penalised = GenerationParameters(repetition_penalty=2.0)
    assert sample([0.0, 2.0, 1.5, -9.0], request(penalised, [1])).token == 2
    assert sample([-3.0, -1.0, -1.5, -9.0], request(penalised, [1])).token == 2


def test_the_prompt_counts_for_the_repetition_penalty_only() -> None:
    logits = [0.0, 0.0, 0.0, 2.0, 1.5]  # token 3 is the prompt
    assert sample(logits, request(GenerationParameters(repetition_penalty=2.0))).token == 4
    assert sample(logits, request(GenerationParameters(presence_penalty=2.0))).token == 3


def test_the_frequency_penalty_grows_with_the_count() -> None:
    logits = [0.0, 2.0, 1.5]
    parameters = GenerationParameters(frequency_penalty=0.3)
    assert sample(logits, request(parameters, [1])).token == 1
    assert sample(logits, request(parameters, [1, 1])).token == 2


def test_a_bias_moves_a_token() -> None:
    assert sample([0.0, 2.0, 1.5], request(GenerationParameters(logit_bias=((2, 1.0),)))).token == 2


def test_the_end_of_text_waits_for_the_minimum_length() -> None:
    parameters = GenerationParameters(min_new_tokens=2)
    assert sample([5.0, 1.0, 0.0], request(parameters, [1])).token == 1
    assert sample([5.0, 1.0, 0.0], request(parameters, [1, 1])).token == EOS


def test_logprobs_are_those_of_the_model_under_any_parameter() -> None:
    logits: Tensor = torch.tensor([[0.0, 2.0, 1.0]])
    expected = logits.log_softmax(dim=-1)[0]
    parameters = GenerationParameters(temperature=0.5, logprobs=2, logit_bias=((0, 50.0),))
    found = Sampler(frozenset()).sample(HostRows(logits.clone()), [request(parameters)])[0]
    assert found.token == 0
    assert found.logprob is not None
    assert abs(found.logprob - float(expected[0])) < 1e-6
    assert [token for token, _ in found.top] == [1, 2]
    assert abs(found.top[0][1] - float(expected[1])) < 1e-6


@pytest.mark.parametrize("temperature", [1e-30, 1e-38, 1e-45, 1e-60, 5e-324])
def test_the_smallest_temperatures_take_the_best(temperature: float) -> None:
    assert sample([0.0, 2.0, 1.0], request(GenerationParameters(temperature=temperature))).token == 1


@pytest.mark.parametrize("penalty", [1e-40, 1e-300])
@pytest.mark.parametrize("others", [{}, {"top_p": 0.5}, {"top_k": 2}, {"typical_p": 0.5}])
def test_a_penalty_beyond_all_numbers_leaves_a_token_to_draw(penalty: float, others: dict[str, Any]) -> None:
    parameters = GenerationParameters(temperature=1.0, repetition_penalty=penalty, **others)
    assert sample([0.0, 2.0, 1.0, 3.0], request(parameters)).token == 3  # the prompt's own, and the only one seen


def test_a_row_that_is_no_number_gives_a_token() -> None:
    made = request(GenerationParameters(temperature=1.0, top_p=0.9))
    assert sample([math.nan, 1.0, 2.0], made).token in (0, 1, 2)
