"""A classifier's folder, whichever reading is in it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handful.backend import Backend
from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.encoded import NamedEncoder
from handful.learn.evidence import Verdict
from handful.learn.folder import load_classifier, save_ready
from handful.learn.named import Provided, Ready, make_ready, ready_as_it_is
from handful.learn.predictor import Predictor, TextPredictor
from handful.learn.reading_names import NAMES, NEED_ENCODER
from handful.task.task import Task
from tests.fakes import FakeBackend
from tests.unit.learn.encoders import NamedNgrams
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task
from tests.unit.learn.tunable_model import TunableModel

# Enough for prompts to be tuned with them.
MANY = task().with_examples(examples(32, start=1000))
TASK = task().with_examples(examples(12, start=1000))
ASKED = [text for label in LABELS for text in inputs(label, range(5))]
EXPECTED = Verdict(recipe="knn", num_right=9, num_tried=10, log_loss=None)


ENCODER = NamedNgrams(dim=1024)


def no_encoder(name: str) -> NamedEncoder:
    raise AssertionError("no encoder is needed")


def by_name(name: str) -> NamedEncoder:
    assert name == ENCODER.name
    return ENCODER


class Counted(NamedNgrams):
    """Counts how many texts it is asked at once."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim=dim)
        self.sizes: list[int] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.sizes.append(len(texts))
        return super().embed(texts)


def made(name: str, backend: Backend, of: Task = TASK) -> Ready:
    return make_ready(name, of, backend, texts=ASKED, provided=Provided(encoder=ENCODER))


def saved(name: str, folder: Path, backend: StructuredBackend, *, abstain_below: float | None = None) -> Path:
    save_ready(folder, made(name, backend, TASK.replace(abstain_below=abstain_below)), backend, EXPECTED)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_back_answers_as_what_was_saved(name: str, tmp_path: Path) -> None:
    backend = TunableModel(tuned_signal=6.0)
    of = MANY if name == "tuned" else TASK
    ready = made(name, backend, of)
    predictor = ready.predictor
    assert isinstance(predictor, Predictor)
    expected = predictor.probabilities(ASKED)
    save_ready(tmp_path, ready, backend, EXPECTED)
    found = load_classifier(tmp_path, "mine", by_name if name in NEED_ENCODER else no_encoder)
    answers = found.answers(backend, ASKED)
    np.testing.assert_allclose([list(one["probabilities"].values()) for one in answers], expected, rtol=1e-9)
    assert all(one["prediction"] == max(one["probabilities"], key=one["probabilities"].get) for one in answers)
    assert (found.task.name, found.classes) == ("mine", LABELS)
    assert found.task.model == (None if name == "encoder" else "fake")
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


@pytest.mark.parametrize("name", ["generate", "nearest", "nearest by encoder"])
def test_free_text_is_answered_from_a_folder_as_it_was(name: str, tmp_path: Path) -> None:
    backend, open_task = FakeBackend(), TASK.replace(labels=())
    ready = ready_as_it_is(open_task, backend) if name == "generate" else made(name, backend, open_task)
    save_ready(tmp_path, ready, backend, EXPECTED)
    found = load_classifier(tmp_path, "mine", by_name)
    assert isinstance(ready.predictor, TextPredictor)
    assert found.answers(backend, ASKED) == [one.to_dict() for one in ready.predictor.predictions(ASKED)]
    assert (found.task.name, found.task.model, found.classes) == ("mine", "fake", ())


def test_the_vectors_of_the_examples_are_made_once_for_all_questions(tmp_path: Path) -> None:
    counted = Counted(dim=1024)
    found = load_classifier(saved("nearest by encoder", tmp_path, StructuredBackend()), "t", lambda _: counted)
    for text in ASKED[:3]:
        found.answers(StructuredBackend(), [text])
    assert counted.sizes == [1, 24, 1, 1]


@pytest.mark.parametrize("name", ["knn", "channel", "batch", "nearest"])
def test_another_model_is_refused(name: str, tmp_path: Path) -> None:
    found = load_classifier(saved(name, tmp_path, StructuredBackend()), "t", no_encoder)
    other = FakeBackend()
    other.info = replace(other.info, name="another")
    with pytest.raises(InvalidParameterError, match="was fitted with"):
        found.answers(other, ASKED)


@pytest.mark.parametrize("change", [{"task": {}}, {"encoder": None}, {"model": {}}, {"task": task().to_dict()}])
def test_a_damaged_folder_of_nearest_examples_is_named(change: dict[str, object], tmp_path: Path) -> None:
    path = saved("nearest", tmp_path, StructuredBackend()) / "classifier.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | change), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="is damaged"):
        load_classifier(tmp_path, "t", no_encoder)


@pytest.mark.parametrize("change", [{"k": 0}, {"task": {}}, {"reading": None, "k": "x"}, {"choice": {}}, {"model": {}}])
def test_a_damaged_folder_is_named(change: dict[str, object], tmp_path: Path) -> None:
    path = saved("knn", tmp_path, StructuredBackend()) / "classifier.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | change), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="is damaged"):
        load_classifier(tmp_path, "t", no_encoder)
