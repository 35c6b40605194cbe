"""Which examples go when a prompt doesn't fit, what is counted, and what is refused."""

import pytest

from handful.errors import PromptTooLongError
from handful.task.fit import Fit, Fitter, dropping_order
from handful.task.predict import count_now
from handful.task.render import prefix, prompt
from handful.task.task import Example, Task
from handful.types import GenerationParameters


def labelled(outputs: str) -> Task:
    examples = tuple(Example({"input": f"text number {i}"}, output) for i, output in enumerate(outputs))
    return Task(name="x", labels=("p", "n", "o"), examples=examples)


def opened(num_examples: int, max_new_tokens: int = 10) -> Task:
    examples = tuple(Example({"input": f"text number {i}"}, "answer") for i in range(num_examples))
    return Task(name="x", examples=examples, parameters=GenerationParameters(max_new_tokens=max_new_tokens))


class Counting:
    """Counts bytes as tokens, and the calls."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> int:
        self.texts.append(text)
        return len(text.encode())


def fit(fitter: Fitter, text: str, count: Counting | None = None) -> Fit:
    return count_now(fitter.fit({"input": text}), count or Counting())


@pytest.mark.parametrize(
    ("outputs", "order"),
    [
        ("", []),
        ("pn", [1, 0]),
        ("ppp", [2, 1, 0]),
        ("pppn", [2, 1, 3, 0]),
        ("pnpnpn", [5, 4, 3, 2, 1, 0]),
        ("pppnnn", [5, 2, 4, 1, 3, 0]),
        ("onp", [2, 1, 0]),
    ],
)
def test_examples_go_from_the_largest_label_and_from_the_end(outputs: str, order: list[int]) -> None:
    assert list(dropping_order(labelled(outputs))) == order


def test_an_open_task_loses_examples_from_the_end() -> None:
    assert dropping_order(opened(4)) == (3, 2, 1, 0)


def test_a_prompt_that_fits_is_whole() -> None:
    task = labelled("pnpn")
    assert fit(Fitter(task, 10_000), "q") == Fit(prompt(task, {"input": "q"}), 0)


def test_nothing_is_counted_when_the_bytes_prove_that_it_fits() -> None:
    count = Counting()
    fit(Fitter(labelled("pn"), 10_000), "q", count)
    assert count.texts == []


def test_the_prefix_is_counted_once_and_short_queries_never() -> None:
    task, count = labelled("pn" * 50), Counting()
    fitter = Fitter(task, 2000)
    few_tokens = {prefix(task): 1000}
    for text in ("one", "two", "three"):
        count_now(fitter.fit({"input": text}), lambda asked: (count(asked), few_tokens[asked])[1])
    assert count.texts == [prefix(task)]


@pytest.mark.parametrize("num_kept", range(5))
def test_just_as_many_examples_go_as_must(num_kept: int) -> None:
    task = opened(4)
    kept = task.with_examples(task.examples[:num_kept])
    wanted = prompt(kept, {"input": "query"})
    room = len(wanted.encode()) + 10
    assert fit(Fitter(task, room), "query") == Fit(wanted, 4 - num_kept)
    if num_kept:
        assert fit(Fitter(task, room - 1), "query").num_dropped == 5 - num_kept


def test_the_answer_of_a_closed_task_is_counted_in() -> None:
    task = Task(name="x", labels=("short", "a much longer label"))
    size = len(prompt(task, {"input": "q"}).encode())
    longest = len(" a much longer label")
    assert fit(Fitter(task, size + longest), "q").num_dropped == 0
    with pytest.raises(PromptTooLongError):
        fit(Fitter(task, size + longest - 1), "q")


def test_one_query_does_not_change_anothers_prompt() -> None:
    task = opened(4)
    fitter = Fitter(task, len(prompt(task, {"input": "q"})) + 10)
    before = fit(fitter, "q")
    assert fit(fitter, "a query that is rather longer").num_dropped == 1
    assert fit(fitter, "q") == before


def test_a_query_that_cannot_fit_is_refused_with_counts() -> None:
    task = opened(2)
    size = len(prompt(task.with_examples(()), {"input": "x" * 500}))
    with pytest.raises(PromptTooLongError) as caught:
        fit(Fitter(task, 300), "x" * 500)
    assert str(caught.value) == (
        f"The prompt has {size} tokens even without examples, and the answer needs up to 10 more; the model's context "
        "holds 300. Shorten the query or lower `max_new_tokens`."
    )
