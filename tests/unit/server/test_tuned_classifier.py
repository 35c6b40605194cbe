"""A saved classifier whose prompts were tuned is served like any other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from handful import Client, FewShotClassifier
from handful.errors import InvalidParameterError
from handful.learn.auto_prompts import Prompts
from handful.learn.ensemble import EnsemblePredictor
from handful.learn.representation import classes_of
from handful.learn.tuned_prompts import tune_prompts
from handful.local import LocalModel
from handful.task.task import Example
from handful.types import PrefixTuning
from tests.fakes import FakeBackend
from tests.unit.client.live import live
from tests.unit.local.test_local_model import make
from tests.unit.server.test_classifier import QUERIES, TEXTS, served

WORDS = {1: "positive", 0: "negative"}


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    made = make()
    yield made
    made.close()


@pytest.fixture(scope="module")
def fitted(model: LocalModel) -> FewShotClassifier:
    made = FewShotClassifier(model, label_words=WORDS, recipe="plain").fit(TEXTS, [1, 0] * 8)
    task = made.predictor_.members[0].reader.task
    labels = ["positive", "negative"] * 8
    examples = [Example({"text": text}, label) for text, label in zip(TEXTS, labels, strict=True)]
    prompts = Prompts(task.with_examples(examples), model, {}, (), 0)
    tuned = tune_prompts(prompts, classes_of(labels, task.labels), 4, PrefixTuning(num_epochs=3, learning_rate=0.05))
    made.predictor_ = EnsemblePredictor(tuned.members)  # whatever a random model's evidence says
    return made


def test_it_answers_what_the_classifier_answers(model: LocalModel, fitted: FewShotClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "mood")
    wanted = fitted.predict_proba(QUERIES)
    with live({"tiny": model}, served(tmp_path / "mood")) as url, Client(url) as client:
        answers = client.predict("mood", QUERIES)
    found = np.array([list((answer.probabilities or {}).values()) for answer in answers])
    assert np.abs(found - wanted).max() < 1e-3
    assert wanted.max() > 0.6  # it says something


def test_a_model_without_held_prefixes_is_refused_by_name(fitted: FewShotClassifier) -> None:
    with pytest.raises(InvalidParameterError, match="has no tuned prompts: it is a FakeBackend"):
        fitted.predictor_.on(FakeBackend()).probabilities(QUERIES)
