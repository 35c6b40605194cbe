from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from handful.errors import InvalidInputError, InvalidParameterError, TaskError
from handful.learn.selector import STRATEGIES, Selector, SelectorSettings
from handful.task.task import Example, Task
from tests.fakes import FakeBackend
from tests.unit.learn.structured import examples, task

POOL = Task(
    name="past",
    input="Now: {verb}",
    output="Then: {output}",
    examples=tuple(
        Example({"verb": verb}, past)
        for verb, past in (("sing", "sang"), ("walk", "walked"), ("ring", "rang"), ("talk", "talked"))
    ),
)


def choose(verbs: list[str], **settings: Any) -> list[tuple[int, ...]]:
    return Selector(POOL, SelectorSettings(**settings)).choose(verbs)


def test_each_query_gets_what_is_like_it_and_the_nearest_stands_last() -> None:
    (shown,) = choose(["spring"], strategy="nearest", num_shown=2)
    assert sorted(shown) == [0, 2]
    assert shown[-1] == 2
    assert choose(["spring"], strategy="nearest", num_shown=2, order="nearest first") == [shown[::-1]]


def test_in_the_order_of_the_pool_more_prompts_begin_alike() -> None:
    verbs = ["spring", "bring", "stalk", "chalk", "sting"]
    backend = FakeBackend()
    costs = [
        Selector(POOL, SelectorSettings(strategy="nearest", num_shown=3, order=order)).cost(verbs, backend)
        for order in ("nearest last", "pool")
    ]
    assert costs[1].num_computed_tokens <= costs[0].num_computed_tokens
    assert backend.calls == []  # counted, and nothing computed


def test_one_set_for_all_is_one_prefix() -> None:
    for strategy in ("random", "representative"):
        selector = Selector(task().with_examples(examples(6)), SelectorSettings(strategy=strategy, num_shown=4))
        chosen = selector.choose(["bad 1", "good 2", "bad 3"])
        assert len(set(chosen)) == 1
        assert not selector.is_for_each
        assert selector.cost(["bad 1", "good 2"], FakeBackend()).shared == pytest.approx(0.5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_choice_does_not_depend_on_what_else_is_asked(strategy: Any) -> None:
    verbs = ["bring", "chalk", "go"]
    together = choose(verbs, strategy=strategy, num_shown=2)
    assert together == [choose([verb], strategy=strategy, num_shown=2)[0] for verb in verbs]
    assert choose([], strategy=strategy) == []


@pytest.mark.parametrize("strategy", ["random", "representative", "balanced nearest"])
def test_a_closed_task_gets_as_many_of_each_label(strategy: Any) -> None:
    pool = task().with_examples(examples(6))
    for shown in Selector(pool, SelectorSettings(strategy=strategy, num_shown=4)).choose(["bad 9", "good 9"]):
        assert sorted(pool.examples[index].output for index in shown) == ["bad", "bad", "good", "good"]


def test_an_encoder_decides_what_is_alike() -> None:
    class LastLetter:
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.array([np.eye(26)[ord(text[-1]) - 97] for text in texts], dtype=np.float32)

    settings = SelectorSettings(strategy="nearest", num_shown=2, encoder=LastLetter())
    assert {*Selector(POOL, settings).choose(["rink"])[0]} == {1, 3}


def test_the_tasks_of_queries_with_the_same_examples_are_one() -> None:
    first, second, third = Selector(POOL, SelectorSettings(strategy="nearest", num_shown=1)).tasks(
        ["sing", "sing", "talk"]
    )
    assert first is second
    assert [example.output for example in third.examples] == ["talked"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"strategy": "neerest"}, "Did you mean `nearest`"),
        ({"order": "random"}, "order"),
        ({"num_shown": 0}, "num_shown"),
        ({"num_shown": True}, "num_shown"),
        ({"weight": 1.5}, "weight"),
        ({"strategy": "covering", "encoder": object()}, "encoder"),
    ],
)
def test_a_setting_that_is_none_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidParameterError, match=named):
        SelectorSettings(**settings)


def test_an_empty_pool_is_refused_with_a_way_out() -> None:
    with pytest.raises(TaskError, match="Give it `examples`"):
        Selector(POOL.with_examples(()))


def test_a_bad_input_is_named() -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        choose([" "])
