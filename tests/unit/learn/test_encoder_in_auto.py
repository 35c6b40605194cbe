"""An encoder beside the language model: read when it says more, left alone when it says nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone

from handful.errors import InvalidParameterError
from handful.learn.auto import fit_auto
from handful.learn.auto_settings import AutoSettings
from handful.learn.estimator import FewShotClassifier
from handful.learn.recipe import ENCODER_RECIPES, RECIPES
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, noise, task

QUERIES = inputs("bad", range(500, 530)) + inputs("good", range(500, 530))
CLASSES = np.repeat([0, 1], 30)
ALL = (*RECIPES, *ENCODER_RECIPES)


class StructuredEncoder:
    """`signal` along the direction of the first word's label, and noise; `num_texts` counts what was asked."""

    def __init__(self, signal: float, seed: int = 0, dim: int = 16) -> None:
        self.signal, self.seed, self.dim, self.num_texts = signal, seed, dim, 0
        self.name = "structured"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.num_texts += len(texts)
        return np.array([self._vector(text) for text in texts], dtype=np.float32)

    def _vector(self, text: str) -> NDArray[np.float64]:
        vector = noise("encoder", text, self.seed).normal(size=self.dim)
        if text.split()[0] in LABELS:
            vector[LABELS.index(text.split()[0])] += self.signal
        return vector


def accuracy(encoder: StructuredEncoder | None, backend: StructuredBackend, seed: int, num_each: int = 12) -> float:
    settings = AutoSettings(recipes=ALL, encoder=encoder, seed=seed)
    predictor, _ = fit_auto(task(), backend, examples(num_each, start=1000 * seed), settings)
    return float((predictor.probabilities(QUERIES).argmax(axis=1) == CLASSES).mean())


def test_an_encoder_that_says_everything_is_read_where_the_model_says_nothing() -> None:
    backend = StructuredBackend(score_signal=0.0, state_signal=0.0)
    encoder = StructuredEncoder(signal=8.0)
    predictor, choice = fit_auto(task(), backend, examples(16), AutoSettings(recipes=ALL, encoder=encoder))
    assert "encoder" in choice.recipe
    assert (predictor.probabilities(QUERIES).argmax(axis=1) == CLASSES).mean() > 0.9


def test_over_many_seeds_an_encoder_of_noise_costs_almost_nothing() -> None:
    losses = []
    for seed in range(6):
        backend = StructuredBackend(score_signal=1.5, state_signal=0.5, seed=seed)
        losses.append(accuracy(None, backend, seed) - accuracy(StructuredEncoder(0.0, seed), backend, seed))
    assert np.mean(losses) < 0.02
    assert max(losses) < 0.15


def test_an_encoder_is_asked_once_for_a_text_whatever_the_number_of_prompts() -> None:
    encoder = StructuredEncoder(signal=8.0)
    settings = AutoSettings(recipes=ENCODER_RECIPES[:1], encoder=encoder)
    predictor, choice = fit_auto(task(), StructuredBackend(), examples(8), settings)
    assert (choice.num_prompts, encoder.num_texts) == (2, 16)
    predictor.probabilities(QUERIES)
    assert encoder.num_texts == 16 + len(QUERIES)


def classifier(encoder: StructuredEncoder | None, **parameters: Any) -> FewShotClassifier:
    model = StructuredBackend(score_signal=0.0, state_signal=0.0)
    return FewShotClassifier(model, input="Text: {text}", encoder=encoder, **parameters)


def fitted(encoder: StructuredEncoder | None, **parameters: Any) -> FewShotClassifier:
    texts = inputs("bad", range(10)) + inputs("good", range(10))
    return classifier(encoder, **parameters).fit(texts, ["bad"] * 10 + ["good"] * 10)


@pytest.mark.parametrize("recipe", [recipe.name for recipe in ENCODER_RECIPES])
def test_a_classifier_with_an_encoder_is_saved_and_needs_it_again(tmp_path: Path, recipe: str) -> None:
    encoder = StructuredEncoder(signal=6.0)
    made = fitted(encoder, recipe=recipe)
    made.save(tmp_path)
    loaded = FewShotClassifier.load(tmp_path, made.model, encoder)  # type: ignore[arg-type]
    assert loaded.encoder is encoder
    assert loaded.predict_proba(QUERIES) == pytest.approx(made.predict_proba(QUERIES))
    with pytest.raises(InvalidParameterError, match="encoder` is needed"):
        FewShotClassifier.load(tmp_path, made.model)  # type: ignore[arg-type]


def test_another_encoder_is_refused_by_what_differs(tmp_path: Path) -> None:
    made = fitted(StructuredEncoder(signal=6.0), recipe="encoder")
    made.save(tmp_path)
    with pytest.raises(InvalidParameterError, match="gives 8 numbers a text; it takes 16"):
        FewShotClassifier.load(tmp_path, made.model, StructuredEncoder(6.0, dim=8))  # type: ignore[arg-type]
    other = StructuredEncoder(6.0)
    other.name = "another"
    with pytest.raises(InvalidParameterError, match=r"is 'another'; .* fitted with 'structured'"):
        FewShotClassifier.load(tmp_path, made.model, other)  # type: ignore[arg-type]


def test_copies_share_the_encoder() -> None:
    encoder = StructuredEncoder(signal=1.0)
    assert clone(classifier(encoder)).encoder is encoder


def test_a_recipe_with_an_encoder_needs_one() -> None:
    with pytest.raises(InvalidParameterError, match="encoder` is needed"):
        fitted(None, recipe="encoder")
