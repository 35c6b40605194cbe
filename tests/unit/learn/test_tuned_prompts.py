"""Prompts whose start is tuned with the labelled examples: when `auto` takes them, and what they may know."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.auto import fit_auto
from handful.learn.auto_settings import AutoSettings
from handful.learn.estimator import FewShotClassifier
from handful.learn.tuned_prompts import NUM_TUNED_PROMPTS
from handful.task.fit import ExamplesDroppedWarning
from handful.types import PrefixTuning
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task
from tests.unit.learn.tunable_model import TunableModel

QUERIES = inputs("bad", range(500, 540)) + inputs("good", range(500, 540))
CLASSES = np.repeat([0, 1], 40)
TUNING = AutoSettings(prompt_tuning=PrefixTuning(num_epochs=2))


def classifier(model: StructuredBackend, **parameters: Any) -> FewShotClassifier:
    asked: dict[str, Any] = {"input": "Text: {text}", "output": "Label: {output}", "prompt_epochs": 2}
    return FewShotClassifier(model, **(asked | parameters))


def labelled(num_each: int) -> tuple[list[str], list[str]]:
    return [text for label in LABELS for text in inputs(label, range(num_each))], np.repeat(LABELS, num_each).tolist()


def test_tuned_prompts_are_taken_where_they_say_more_of_what_they_never_saw() -> None:
    model = TunableModel(tuned_signal=3.0)
    predictor, choice = fit_auto(task(), model, examples(32), TUNING)
    assert choice.recipe == "tuned"
    assert choice.num_passes == choice.num_prompts == NUM_TUNED_PROMPTS
    assert (predictor.probabilities(QUERIES).argmax(axis=1) == CLASSES).mean() > 0.95


def test_prompts_that_learn_by_rote_are_not_taken() -> None:
    _, choice = fit_auto(task(), TunableModel(tuned_signal=0.0), examples(32), TUNING)
    (tuned,) = (one for one in choice.verdicts if one.recipe == "tuned")
    assert choice.recipe != "tuned"
    assert tuned.num_tried == 64
    assert tuned.accuracy == pytest.approx(0.5, abs=0.2)


def test_each_prompt_is_tuned_without_a_third_and_no_example_sees_its_own_answer() -> None:
    model = TunableModel(tuned_signal=1.0)
    described = task().replace(description="Good or bad?")
    fit_auto(described, model, examples(33), TUNING)
    assert [len(asked) for _, asked, _, _ in model.tunings] == [44, 44, 44]
    seen = [text for _, asked, _, _ in model.tunings for text in (one.text for one in asked)]
    assert all(seen.count(text) == NUM_TUNED_PROMPTS - 1 for text in seen)
    for shown, asked, continuations, _ in model.tunings:
        assert shown[0] == "Good or bad?\n\n"
        for one in asked:
            own = [place for place, text in enumerate(shown) if text.startswith(one.text + continuations[one.label])]
            assert own == ([] if one.shown_as is None else [one.shown_as])
        assert sum(one.shown_as is not None for one in asked) == len(shown) - 1 == 8


def test_the_steps_of_all_prompts_are_told() -> None:
    told: list[tuple[int, int]] = []
    settings = AutoSettings(prompt_tuning=PrefixTuning(num_epochs=2), advance=lambda *step: told.append(step))
    fit_auto(task(), TunableModel(tuned_signal=1.0), examples(32), settings)
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({total for _, total in told}) == 1


def small(context_length: int) -> TunableModel:
    """A byte is a token; an example takes about 20, more with a longer number, a text as many."""
    model = TunableModel(tuned_signal=3.0)
    model.info = replace(model.info, context_length=context_length)
    return model


@pytest.mark.parametrize(("context_length", "num_shown"), [(400, 8), (170, 4), (100, 2)])
def test_a_tuned_prompt_begins_at_as_many_examples_as_fit(context_length: int, num_shown: int) -> None:
    model = small(context_length)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExamplesDroppedWarning)
        fit_auto(task(), model, examples(32), TUNING)
    assert [len(shown) for shown, _, _, _ in model.tunings] == [num_shown] * NUM_TUNED_PROMPTS
    longest = max(len(one.text) for _, asked, _, _ in model.tunings for one in asked)
    assert all(sum(map(len, shown)) + longest < context_length for shown, _, _, _ in model.tunings)


def test_texts_that_do_not_fit_behind_the_fewest_examples_are_refused_before_anything_is_asked() -> None:
    model = small(60)
    with pytest.raises(InvalidInputError, match="of 2 examples and the longest text don't fit"):
        fit_auto(task(), model, examples(32), TUNING)
    assert model.calls == []


def test_what_the_model_itself_refuses_is_told_before_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TunableModel(tuned_signal=3.0)

    def refuse(_: TunableModel, asked: str, continuations: tuple[str, ...]) -> None:
        assert (asked, continuations) == ("Text: bad 0\nLabel:", (" bad", " good"))
        raise InvalidInputError("Two labels begin with the same token.")

    monkeypatch.setattr(TunableModel, "check_tunable", refuse)
    with pytest.raises(InvalidInputError, match="same token"):
        fit_auto(task(), model, examples(32), TUNING)
    assert model.calls == []


def test_few_labels_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="needs 32 examples of every label; the rarest has 31"):
        fit_auto(task(), TunableModel(tuned_signal=1.0), examples(31), TUNING)


def test_a_backend_that_can_not_be_tuned_is_refused_by_name_before_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(StructuredBackend, "score", lambda *_: pytest.fail("asked in vain"))
    with pytest.raises(InvalidParameterError, match="has no tuned prompts: it is a StructuredBackend"):
        fit_auto(task(), StructuredBackend(), examples(32), TUNING)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"recipe": "plain"}, "prompt_epochs"),
        ({"synonyms": {"good": ["fine"]}}, "synonyms"),
        ({"prompt_epochs": -1}, "prompt_epochs"),
    ],
)
def test_parameters_that_tuned_prompts_can_not_honour_are_refused(parameters: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidParameterError, match=match):
        classifier(TunableModel(tuned_signal=1.0), **parameters).fit(*labelled(32))


def test_a_saved_classifier_answers_as_before(tmp_path: Path) -> None:
    model = TunableModel(tuned_signal=3.0)
    fitted = classifier(model).fit(*labelled(32))
    fitted.save(tmp_path)
    loaded = FewShotClassifier.load(tmp_path, model)
    assert loaded.choice_.recipe == "tuned"
    np.testing.assert_array_equal(loaded.predict_proba(QUERIES), fitted.predict_proba(QUERIES))
    with pytest.raises(InvalidParameterError, match="has no tuned prompts"):
        FewShotClassifier.load(tmp_path, StructuredBackend()).predict_proba(QUERIES)


def test_a_folder_whose_tuned_prompt_is_damaged_is_refused(tmp_path: Path) -> None:
    model = TunableModel(tuned_signal=3.0)
    classifier(model).fit(*labelled(32)).save(tmp_path)
    arrays = load_file(tmp_path / "arrays.safetensors")
    arrays["0.prefix_keys"] = arrays["0.prefix_keys"][:, :-1].copy()
    save_file(arrays, tmp_path / "arrays.safetensors")
    with pytest.raises(InvalidInputError, match="tuned prompt don't fit"):
        FewShotClassifier.load(tmp_path, model)
