"""Contrastive tuning of a tiny encoder: texts of a class come to be alike, the same for the same seed."""

import numpy as np
import pytest
import torch

from handful.errors import CheckpointError, InvalidInputError, InvalidParameterError, PromptTooLongError
from handful.pipelines.encoder import Encoder
from handful.pipelines.tuning import batches, contrast
from handful.types import EncoderTuning
from tests.unit.pipelines.tiny_nlp import files

TEXTS = ["my name is clara", "is clara my name", "i live in berkeley", "where do i live", "the a", "what is the a"]
CLASSES = np.array([0, 0, 1, 1, 2, 2])
SETTINGS = EncoderTuning(num_steps=12, batch_size=6, learning_rate=3e-3)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(files("sentence-bert"), "cpu")


def contrast_of(encoder: Encoder) -> float:
    return float(contrast(torch.from_numpy(encoder.embed(TEXTS)), torch.from_numpy(CLASSES)))


def test_the_contrast_of_three_texts_by_hand() -> None:
    # cosines: (0, 1) of one class 0.6; (0, 2) 0 and (1, 2) 0.8 of two: ((1 - 0.6)^2 + (0 + 0.8^2) / 2) / 2
    vectors = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]])
    assert float(contrast(vectors, torch.tensor([0, 0, 1]))) == pytest.approx((0.16 + 0.32) / 2)


def test_a_batch_without_a_pair_of_one_class_has_a_contrast_too() -> None:
    vectors = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    assert float(contrast(vectors, torch.tensor([0, 1]))) == pytest.approx(0.36)


def test_tuning_lessens_the_contrast_and_leaves_the_encoder_as_it_was(encoder: Encoder) -> None:
    before, vectors = contrast_of(encoder), encoder.embed(TEXTS)
    tuned = encoder.tuned(TEXTS, CLASSES, SETTINGS)
    assert contrast_of(tuned) < 0.5 * before
    assert np.array_equal(encoder.embed(TEXTS), vectors)
    assert (tuned.name, tuned.revision, tuned.dim, encoder.weights) == (encoder.name, encoder.revision, 32, {})


def test_a_seed_gives_one_result_and_another_seed_another(encoder: Encoder) -> None:
    one, again = (encoder.tuned(TEXTS, CLASSES, SETTINGS).embed(TEXTS) for _ in range(2))
    other = EncoderTuning(num_steps=12, batch_size=4, learning_rate=3e-3, seed=1)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, encoder.tuned(TEXTS, CLASSES, other).embed(TEXTS))


def test_the_weights_that_differ_make_the_tuned_encoder_of_another_copy(encoder: Encoder) -> None:
    tuned = encoder.tuned(TEXTS, CLASSES, SETTINGS)
    assert tuned.weights
    assert not any("embeddings.weight" in name or "pooler" in name for name in tuned.weights)
    restored = Encoder(files("sentence-bert"), "cpu").with_weights(tuned.weights)
    assert np.array_equal(restored.embed(TEXTS), tuned.embed(TEXTS))


def test_a_tuned_encoder_can_be_tuned_further(encoder: Encoder) -> None:
    tuned = encoder.tuned(TEXTS, CLASSES, SETTINGS)
    assert contrast_of(tuned.tuned(TEXTS, CLASSES, SETTINGS)) < contrast_of(tuned)


def test_progress_is_told_at_every_step(encoder: Encoder) -> None:
    told: list[tuple[int, int]] = []
    encoder.tuned(TEXTS, CLASSES, EncoderTuning(num_steps=3), lambda *steps: told.append(steps))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("weights", [{"other": np.zeros(3)}, {"encoder.layer.0.output.dense.bias": np.zeros(3)}])
def test_weights_of_another_model_are_refused(encoder: Encoder, weights: dict[str, np.ndarray]) -> None:
    with pytest.raises(CheckpointError, match="not those of tiny/sentence-bert"):
        encoder.with_weights(weights)


@pytest.mark.parametrize("classes", [[0] * 6, [0, 1, 2, 3, 4, 5], [0, 1]])
def test_examples_that_make_no_pairs_are_refused(encoder: Encoder, classes: list[int]) -> None:
    with pytest.raises(InvalidInputError, match="two classes at least"):
        encoder.tuned(TEXTS, np.array(classes))


def test_a_text_that_is_too_long_is_told(encoder: Encoder) -> None:
    with pytest.raises(PromptTooLongError):
        encoder.tuned(["the " * 50, *TEXTS[1:]], CLASSES)


@pytest.mark.parametrize("wrong", [{"num_steps": 0}, {"batch_size": 2}, {"learning_rate": 0.0}, {"seed": -1}])
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        EncoderTuning(**wrong)  # type: ignore[arg-type]


def test_batches_are_even_over_the_classes_and_over_the_texts() -> None:
    classes = np.repeat([0, 1, 2, 3], [8, 8, 8, 2])
    found = list(batches(classes, EncoderTuning(num_steps=20)))
    for batch in found:
        assert len(set(batch)) == len(batch)
        assert np.bincount(classes[batch]).tolist() == [4, 4, 4, 2]
    assert set(np.bincount(np.concatenate(found))[:24].tolist()) == {10}


def test_of_many_classes_every_batch_takes_two_texts_of_some() -> None:
    classes = np.repeat(np.arange(50), 3)
    for batch in batches(classes, EncoderTuning(num_steps=5)):
        assert sorted(np.bincount(classes[batch], minlength=50).tolist())[-8:] == [2] * 8
        assert len(batch) == 16
