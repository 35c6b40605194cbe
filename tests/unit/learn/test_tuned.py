"""An encoder that is tuned with the examples: judged on those that it didn't see, saved, read back, refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.auto import fit_auto
from handful.learn.auto_settings import AutoSettings
from handful.learn.choice import Choice
from handful.learn.distil import DistilSettings, Labelled, distil
from handful.learn.encoded import EncodedPredictor, read_encoded, save_encoded
from handful.learn.estimator import FewShotClassifier
from handful.learn.evidence import Verdict
from handful.learn.predictor import Predictor
from handful.learn.recipe import ENCODER, ENCODER_RECIPES, RECIPES
from handful.learn.tuned import ENCODER_FILE
from handful.server.classifier import load_classifier
from handful.types import EncoderTuning
from tests.unit.learn.encoders import NamedNgrams
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task
from tests.unit.learn.tunable import Rote

TEXTS = inputs("bad", range(12)) + inputs("good", range(12))
CLASSES = ["bad"] * 12 + ["good"] * 12
QUERIES = inputs("bad", range(500, 530)) + inputs("good", range(500, 530))
TUNING = EncoderTuning(num_steps=7)


def test_what_an_encoder_learned_by_rote_is_no_evidence() -> None:
    settings = AutoSettings(recipes=(ENCODER,), encoder=Rote(), tuning=TUNING)
    _, choice = fit_auto(task(), StructuredBackend(), examples(40), settings)
    assert choice.recipe == "encoder"
    assert 0.3 < choice.expected.accuracy < 0.7


def test_auto_does_not_choose_an_encoder_that_learned_by_rote() -> None:
    backend = StructuredBackend(score_signal=2.0)
    settings = AutoSettings(recipes=(*RECIPES, *ENCODER_RECIPES), encoder=Rote(), tuning=TUNING)
    assert "encoder" not in fit_auto(task(), backend, examples(16), settings)[1].recipe


def test_it_is_tuned_with_all_examples_and_three_times_for_the_evidence() -> None:
    encoder, told = Rote(), list[tuple[int, int]]()
    settings = AutoSettings(
        recipes=(ENCODER,), encoder=encoder, tuning=TUNING, advance=lambda *steps: told.append(steps)
    )
    predictor, _ = fit_auto(task(), StructuredBackend(), examples(9), settings)
    assert sorted(count for count, _ in encoder.tunings) == [12, 12, 12, 18]
    assert told == [(7, 28), (14, 28), (21, 28), (28, 28)]
    assert isinstance(predictor.encoder, Rote)
    assert len(predictor.encoder.weights) == 18


def classifier(encoder: Any, **parameters: Any) -> FewShotClassifier:
    model = StructuredBackend(score_signal=0.0, state_signal=0.0)
    chosen = {"recipe": "encoder", "encoder_steps": 5, "encoder": encoder} | parameters
    return FewShotClassifier(model, input="Text: {text}", **chosen)


def test_a_classifier_is_saved_with_what_its_encoder_learned(tmp_path: Path) -> None:
    encoder = Rote(signal=3.0)
    made = classifier(encoder).fit(TEXTS, CLASSES)
    made.save(tmp_path)
    loaded = FewShotClassifier.load(tmp_path, made.model, encoder)  # type: ignore[arg-type]
    assert np.array_equal(loaded.predict_proba(TEXTS + QUERIES), made.predict_proba(TEXTS + QUERIES))
    assert (loaded.encoder_steps, encoder.weights) == (5, {})


def test_saving_another_classifier_to_the_folder_leaves_no_tuned_encoder_behind(tmp_path: Path) -> None:
    classifier(Rote(signal=3.0)).fit(TEXTS, CLASSES).save(tmp_path)
    assert (tmp_path / ENCODER_FILE).exists()
    classifier(Rote(signal=3.0), encoder_steps=0).fit(TEXTS, CLASSES).save(tmp_path)
    assert not (tmp_path / ENCODER_FILE).exists()


def test_a_folder_whose_encoder_is_missing_damaged_or_anothers_is_told(tmp_path: Path) -> None:
    made = classifier(Rote(signal=3.0)).fit(TEXTS, CLASSES)
    made.save(tmp_path)
    with pytest.raises(InvalidParameterError, match="can be tuned"):
        FewShotClassifier.load(tmp_path, made.model, Untunable())  # type: ignore[arg-type]
    (tmp_path / ENCODER_FILE).write_bytes(b"nothing")
    with pytest.raises(InvalidInputError, match="damaged"):
        FewShotClassifier.load(tmp_path, made.model, Rote())  # type: ignore[arg-type]
    (tmp_path / ENCODER_FILE).unlink()
    with pytest.raises(InvalidInputError, match="damaged"):
        FewShotClassifier.load(tmp_path, made.model, Rote())  # type: ignore[arg-type]


class Untunable:
    """Like `Rote`, but that it can't be tuned."""

    name = "rote"

    def embed(self, texts: list[str]) -> np.ndarray:
        return Rote().embed(texts)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"encoder": None}, "needs an encoder to tune"),
        ({"recipe": "logistic"}, "that the recipe 'logistic' doesn't read"),
        ({"encoder_steps": -1}, "must be from 0"),
        ({"encoder_steps": True}, "must be a whole number"),
        ({"encoder": Untunable()}, "can't be tuned: it is a Untunable"),
    ],
)
def test_tuning_that_can_not_be_done_is_refused_by_name(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParameterError, match=said):
        classifier(**{"encoder": Rote()} | parameters).fit(TEXTS, CLASSES)


def test_too_few_examples_to_tune_with_are_told_not_ignored() -> None:
    with pytest.raises(InvalidInputError, match="Tuning an encoder needs 6 examples"):
        classifier(Rote(), recipe="auto").fit(TEXTS[:3] + TEXTS[-3:], CLASSES[:3] + CLASSES[-3:])


def test_a_classifier_of_model_and_tuned_encoder_is_served(tmp_path: Path) -> None:
    made = classifier(Rote(signal=3.0)).fit(TEXTS, CLASSES)
    made.save(tmp_path)
    asked: list[str] = []

    def load(name: str) -> Rote:
        asked.append(name)
        return Rote(signal=3.0)

    served = load_classifier(tmp_path, "feeling", load)
    predictor = served.bind(made.model)  # type: ignore[arg-type]
    assert isinstance(predictor, Predictor)
    assert np.array_equal(predictor.probabilities(TEXTS), made.predict_proba(TEXTS))
    assert asked == ["rote"]


def test_a_classifier_whose_encoder_has_no_name_is_not_served(tmp_path: Path) -> None:
    encoder = Rote(signal=3.0)
    encoder.name = ""
    classifier(encoder, encoder_steps=0).fit(TEXTS, CLASSES).save(tmp_path)
    with pytest.raises(InvalidInputError, match="an encoder without a name"):
        load_classifier(tmp_path, "feeling", lambda name: encoder)


def distilled(encoder: Any, steps: int = 5) -> Any:
    backend = StructuredBackend(score_signal=3.0)
    shown = task().with_examples(examples(2, start=1000))
    texts = [text for label in LABELS for text in inputs(label, range(60))]
    said = np.array([list((each.probabilities or {}).values()) for each in shown.predict(backend, texts)])
    return distil(shown, backend, Labelled(texts, said), DistilSettings(encoder_steps=steps), encoder)


def test_a_distilled_student_has_an_encoder_that_was_tuned_with_what_it_learned(tmp_path: Path) -> None:
    encoder = Rote(signal=3.0)
    found = distilled(encoder)
    assert isinstance(found.student, EncodedPredictor)
    assert [count for count, _ in encoder.tunings] == [sum(found.num_learned.values())]
    save_encoded(tmp_path, found.student, found.choice)
    again = read_encoded(tmp_path).bind(Rote(signal=3.0))
    assert np.array_equal(again.probabilities(QUERIES), found.student.probabilities(QUERIES))
    assert json.loads((tmp_path / "classifier.json").read_text())["encoder"]["is_tuned"] is True


def test_distilling_refuses_to_tune_what_is_not_there_or_can_not_be_tuned() -> None:
    with pytest.raises(InvalidParameterError, match="encoder_steps"):
        distilled(None)
    with pytest.raises(InvalidParameterError, match="can't be tuned"):
        distilled(NamedNgrams())
    with pytest.raises(InvalidParameterError, match="encoder_steps"):
        DistilSettings(encoder_steps=-1)


def test_a_folder_of_before_there_was_tuning_is_read(tmp_path: Path) -> None:
    verdict = Verdict(recipe="distilled logistic", num_right=9, num_tried=10, log_loss=0.1)
    choice = Choice(
        recipe=verdict.recipe, reason="", expected=verdict, verdicts=(), num_prompts=1, num_shown=0, num_passes=1
    )
    save_encoded(tmp_path, distilled(Rote(signal=3.0), steps=0).student, choice)
    content = json.loads((tmp_path / "classifier.json").read_text())
    del content["encoder"]["is_tuned"]
    (tmp_path / "classifier.json").write_text(json.dumps(content))
    assert read_encoded(tmp_path).bind(Rote(signal=3.0)).encoder.name == "rote"
