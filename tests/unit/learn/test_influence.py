import pytest

from handful.errors import InvalidInputError
from handful.learn.influence import leave_one_out, subset_influence
from handful.task.task import Example
from tests.fakes import FakeBackend
from tests.unit.learn.structured import StructuredBackend, examples, noise, task


def poisoned(prompt: str, continuation: str) -> float:
    """A model that knows the first word's label well, unless its prompt shows "poison": then hardly."""
    prefix, _, query = prompt.rpartition("Text:")
    asked = query.partition("\n")[0].strip()
    signal = 0.1 if "poison" in prefix else 3.0
    value = noise(asked, continuation.strip(), "poison" in prefix).normal() * 0.2
    return float(value - 5.0 + signal * (asked.split()[0] == continuation.strip()))


POISON = Example({"text": "bad poison"}, "bad")


def test_leaving_out_finds_the_example_that_hurts() -> None:
    shown = [*examples(2), POISON]
    found = leave_one_out(task().with_examples(shown), FakeBackend(logprob=poisoned), examples(8, start=100))
    assert found[0].index == 4
    assert found[0].hurts
    assert found[0].effect < -0.3
    assert not any(one.hurts for one in found[1:])


def test_without_further_labels_prompts_of_halves_find_it_too() -> None:
    shown = [*examples(4)[:6], POISON, *examples(4)[6:]]
    found = subset_influence(task().with_examples(shown), FakeBackend(logprob=poisoned))
    assert found[0].index == 6
    assert found[0].hurts
    assert sorted(one.index for one in found) == list(range(9))


def test_an_example_with_a_wrong_label_is_unlikely_by_the_others() -> None:
    shown = [*examples(4), Example({"text": "good 77"}, "bad")]
    found = subset_influence(task().with_examples(shown), StructuredBackend(score_signal=3.0))
    own = {one.index: one.own_probability or 0.0 for one in found}
    assert own[8] == min(own.values())
    assert own[8] < 0.3


def test_the_same_seed_finds_the_same() -> None:
    given = task().with_examples(examples(3))
    backend = StructuredBackend(bias=1.0)
    assert subset_influence(given, backend, seed=2) == subset_influence(given, backend, seed=2)


def test_too_few_examples_are_refused_with_a_way_out() -> None:
    with pytest.raises(InvalidInputError, match="Give at least 4"):
        subset_influence(task().with_examples(examples(1)), StructuredBackend())
    with pytest.raises(InvalidInputError, match="subset_influence"):
        leave_one_out(task().with_examples(examples(2)), StructuredBackend(), [])


def test_a_held_out_label_that_is_none_is_named() -> None:
    with pytest.raises(InvalidInputError, match="'ugly', is none of the labels"):
        leave_one_out(task().with_examples(examples(2)), StructuredBackend(), [Example({"text": "x"}, "ugly")])
