"""Predictors by their names, on a fake model."""

import math

import pytest

from handful import Example, Task
from handful.errors import InvalidInputError, InvalidParameterError
from handful.evals.askers import LABEL_PREDICTORS, asking, check_predictors
from handful.task.render import prefix, prompt
from tests.fakes import FakeBackend

EXAMPLES = tuple(Example({"text": f"text {i}"}, "good" if i % 2 else "bad") for i in range(4))
TASK = Task(name="mood", input="Review: {text}", output="Mood: {output}", labels=("good", "bad"), examples=EXAMPLES)
OPEN = Task(name="shout", input="In: {text}", output="Out: {output}")
TEXTS = [{"text": f"other {i}"} for i in range(3)]


@pytest.mark.parametrize("predictor", ["task", "plain", "contextual", "domain", "batch", "channel", "auto"])
def test_every_reading_gives_probabilities_that_sum_to_one_and_their_argmax(predictor: str) -> None:
    with asking(TASK, FakeBackend(), predictor, seed=0, texts=TEXTS) as asker:
        found = asker.answer(TEXTS)
    assert len(found) == 3
    for fields in found:
        probabilities = fields["probabilities"]
        assert set(probabilities) == {"good", "bad"}
        assert math.isclose(sum(probabilities.values()), 1.0)
        assert fields["prediction"] == max(probabilities, key=probabilities.get)


def test_the_prefix_is_kept_while_queries_are_asked_and_let_go_afterwards() -> None:
    backend = FakeBackend()
    with asking(TASK, backend, "plain", seed=0, texts=()) as asker:
        assert backend.pinned == {prefix(TASK)}
        asker.answer(TEXTS)
    assert backend.pinned == set()


def test_the_prompt_that_is_shown_is_the_prompt_that_is_asked() -> None:
    backend = FakeBackend()
    with asking(TASK, backend, "plain", seed=0, texts=()) as asker:
        asker.answer(TEXTS[:1])
        assert asker.prompt(TEXTS[0]) == backend.prompts[-1] == prompt(TASK, TEXTS[0])


def test_plain_is_what_the_model_says_and_task_what_the_task_makes_of_it() -> None:
    backend = FakeBackend(logprob=lambda prompt, continuation: -1.0 if continuation == " good" else -2.0)
    found = {}
    for predictor in ("plain", "task"):
        with asking(TASK, backend, predictor, seed=0, texts=()) as asker:
            found[predictor] = asker.answer(TEXTS[:1])[0]["probabilities"]["good"]
    assert found["plain"] == pytest.approx(1 / (1 + math.exp(-1)))
    assert found["task"] == pytest.approx(0.5)  # it says the same of inputs that say nothing: all of it is bias


def test_free_text_is_generated_with_its_end() -> None:
    with asking(OPEN, FakeBackend(), "generate", seed=0, texts=()) as asker:
        (fields,) = asker.answer([{"text": "hello"}])
    assert (fields["prediction"], fields["finish_reason"]) == ("HELLO", "stop_sequence")


@pytest.mark.parametrize("predictor", ["plain", "contextual"])
def test_a_query_that_does_not_fit_becomes_an_error_in_its_place(predictor: str) -> None:
    backend = FakeBackend(context_length=300)
    queries = [TEXTS[0], {"text": "x" * 1000}, TEXTS[1]]
    with asking(TASK, backend, predictor, seed=0, texts=TEXTS) as asker:
        found = asker.answer(queries)
    assert ["error" in fields for fields in found] == [False, True, False]
    assert found[1]["prediction"] is None


def test_examples_that_were_dropped_are_told_of() -> None:
    examples = tuple(Example({"text": "long " * 20}, "good" if i % 2 else "bad") for i in range(6))
    task = TASK.with_examples(examples)
    with asking(task, FakeBackend(context_length=450), "contextual", seed=0, texts=()) as asker:
        (fields,) = asker.answer(TEXTS[:1])
    assert "made without up to" in fields["warning"]
    with asking(task, FakeBackend(context_length=450), "plain", seed=0, texts=()) as asker:
        (fields,) = asker.answer(TEXTS[:1])
    assert fields["dropped_examples"] > 0


def test_auto_without_an_example_of_every_label_is_refused() -> None:
    with (
        pytest.raises(InvalidInputError, match="No example has the label"),
        asking(TASK.with_examples(EXAMPLES[:1]), FakeBackend(), "auto", seed=0, texts=()),
    ):
        pass


def test_auto_says_what_it_chose() -> None:
    with asking(TASK, FakeBackend(), "auto", seed=0, texts=()) as asker:
        assert "passes a query" in asker.note


def test_predictors_of_the_other_kind_or_none_are_refused_by_name() -> None:
    check_predictors(LABEL_PREDICTORS, TASK)
    check_predictors(["generate"], OPEN)
    with pytest.raises(InvalidParameterError, match=r"`contextaul` here\. Did you mean `contextual`"):
        check_predictors(["contextaul"], TASK)
    with pytest.raises(InvalidParameterError, match=r"`plain` here.*free text: `generate`"):
        check_predictors(["plain"], OPEN)
