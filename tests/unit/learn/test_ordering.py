import math
from typing import Any

import numpy as np
import pytest

from handful.errors import InvalidInputError, InvalidParameterError, TaskError
from handful.learn.ordering import (
    OrderingSettings,
    global_entropy,
    local_entropy,
    rank_orders,
    some_orders,
    written_probes,
)
from handful.task.task import Example, Task
from tests.fakes import FakeBackend
from tests.unit.learn.structured import StructuredBackend, examples, task

# Four probes, two labels: three are answered with the first label, one with the second.
PROBES = np.log([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])


def test_global_entropy_of_a_case_worked_by_hand() -> None:
    # shares 3/4 and 1/4: -(0.75 ln 0.75 + 0.25 ln 0.25)
    assert global_entropy(PROBES) == pytest.approx(0.5623351446)


def test_local_entropy_of_a_case_worked_by_hand() -> None:
    # the mean of H(0.9), H(0.8), H(0.6) and H(0.3) in nats: 0.32508, 0.50040, 0.67301, 0.61086
    assert local_entropy(PROBES) == pytest.approx((0.3250830 + 0.5004024 + 0.6730117 + 0.6108643) / 4, abs=1e-7)


def test_the_entropies_of_the_extremes() -> None:
    one_label = np.log([[0.99, 0.01]] * 3)
    assert global_entropy(one_label) == 0.0
    assert math.copysign(1, global_entropy(one_label)) == 1
    even = np.log([[0.6, 0.4], [0.4, 0.6]])
    assert global_entropy(even) == pytest.approx(math.log(2))
    assert local_entropy(np.log([[0.25] * 4])) == pytest.approx(math.log(4))


def last_label_wins(prompt: str, continuation: str) -> float:
    """A model that repeats the label of the last example, unless that is an example that ends in "fair"."""
    last = prompt.rpartition("\n\n")[0].rpartition("\n\n")[2] or prompt.rpartition("\n\n")[0]
    if "fair" in last:
        asked = prompt.rpartition("Text: ")[2]
        return -1.0 - 3.0 * (continuation.strip() not in asked)
    return -1.0 - 3.0 * (continuation.strip() not in last.rpartition("Label:")[2])


def test_the_order_that_spreads_its_answers_is_best_and_the_one_of_a_single_label_is_not() -> None:
    shown = [Example({"text": "one"}, "bad"), Example({"text": "two"}, "good"), Example({"text": "fair"}, "bad")]
    ranked = rank_orders(
        task().with_examples(shown), FakeBackend(logprob=last_label_wins), probes=["bad 1", "good 1", "bad 2", "good 2"]
    )
    assert len(ranked) == 6
    assert ranked[0].order[-1] == ranked[1].order[-1] == 2
    assert ranked[0].global_entropy == pytest.approx(math.log(2))
    assert [one.global_entropy for one in ranked[2:]] == [0.0] * 4


def test_local_entropy_decides_where_it_is_asked_to() -> None:
    given = task().with_examples(examples(2))
    settings = OrderingSettings(criterion="local", num_orders=6)
    ranked = rank_orders(given, StructuredBackend(bias=2.0), settings, probes=["bad 1", "good 2", "bad 3"])
    found = [one.local_entropy for one in ranked]
    assert found == sorted(found, reverse=True)
    assert ranked == rank_orders(given, StructuredBackend(bias=2.0), settings, probes=["bad 1", "good 2", "bad 3"])


def test_the_model_writes_the_probes_behind_each_order() -> None:
    backend = FakeBackend(answer=lambda prompt: f" after {prompt.splitlines()[0]}\nLabel: bad")
    pool = task().with_examples(examples(1))
    orders = [pool, pool.with_examples(pool.examples[::-1])]
    assert written_probes(orders, backend, OrderingSettings()) == ["after Text: bad 0", "after Text: good 0"]
    assert all(prompt.endswith("\n\nText:") for prompt in backend.prompts)


def test_a_task_of_several_variables_needs_probes() -> None:
    pair = Task(
        name="pair",
        input="{a} and {b}",
        labels=("x", "y"),
        examples=(Example({"a": "1", "b": "2"}, "x"), Example({"a": "3", "b": "4"}, "y")),
    )
    with pytest.raises(InvalidParameterError, match=r"probes.*`a` and `b`.*unlabelled"):
        rank_orders(pair, FakeBackend())
    assert len(rank_orders(pair, FakeBackend(), probes=[{"a": "5", "b": "6"}])) == 2


def test_a_model_that_writes_nothing_is_told_with_a_way_out() -> None:
    with pytest.raises(InvalidInputError, match=r"wrote no probes.*unlabelled"):
        rank_orders(task().with_examples(examples(1)), FakeBackend(answer=lambda _: "\n"))


@pytest.mark.parametrize("shown", [[], examples(1)[:1]])
def test_fewer_than_two_examples_have_no_order(shown: list[Example]) -> None:
    with pytest.raises(InvalidInputError, match="no two examples"):
        rank_orders(task().with_examples(shown), FakeBackend())


def test_free_text_has_no_labels_to_spread() -> None:
    with pytest.raises(TaskError, match="no labels"):
        rank_orders(
            Task(name="open", examples=(Example({"input": "a"}, "b"), Example({"input": "c"}, "d"))), FakeBackend()
        )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"criterion": "globl"}, "Did you mean `global`"),
        ({"num_orders": 0}, "num_orders"),
        ({"num_each": 65}, "num_each"),
    ],
)
def test_a_setting_that_is_none_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidParameterError, match=named):
        OrderingSettings(**settings)


def test_orders_are_all_there_are_where_they_are_few() -> None:
    assert some_orders(1, 5) == [[0]]
    assert sorted(map(tuple, some_orders(2, 5))) == [(0, 1), (1, 0)]
    assert len(some_orders(3, 24)) == 6
