import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from handful.errors import InvalidInputError, InvalidParameterError, NotFoundError
from handful.learn.estimator import FewShotClassifier
from tests.unit.learn.structured import StructuredBackend, inputs

X = inputs("bad", range(7)) + inputs("good", range(7))
QUERIES = inputs("bad", range(50, 55)) + inputs("good", range(50, 55))
WORDS = {0: "bad", 1: "good"}


def fitted(recipe: str = "logistic + calibrated", **parameters: Any) -> FewShotClassifier:
    model = StructuredBackend()
    made = FewShotClassifier(model, input="Text: {text}", label_words=WORDS, recipe=recipe, **parameters)
    return made.fit(X, [0] * 7 + [1] * 7)


@pytest.mark.parametrize("recipe", ["auto", "calibrated", "centroid", "logistic + calibrated"])
def test_what_was_saved_answers_as_before(recipe: str, tmp_path: Path) -> None:
    made = fitted(recipe)
    made.save(tmp_path / "c")
    read = FewShotClassifier.load(tmp_path / "c", StructuredBackend())
    assert read.predict_proba(QUERIES) == pytest.approx(made.predict_proba(QUERIES))
    assert read.classes_.tolist() == [0, 1]
    assert read.classes_.dtype == made.classes_.dtype
    assert read.choice_ == made.choice_
    own = {name: value for name, value in made.get_params().items() if name != "model"}
    assert {name: value for name, value in read.get_params().items() if name != "model"} == own


def test_a_folder_holds_json_and_safetensors_and_nothing_else(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays.safetensors", "classifier.json"]
    assert json.loads((tmp_path / "classifier.json").read_text())["model"]["name"] == "fake"


def test_text_classes_with_any_characters_survive(tmp_path: Path) -> None:
    model = StructuredBackend()
    made = FewShotClassifier(model, input="Text: {text}", recipe="calibrated").fit(X, ["schön"] * 7 + ["数学"] * 7)
    made.save(tmp_path)
    assert FewShotClassifier.load(tmp_path, model).predict(QUERIES).tolist() == made.predict(QUERIES).tolist()


def test_an_unfitted_one_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        FewShotClassifier(StructuredBackend()).save(tmp_path)


def test_a_folder_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"classifier\.json"):
        FewShotClassifier.load(tmp_path, StructuredBackend())


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other"}', '{"format": "handful-classifier-1"}'])
def test_a_damaged_file_is_said_to_be_damaged(text: str, tmp_path: Path) -> None:
    fitted().save(tmp_path)
    (tmp_path / "classifier.json").write_text(text)
    with pytest.raises(InvalidInputError, match=r"damaged|no classifier"):
        FewShotClassifier.load(tmp_path, StructuredBackend())


def test_damaged_arrays_are_said_to_be_damaged(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    (tmp_path / "arrays.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InvalidInputError, match="damaged"):
        FewShotClassifier.load(tmp_path, StructuredBackend())


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    content = json.loads((tmp_path / "classifier.json").read_text())
    content["model"]["name"] = "another"
    (tmp_path / "classifier.json").write_text(json.dumps(content))
    with pytest.raises(InvalidParameterError, match="another"):
        FewShotClassifier.load(tmp_path, StructuredBackend())


def test_saving_again_replaces_what_was_there(tmp_path: Path) -> None:
    fitted("calibrated").save(tmp_path)
    second = fitted("centroid")
    second.save(tmp_path)
    read = FewShotClassifier.load(tmp_path, StructuredBackend())
    assert np.allclose(read.predict_proba(QUERIES), second.predict_proba(QUERIES))
