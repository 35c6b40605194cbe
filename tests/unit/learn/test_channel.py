import pytest

from handful.errors import InvalidParameterError, TaskError
from handful.learn.channel import ChannelPredictor
from handful.task.task import Example, Task
from tests.fakes import FakeBackend
from tests.unit.learn.structured import task

SHOWN = [Example({"text": "dull"}, "bad"), Example({"text": "fun"}, "good")]


def test_the_prompt_shows_the_label_first_and_scores_the_input() -> None:
    backend = FakeBackend()
    ChannelPredictor(task().with_examples(SHOWN), backend).probabilities(["great fun"])
    start = "Label: bad\nText: dull\n\nLabel: good\nText: fun\n\n"
    assert backend.prompts == [f"{start}Label: bad\nText:", f"{start}Label: good\nText:"]


def test_the_probabilities_are_bayes_with_a_uniform_prior() -> None:
    asked: list[str] = []

    def logprob(prompt: str, text: str) -> float:
        asked.append(text)
        return -2.0 if prompt.endswith("Label: good\nText:") else -3.0

    found = ChannelPredictor(task().with_examples(SHOWN), FakeBackend(logprob=logprob)).probabilities(["great fun"])
    assert set(asked) == {" great fun"}
    assert found[0] == pytest.approx([0.26894142, 0.73105858])  # 1 / (1 + e)


def test_a_temperature_flattens_and_changes_no_winner() -> None:
    model = FakeBackend()
    sharp = ChannelPredictor(task().with_examples(SHOWN), model).probabilities(["a", "b"])
    flat = ChannelPredictor(task().with_examples(SHOWN), model, temperature=9.0).probabilities(["a", "b"])
    assert (sharp.argmax(axis=1) == flat.argmax(axis=1)).all()
    assert (flat.max(axis=1) < sharp.max(axis=1)).all()


def test_many_texts_are_asked_in_several_calls_and_answered_in_order() -> None:
    model = FakeBackend()
    predictor = ChannelPredictor(task().with_examples(SHOWN), model)
    texts = [f"{number} " + "word " * 150 for number in range(7)]
    together = predictor.probabilities(texts)
    assert len(model.calls) > 1
    assert together == pytest.approx(predictor.probabilities(texts[::-1])[::-1])


def test_tasks_without_labels_or_with_two_variables_are_refused() -> None:
    two = Task(name="two", input="{a} {b}", labels=("x", "y"))
    for unfit in (Task(name="open"), two):
        with pytest.raises(TaskError, match="one variable"):
            ChannelPredictor(unfit, FakeBackend())


def test_a_temperature_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="temperature"):
        ChannelPredictor(task(), FakeBackend(), temperature=0.0)
