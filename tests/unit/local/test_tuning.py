"""The start of a prompt, tuned with labelled examples and held by the engine."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from handful.errors import CheckpointError, InvalidInputError, InvalidParameterError
from handful.local import LocalModel
from handful.types import LabelledPrompt, PrefixTuning, TunedPrefix
from tests.unit.local.test_local_model import make

LABELS = (" positive", " negative")
SHOWN = ("the review is good: positive\n", "the film is not: negative\n")
ASKED = (
    LabelledPrompt("the review is good:", 0, shown_as=0),
    LabelledPrompt("the film is not:", 1, shown_as=1),
    LabelledPrompt("a good film:", 0),
    LabelledPrompt("not a film:", 1),
)
QUICK = PrefixTuning(num_epochs=30, batch_size=4, learning_rate=0.05)


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    made = make()
    yield made
    made.close()


def loss(model: LocalModel, prefix: TunedPrefix) -> float:
    scores = model.score_behind(prefix, [asked.text for asked in ASKED], LABELS)
    rows = np.array([score.logprobs for score in scores])
    rows -= np.logaddexp.reduce(rows, axis=1)[:, None]
    return float(-rows[np.arange(len(ASKED)), [asked.label for asked in ASKED]].mean())


def test_tuning_makes_the_right_labels_likely_behind_the_prefix_that_the_engine_holds(model: LocalModel) -> None:
    begun = model.tuned_prefix(SHOWN, ASKED, LABELS, PrefixTuning(num_epochs=1, learning_rate=1e-9))
    tuned = model.tuned_prefix(SHOWN, ASKED, LABELS, QUICK)
    assert loss(model, tuned) < 0.5 * loss(model, begun)


def test_a_prefix_begins_as_the_examples_it_shows(model: LocalModel) -> None:
    begun = model.tuned_prefix(SHOWN, ASKED, LABELS, PrefixTuning(num_epochs=1, learning_rate=1e-9))
    (found,) = model.score_behind(begun, [ASKED[2].text], LABELS)
    (expected,) = model.score(["".join(SHOWN) + ASKED[2].text], LABELS)
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=0.05)  # it was computed in bfloat16, perhaps


def test_a_seed_gives_one_prefix_and_the_steps_are_told(model: LocalModel) -> None:
    told: list[tuple[int, int]] = []
    settings = PrefixTuning(num_epochs=2, batch_size=3)
    one = model.tuned_prefix(SHOWN, ASKED, LABELS, settings, lambda *step: told.append(step))
    other = model.tuned_prefix(SHOWN, ASKED, LABELS, settings)
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.values, other.values)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_labels_that_begin_alike_are_refused(model: LocalModel) -> None:
    with pytest.raises(InvalidInputError, match="begin with the same token"):
        model.tuned_prefix(SHOWN, ASKED, (" positive", " positive too"), QUICK)
    with pytest.raises(InvalidInputError, match="begin with the same token"):
        model.check_tunable(ASKED[0].text, (" positive", " positive too"))
    model.check_tunable(ASKED[0].text, LABELS)


def test_what_tunes_must_be_installed(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CheckpointError, match=r"isn't installed. Install it: pip install 'handful\[transformers\]'"):
        model.check_tunable(ASKED[0].text, LABELS)


def test_a_model_that_is_not_our_own_is_refused(model: LocalModel) -> None:
    files, model.files = model.files, None
    try:
        with pytest.raises(InvalidParameterError, match="runs through Transformers"):
            model.tuned_prefix(SHOWN, ASKED, LABELS, QUICK)
        with pytest.raises(InvalidParameterError, match="runs through Transformers"):
            model.check_tunable(ASKED[0].text, LABELS)
    finally:
        model.files = files
