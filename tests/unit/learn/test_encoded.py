"""A classifier on an encoder's vectors: learned, saved, read back and refused like any other."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handful.errors import InvalidInputError, InvalidParameterError, NotFoundError
from handful.learn.choice import Choice
from handful.learn.distil import Labelled, distil
from handful.learn.encoded import EncodedPredictor, encoded, read_encoded, save_encoded
from handful.learn.evidence import Verdict
from handful.learn.logistic import Logistic
from handful.server.classifier import load_classifier
from tests.unit.learn.encoders import NamedNgrams
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task
from tests.unit.server.serving import FakeModel

TEXTS = [text for label in LABELS for text in inputs(label, range(30))]
CHOICE = Choice(
    recipe="distilled logistic",
    reason="",
    expected=Verdict(recipe="distilled logistic", num_right=9, num_tried=10, log_loss=0.1),
    verdicts=(),
    num_prompts=1,
    num_shown=0,
    num_passes=1,
)


def predictor() -> EncodedPredictor:
    encoder = NamedNgrams()
    head = Logistic().fit(encoded(task(), encoder, TEXTS), np.array([0] * 30 + [1] * 30), 2)
    return EncodedPredictor(task(), encoder, head)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_encoded(tmp_path / "saved", predictor(), CHOICE)
    return tmp_path / "saved"


def test_it_predicts_and_its_rows_sum_to_one() -> None:
    made = predictor()
    asked = [text for label in LABELS for text in inputs(label, range(50, 60))]
    assert made.predict(asked) == [text.partition(" ")[0] for text in asked]
    assert np.allclose(made.probabilities(asked).sum(axis=1), 1.0)
    assert made.probabilities([]).shape == (0, 2)
    assert np.array_equal(made.probabilities([{"text": asked[0]}]), made.probabilities(asked[:1]))


def test_it_is_read_back_as_it_was(folder: Path) -> None:
    read = read_encoded(folder)
    assert read.encoder_name == "ngrams"
    assert np.array_equal(read.bind(NamedNgrams()).probabilities(TEXTS), predictor().probabilities(TEXTS))


@pytest.mark.parametrize("encoder", [NamedNgrams("other"), NamedNgrams(dim=32)])
def test_another_encoder_is_refused(folder: Path, encoder: NamedNgrams) -> None:
    with pytest.raises(InvalidParameterError, match="fitted with"):
        read_encoded(folder).bind(encoder)


@pytest.mark.parametrize(
    "damage", [{"encoder": None}, {"task": 3}, {"choice": {}}, {"format": "x"}, {"encoder": {"name": "a", "dim": 9}}]
)
def test_a_damaged_folder_is_told(folder: Path, damage: dict[str, Any]) -> None:
    content = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps(content | damage))
    with pytest.raises(InvalidInputError):
        read_encoded(folder)


def test_arrays_that_do_not_fit_are_told(folder: Path) -> None:
    content = json.loads((folder / "classifier.json").read_text())
    content["encoder"]["dim"] = 63
    (folder / "classifier.json").write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match="don't fit"):
        read_encoded(folder)


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_encoded(tmp_path)


def test_distilling_on_an_encoder_asks_the_model_nothing_but_what_calibrates_it() -> None:
    backend = StructuredBackend(score_signal=3.0)
    shown = task().with_examples(examples(2, start=1000))
    texts = [text for pair in zip(*(inputs(label, range(100)) for label in LABELS), strict=True) for text in pair]
    made = shown.predict(backend, texts)
    backend.calls.clear()
    said = np.array([list((each.probabilities or {}).values()) for each in made])
    distilled = distil(shown, backend, Labelled(texts, said), encoder=NamedNgrams())
    assert not backend.calls
    assert isinstance(distilled.student, EncodedPredictor)
    assert (distilled.choice.num_shown, distilled.student.task.examples) == (0, ())
    assert distilled.agreement.accuracy > 0.7


def test_it_is_served_without_asking_the_model(folder: Path) -> None:
    asked: list[str] = []

    def load(name: str) -> NamedNgrams:
        asked.append(name)
        return NamedNgrams()

    served = load_classifier(folder, "feeling", load)
    model = FakeModel(error=AssertionError("the model was asked"))
    answers = asyncio.run(served.predict(model.asynchronous(), ["good 70", "bad 71"]))
    assert [answer["prediction"] for answer in answers] == ["good", "bad"]
    assert (asked, served.task.name, served.classes) == (["ngrams"], "feeling", LABELS)
    assert served.described()["expected"]["num_right"] == 9
