"""An encoder by its name, and that it is never taken for a language model."""

from pathlib import Path

import numpy as np
import pytest

import handful
from handful.errors import NotFoundError, UserError
from handful.local.encoder import load_encoder
from tests.unit.pipelines.tiny_nlp import checkpoint


def test_the_embedded_encoder_puts_like_texts_together() -> None:
    """Downloads it (84 MB) on the first run."""
    vectors = load_encoder(device="cpu").embed(["a joy to watch", "it was wonderful to see", "the tax return is due"])
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_a_folder_is_an_encoder_too() -> None:
    encoder = load_encoder(str(checkpoint("sentence-bert")), device="cpu")
    assert (encoder.dim, encoder.max_tokens) == (32, 40)


def test_a_model_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_encoder(str(tmp_path / "none"))


@pytest.mark.parametrize("name", ["sentence-bert", "bert-mask", "t5"])
def test_an_encoder_or_a_pair_is_not_loaded_as_a_language_model(name: str) -> None:
    with pytest.raises(UserError, match=r"is a model for .*; it can't do text-generation"):
        handful.load(str(checkpoint(name)))
