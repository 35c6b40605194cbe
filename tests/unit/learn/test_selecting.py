import numpy as np
import pytest

from handful.errors import InvalidInputError, TaskError
from handful.learn.selecting import SelectingPredictor, predict_selected
from handful.learn.selector import Selector, SelectorSettings
from handful.task.fit import ExamplesDroppedWarning
from handful.task.task import Example, Task
from tests.fakes import FakeBackend
from tests.unit.learn.structured import StructuredBackend, examples, inputs, task

NEAREST = SelectorSettings(strategy="nearest", num_shown=2)
OPEN = Task(
    name="past",
    input="Now: {verb}",
    examples=(Example({"verb": "sing"}, "sang"), Example({"verb": "walk"}, "walked"), Example({"verb": "go"}, "went")),
)


def test_each_prompt_shows_the_querys_own_examples_and_all_run_as_one_batch() -> None:
    backend = FakeBackend()
    found = predict_selected(
        Selector(OPEN, SelectorSettings(strategy="nearest", num_shown=1)), backend, ["ring", "talk"]
    )
    assert [one.prediction for one in found] == ["RING", "TALK"]
    assert backend.calls == [("generate", 2)]
    assert "sang" in backend.prompts[0]
    assert "walked" not in backend.prompts[0]
    assert "walked" in backend.prompts[1]


def test_a_predictor_gives_probabilities_of_the_prompts_it_chose() -> None:
    pool = task().with_examples(examples(4))
    predictor = SelectingPredictor(Selector(pool, NEAREST), StructuredBackend(score_signal=4.0))
    asked = inputs("bad", range(50, 60)) + inputs("good", range(50, 60))
    found = predictor.probabilities(asked)
    assert found.sum(axis=1) == pytest.approx(np.ones(20))
    assert predictor.predict(asked) == ["bad"] * 10 + ["good"] * 10
    assert predictor.probabilities(asked[:1]) == pytest.approx(found[:1])


def test_a_batch_calibrates_what_the_label_words_prefer() -> None:
    def logprob(prompt: str, continuation: str) -> float:
        wanted = prompt.rpartition("Text: ")[2].split()[0]
        return -1.0 - 3.0 * (continuation.strip() == "good") - (continuation.strip() != wanted)

    pool = task().with_examples(examples(4))
    predictor = SelectingPredictor(Selector(pool, NEAREST), FakeBackend(logprob=logprob))
    asked = ["bad 1", "good 1", "bad 2", "good 2"]
    assert predictor.predict(asked) == ["bad"] * 4
    assert predictor.fit(asked).predict(asked) == ["bad", "good", "bad", "good"]


def test_no_inputs_give_no_predictions_and_ask_nothing() -> None:
    backend = FakeBackend()
    assert predict_selected(Selector(OPEN), backend, []) == []
    assert SelectingPredictor(Selector(task().with_examples(examples(1))), backend).probabilities([]).shape == (0, 2)
    assert backend.calls == []


def test_an_input_that_is_bad_is_named_before_anything_is_computed() -> None:
    backend = FakeBackend()
    with pytest.raises(InvalidInputError, match="empty"):
        predict_selected(Selector(OPEN), backend, ["sing", " "])
    assert backend.calls == []


def test_examples_that_do_not_fit_are_dropped_with_a_warning() -> None:
    backend = FakeBackend(context_length=150)
    with pytest.warns(ExamplesDroppedWarning):
        (found,) = predict_selected(Selector(OPEN.replace(description="d" * 20)), backend, ["sing"])
    assert found.dropped_examples > 0


def test_free_text_has_no_probabilities() -> None:
    with pytest.raises(TaskError, match="predict_selected"):
        SelectingPredictor(Selector(OPEN), FakeBackend())
