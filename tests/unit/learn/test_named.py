"""Readings by their names, on a backend whose answers have a known structure."""

import numpy as np
import pytest

from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.named import NAMES, make_ready, work_of
from handful.task.render import prefix
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task

TASK = task().with_examples(examples(12, start=1000))
ASKED = [text for label in LABELS for text in inputs(label, range(40))]
TRUE = [text.partition(" ")[0] for text in ASKED]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "channel"])
def test_every_reading_learns_from_the_tasks_examples(name: str) -> None:
    backend = StructuredBackend(score_signal=3.0, state_signal=2.0, bias=1.0)
    ready = make_ready(name, TASK, backend, texts=ASKED)
    found = ready.predictor.predict(ASKED)
    assert np.mean([one == true for one, true in zip(found, TRUE, strict=True)]) > 0.9
    assert ready.predictor.labels == LABELS


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_no_more_than_it_says(name: str) -> None:
    backend = StructuredBackend()
    work = work_of(name, TASK, len(ASKED))
    ready = make_ready(name, TASK, backend, texts=ASKED)
    assert _num_asked(backend) <= work.to_fit
    backend.calls.clear()
    ready.predictor.predict(ASKED)
    assert 0 < _num_asked(backend) <= work.a_query * len(ASKED)


def test_the_prompt_of_an_input_is_one_that_is_asked() -> None:
    for name in ("contextual", "knn", "auto"):
        backend = StructuredBackend()
        ready = make_ready(name, TASK, backend)
        ready.predictor.predict(ASKED[:1])
        assert ready.prompt(ASKED[0]) in backend.prompts
        assert ready.prompt(ASKED[0]).startswith(prefix(ready.shown))


def test_channel_scoring_shows_a_label_and_no_query() -> None:
    ready = make_ready("channel", TASK, StructuredBackend())
    assert ready.prompt(ASKED[0]) == ready.prompt(ASKED[1])
    assert ready.prompt(ASKED[0]).endswith(f"Label: {LABELS[0]}\nText:")


def test_knn_shows_four_examples_and_keeps_the_others_as_neighbours() -> None:
    ready = make_ready("knn", TASK, StructuredBackend())
    assert len(ready.shown.examples) == 4
    with pytest.raises(InvalidInputError, match=r"kNN needs 3 examples of every label.*the rarest has 2"):
        make_ready("knn", task().with_examples(examples(2)), StructuredBackend())


def test_batch_without_texts_and_a_name_there_is_not_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="needs unlabelled texts"):
        make_ready("batch", TASK, StructuredBackend())
    with pytest.raises(InvalidParameterError, match="Did you mean `centroid`"):
        make_ready("centroyd", TASK, StructuredBackend())


def _num_asked(backend: StructuredBackend) -> int:
    return sum(number for _, number in backend.calls)
