"""Readings by their names, on a backend whose answers have a known structure."""

import numpy as np
import pytest

from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.named import Provided, Ready, make_ready
from handful.learn.predictor import Predictor, TextPredictor
from handful.learn.reading_names import NAMES, NEED_ENCODER, TEXT_NAMES, work_of
from handful.task.render import prefix
from handful.task.task import Task
from handful.types import PrefixTuning
from tests.fakes import FakeBackend
from tests.unit.learn.encoders import NamedNgrams
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task
from tests.unit.learn.tunable_model import TunableModel

# Enough for prompts to be tuned with them.
MANY = task().with_examples(examples(32, start=1000))
TASK = task().with_examples(examples(12, start=1000))
ASKED = [text for label in LABELS for text in inputs(label, range(40))]
TRUE = [text.partition(" ")[0] for text in ASKED]


def made(name: str, backend: StructuredBackend, of: Task = TASK) -> Ready:
    """With the texts and the encoder that some readings need."""
    return make_ready(name, of, backend, texts=ASKED, provided=Provided(encoder=NamedNgrams(dim=1024)))


def reading(ready: Ready) -> Predictor:
    assert isinstance(ready.predictor, Predictor)
    return ready.predictor


@pytest.mark.parametrize("name", [name for name in NAMES if name != "channel"])
def test_every_reading_learns_from_the_tasks_examples(name: str) -> None:
    backend = TunableModel(tuned_signal=6.0, score_signal=3.0, state_signal=2.0)
    backend.bias = 1.0
    predictor = reading(made(name, backend, _enough_for(name)))
    found = predictor.predict(ASKED)
    assert np.mean([one == true for one, true in zip(found, TRUE, strict=True)]) > 0.9
    assert predictor.labels == LABELS


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_no_more_than_it_says(name: str) -> None:
    backend = TunableModel(tuned_signal=0.0)
    work = work_of(name, _enough_for(name), len(ASKED))
    predictor = reading(made(name, backend, _enough_for(name)))
    learned = sum(len(asked) * settings.num_epochs for _, asked, _, settings in backend.tunings)
    assert learned == work.num_learned
    assert _num_asked(backend) <= work.to_fit
    backend.calls.clear()
    predictor.predict(ASKED)
    assert (_num_asked(backend) > 0) == (work.a_query > 0)
    assert _num_asked(backend) <= work.a_query * len(ASKED)


def test_an_encoders_head_asks_no_model_and_shows_what_it_reads() -> None:
    backend = StructuredBackend()
    ready = made("encoder", backend)
    assert reading(ready).predict(ASKED[:1]) == TRUE[:1]
    assert (backend.calls, ready.prompt(ASKED[0])) == ([], ASKED[0])
    with pytest.raises(InvalidInputError, match="No example has the label `good`"):
        made("encoder", backend, task().with_examples(examples(3, LABELS[:1])))


@pytest.mark.parametrize("name", TEXT_NAMES)
def test_each_query_is_shown_the_examples_nearest_to_it(name: str) -> None:
    backend = StructuredBackend()
    ready = made(name, backend)
    reading(ready).predict(["bad 1003"])
    shown = ready.prompt("bad 1003")
    assert shown in backend.prompts
    assert (shown.count("Text: bad 10"), shown.count("Text: good 10")) == (4 + 1, 4)  # one is the query
    assert shown.endswith("Text: bad 1003\nLabel: bad\n\nText: bad 1003\nLabel:")  # the nearest stands last


@pytest.mark.parametrize("name", NEED_ENCODER)
def test_a_reading_without_the_encoder_it_needs_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"`encoder` is needed by the reading '{name}'"):
        make_ready(name, TASK, StructuredBackend())


def test_nearest_needs_more_examples_than_it_shows() -> None:
    with pytest.raises(InvalidInputError, match="nearest 8 needs more than 8 examples; there are 8"):
        make_ready("nearest", task().with_examples(examples(4)), StructuredBackend())


def test_free_text_is_written_behind_the_nearest_examples() -> None:
    open_task = TASK.replace(labels=())
    backend = FakeBackend()
    ready = make_ready("nearest", open_task, backend)
    assert isinstance(ready.predictor, TextPredictor)
    (found,) = ready.predictor.predictions(["good 1005"])
    assert found.input == "good 1005"
    assert backend.prompts == [ready.prompt("good 1005")]
    with pytest.raises(InvalidParameterError, match="There are `nearest` and `nearest by encoder`"):
        make_ready("knn", open_task, backend)


def test_the_prompt_of_an_input_is_one_that_is_asked() -> None:
    for name in ("contextual", "knn", "auto"):
        backend = StructuredBackend()
        ready = make_ready(name, TASK, backend)
        reading(ready).predict(ASKED[:1])
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


def test_tuned_reads_each_example_as_often_as_it_is_told_and_tells_its_steps() -> None:
    backend = TunableModel(tuned_signal=6.0)
    told: list[tuple[int, int]] = []
    provided = Provided(prompt_epochs=2, advance=lambda *step: told.append(step))
    ready = make_ready("tuned", MANY, backend, seed=3, provided=provided)
    assert ready.choice is not None
    assert ready.choice.recipe == "tuned"
    assert [settings for _, _, _, settings in backend.tunings] == [
        PrefixTuning(num_epochs=2, seed=seed) for seed in (3, 4, 5)
    ]
    assert told[-1][0] == told[-1][1]


def test_tuned_needs_a_model_that_can_be_tuned() -> None:
    with pytest.raises(InvalidParameterError, match="has no tuned prompts: it is a StructuredBackend"):
        make_ready("tuned", MANY, StructuredBackend())


def _enough_for(name: str) -> Task:
    return MANY if name == "tuned" else TASK


def _num_asked(backend: StructuredBackend) -> int:
    return sum(number for _, number in backend.calls)
