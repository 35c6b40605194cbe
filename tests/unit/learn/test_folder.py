"""A classifier's folder, whichever reading is in it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.encoded import NamedEncoder
from handful.learn.evidence import Verdict
from handful.learn.folder import load_classifier, save_ready
from handful.learn.named import NAMES, make_ready
from tests.fakes import FakeBackend
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task

TASK = task().with_examples(examples(12, start=1000))
ASKED = [text for label in LABELS for text in inputs(label, range(5))]
EXPECTED = Verdict(recipe="knn", num_right=9, num_tried=10, log_loss=None)


def no_encoder(name: str) -> NamedEncoder:
    raise AssertionError("no encoder is needed")


def saved(name: str, folder: Path, backend: StructuredBackend, *, abstain_below: float | None = None) -> Path:
    ready = make_ready(name, TASK.replace(abstain_below=abstain_below), backend, texts=ASKED)
    save_ready(folder, ready, backend, EXPECTED)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_back_answers_as_what_was_saved(name: str, tmp_path: Path) -> None:
    backend = StructuredBackend(bias=1.0)
    expected = make_ready(name, TASK, backend, texts=ASKED).predictor.probabilities(ASKED)
    found = load_classifier(saved(name, tmp_path, backend), "mine", no_encoder)
    answers = found.answers(backend, ASKED)
    np.testing.assert_allclose([list(one["probabilities"].values()) for one in answers], expected, rtol=1e-9)
    assert all(one["prediction"] == max(one["probabilities"], key=one["probabilities"].get) for one in answers)
    assert (found.task.name, found.task.model, found.classes) == ("mine", "fake", LABELS)
    assert found.described()["expected"]["num_right"] == 9


def test_a_threshold_of_the_task_stays(tmp_path: Path) -> None:
    backend = StructuredBackend()
    found = load_classifier(saved("contextual", tmp_path, backend, abstain_below=0.8), "t", no_encoder)
    for one in found.answers(backend, ASKED):
        assert one["abstained"] == (max(one["probabilities"].values()) < 0.8)


def test_equal_folders_have_equal_fingerprints_and_others_another(tmp_path: Path) -> None:
    prints = []
    for place, name in (("a", "knn"), ("b", "knn"), ("c", "channel")):
        folder = saved(name, tmp_path / place, StructuredBackend())
        prints.append(load_classifier(folder, "t", no_encoder).fingerprint)
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("name", ["knn", "channel", "batch"])
def test_another_model_is_refused(name: str, tmp_path: Path) -> None:
    found = load_classifier(saved(name, tmp_path, StructuredBackend()), "t", no_encoder)
    other = FakeBackend()
    other.info = replace(other.info, name="another")
    with pytest.raises(InvalidParameterError, match="was fitted with"):
        found.answers(other, ASKED)


@pytest.mark.parametrize("change", [{"k": 0}, {"task": {}}, {"reading": None, "k": "x"}, {"choice": {}}, {"model": {}}])
def test_a_damaged_folder_is_named(change: dict[str, object], tmp_path: Path) -> None:
    path = saved("knn", tmp_path, StructuredBackend()) / "classifier.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | change), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="is damaged"):
        load_classifier(tmp_path, "t", no_encoder)
