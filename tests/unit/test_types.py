"""Generation parameters: each has bounds, and a value outside them is refused under its name."""

import math
from dataclasses import fields
from typing import Any

import pytest

from handful.errors import InvalidParameterError
from handful.types import GenerationParameters

# Parameter: values outside its bounds.
OUTSIDE: dict[str, list[Any]] = {
    "max_new_tokens": [-1, 1_000_001, 2**63],
    "min_new_tokens": [-1, 101],
    "temperature": [-0.1, 100.1],
    "top_k": [0, -1, 2**31],
    "top_p": [0, -0.5, 1.01],
    "typical_p": [0, -0.5, 1.01],
    "repetition_penalty": [0, -1, 101],
    "presence_penalty": [-2.1, 2.1],
    "frequency_penalty": [-2.1, 2.1],
    "logit_bias": [((-1, 0.0),), ((2**31, 0.0),), ((1, 101.0),), ((1, -101.0),), ((1, 0.0),) * 1001],
    "seed": [-1, 2**64],
    "n": [0, -1, 65],
    "best_of": [0, -1, 65],
    "max_time": [0, -1, 86_401],
    "stop": [("",), ("a",) * 17, ("a" * 257,), ["a"], (1,)],
    "choices": [("",), ("a",) * 257, ("a" * 4097,), ["a"], (1,)],
    "logprobs": [-1, 101],
}
WHOLE = ("max_new_tokens", "min_new_tokens", "top_k", "seed", "n", "best_of", "logprobs")
SWITCHES = ("echo", "ignore_eos")
CASES = [(name, value) for name, values in OUTSIDE.items() for value in values]


def test_every_parameter_has_its_bounds_here() -> None:
    assert {field.name for field in fields(GenerationParameters)} == set(OUTSIDE) | set(SWITCHES)


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)])
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        GenerationParameters(**{name: value})
    assert caught.value.parameter == name
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "1", [1]])
@pytest.mark.parametrize("name", sorted(set(OUTSIDE) - {"logit_bias", "stop", "choices"}))
def test_what_is_no_finite_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        GenerationParameters(**{name: value})
    assert caught.value.parameter == name


@pytest.mark.parametrize("name", WHOLE)
def test_a_fraction_is_refused_where_a_count_is_meant(name: str) -> None:
    with pytest.raises(InvalidParameterError, match="whole number"):
        GenerationParameters(**{name: 1.5})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_true_or_false(name: str) -> None:
    with pytest.raises(InvalidParameterError, match=name):
        GenerationParameters(**{name: "no"})  # type: ignore[arg-type]


@pytest.mark.parametrize("more", [{"min_new_tokens": 1}, {"ignore_eos": True}])
def test_what_contradicts_choices_is_refused_beside_them(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="choices") as caught:
        GenerationParameters(choices=("a", "b"), **more)
    assert caught.value.parameter == next(iter(more))


@pytest.mark.parametrize("more", [{"n": 2}, {"best_of": 2}])
def test_several_greedy_completions_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="temperature"):
        GenerationParameters(**more)
    assert GenerationParameters(temperature=1.0, **more).num_drawn == 2


def test_values_at_the_bounds_are_taken() -> None:
    GenerationParameters(
        max_new_tokens=1_000_000,
        min_new_tokens=0,
        temperature=100.0,
        top_k=2**31 - 1,
        top_p=1.0,
        typical_p=1,
        repetition_penalty=100,
        presence_penalty=-2.0,
        frequency_penalty=2.0,
        logit_bias=((0, -100.0), (5, 100.0)),
        seed=2**64 - 1,
        n=64,
        best_of=64,
        max_time=86_400,
        stop=("a" * 256,) * 16,
        logprobs=100,
    )
