"""Vectors of texts: a token's, a sentence's, and of real sentences."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

from handful.config import settings
from handful.errors import CheckpointError, InvalidInputError, InvalidParameterError, PromptTooLongError, UserError
from handful.model.source import ModelFiles, resolve
from handful.nlp_types import FeatureOptions
from handful.pipelines.contract import NlpModel
from handful.pipelines.encoder import Encoder
from handful.pipelines.load import load_nlp_model
from handful.pipelines.sentences import pooled
from tests.unit.pipelines.tiny_nlp import checkpoint, files

TEXTS = ["my name is clara", "i", "where do i live and what is the name"]


@pytest.fixture(scope="module")
def plain() -> NlpModel:
    return load_nlp_model(files("bert"), "cpu")


@pytest.fixture(scope="module")
def sentences() -> NlpModel:
    return load_nlp_model(files("sentence-bert"), "cpu")


def states(name: str, text: str) -> torch.Tensor:
    """`[tokens, dim]` as Transformers computes it."""
    network = AutoModel.from_pretrained(checkpoint(name)).eval()
    with torch.inference_mode():
        inputs = AutoTokenizer.from_pretrained(checkpoint(name))(text, return_tensors="pt")
        found: torch.Tensor = network(**inputs).last_hidden_state[0]
    return found


@pytest.mark.parametrize("name", ["bert", "bart-base"])
def test_a_plain_model_gives_each_token_its_vector(name: str) -> None:
    found = load_nlp_model(files(name), "cpu").feature_extraction(TEXTS, FeatureOptions())
    for text, vectors in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vectors, states(name, text).numpy(), atol=2e-4)


def test_the_encoder_of_a_pair_with_a_demanding_decoder_is_its_representation() -> None:
    (vectors,) = load_nlp_model(files("t5"), "cpu", task="feature-extraction").feature_extraction(
        TEXTS[:1], FeatureOptions()
    )
    assert vectors.shape == (5, 32)


def test_a_sentence_is_the_mean_of_its_tokens_at_length_1(sentences: NlpModel) -> None:
    found = sentences.feature_extraction(TEXTS, FeatureOptions())
    for text, vector in zip(TEXTS, found, strict=True):
        mean = states("sentence-bert", text).mean(dim=0).numpy()
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-4)


def test_lengths_are_left_where_that_is_asked_for(sentences: NlpModel, plain: NlpModel) -> None:
    (vector,) = sentences.feature_extraction(TEXTS[:1], FeatureOptions(normalize=False))
    np.testing.assert_allclose(vector, states("sentence-bert", TEXTS[0]).mean(dim=0).numpy(), atol=1e-4)
    (tokens,) = plain.feature_extraction(TEXTS[:1], FeatureOptions(normalize=True))
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1.0, atol=1e-5)


def test_similarity_is_the_cosine(sentences: NlpModel) -> None:
    source, *others = (states("sentence-bert", text).mean(dim=0) for text in TEXTS)
    expected = [float(torch.cosine_similarity(source, other, dim=0)) for other in others]
    assert sentences.sentence_similarity(TEXTS[0], TEXTS[1:]) == pytest.approx(expected, abs=1e-5)


def test_similarity_needs_a_model_of_sentences(plain: NlpModel) -> None:
    with pytest.raises(UserError, match="is a model for feature-extraction; it can't do sentence-similarity"):
        plain.sentence_similarity("a", ["b"])
    with pytest.raises(UserError, match="can't do sentence-similarity"):
        load_nlp_model(files("bert"), "cpu", task="sentence-similarity")
    with pytest.raises(CheckpointError, match="none for a text"):
        Encoder(files("bert"), "cpu")


def test_a_prompt_stands_in_front(sentences: NlpModel, plain: NlpModel) -> None:
    (with_prompt,) = sentences.feature_extraction(["my name"], FeatureOptions(prompt_name="query"))
    (by_hand,) = sentences.feature_extraction(["what is my name"], FeatureOptions())
    np.testing.assert_allclose(with_prompt, by_hand, atol=1e-6)
    for model in (sentences, plain):
        with pytest.raises(InvalidParameterError, match="prompt_name"):
            model.feature_extraction(TEXTS, FeatureOptions(prompt_name="passage"))


def test_a_long_text_is_an_error_with_the_limit_of_the_models_own_files(sentences: NlpModel) -> None:
    with pytest.raises(PromptTooLongError, match=r"52 tokens.*at most 40.*truncate"):
        sentences.feature_extraction(["the " * 50], FeatureOptions())


@pytest.mark.parametrize(("direction", "kept"), [("right", "name " * 38), ("left", "the " * 38)])
def test_a_long_text_is_cut_at_the_end_that_is_asked_for(sentences: NlpModel, direction: str, kept: str) -> None:
    options = FeatureOptions(truncate=True, truncation_direction=direction)  # type: ignore[arg-type]
    (cut,) = sentences.feature_extraction(["name " * 50 + "the " * 50], options)
    (whole,) = sentences.feature_extraction([kept], FeatureOptions())
    np.testing.assert_allclose(cut, whole, atol=1e-6)


@pytest.mark.parametrize("source", ["", "a"])
def test_empty_sentences_are_refused(sentences: NlpModel, source: str) -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        sentences.sentence_similarity(source, ["" if source else "a"])
    with pytest.raises(InvalidInputError, match="empty"):
        sentences.sentence_similarity("a", [])


@pytest.mark.parametrize(
    "pooling", ["cls_token", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
)
@pytest.mark.parametrize("on_left", [False, True])
def test_every_pooling_reads_only_a_texts_own_tokens(pooling: str, on_left: bool) -> None:
    own = torch.randn(3, 4)
    expected = {
        "cls_token": own[0],
        "max_tokens": own.max(dim=0).values,
        "mean_sqrt_len_tokens": own.sum(dim=0) / 3**0.5,
        "weightedmean_tokens": (own * torch.tensor([[1.0], [2.0], [3.0]])).sum(dim=0) / 6,
        "lasttoken": own[2],
    }
    padding = torch.full((2, 4), 100.0)
    rows = torch.cat([padding, own] if on_left else [own, padding])
    mask = torch.tensor([0, 0, 1, 1, 1] if on_left else [1, 1, 1, 0, 0])
    torch.testing.assert_close(pooled(rows[None], mask[None], [pooling])[0], expected[pooling])


def changed(tmp_path: Path, name: str, content: object) -> ModelFiles:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("sentence-bert"), folder)
    (folder / name).write_text(json.dumps(content))
    return ModelFiles("changed", folder, "", "")


def test_two_poolings_stand_side_by_side(tmp_path: Path) -> None:
    config = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    model = load_nlp_model(changed(tmp_path, "1_Pooling/config.json", config), "cpu")
    (vector,) = model.feature_extraction(TEXTS[:1], FeatureOptions(normalize=False))
    both = torch.cat([states("sentence-bert", TEXTS[0])[0], states("sentence-bert", TEXTS[0]).mean(dim=0)])
    np.testing.assert_allclose(vector, both.numpy(), atol=1e-4)


def test_a_dense_layer_is_applied(tmp_path: Path) -> None:
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    found = changed(tmp_path, "modules.json", modules)
    weight, bias = torch.randn(8, 32), torch.randn(8)
    (found.folder / "2_Dense").mkdir()
    save_file({"linear.weight": weight, "linear.bias": bias}, found.folder / "2_Dense" / "model.safetensors")
    config = {"in_features": 32, "out_features": 8, "activation_function": "torch.nn.modules.activation.Tanh"}
    (found.folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    (vector,) = load_nlp_model(found, "cpu").feature_extraction(TEXTS[:1], FeatureOptions())
    expected = torch.tanh(weight @ states("sentence-bert", TEXTS[0]).mean(dim=0) + bias)
    np.testing.assert_allclose(vector, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", [{"path": "", "type": "os.system"}]),
        ("modules.json", [{"path": "../..", "type": "sentence_transformers.models.Transformer"}]),
        ("modules.json", [{"path": "", "type": "sentence_transformers.models.Transformer"}]),
        (
            "modules.json",
            [
                {"path": "", "type": "sentence_transformers.models.Transformer"},
                {"path": "../1_Pooling", "type": "sentence_transformers.models.Pooling"},
            ],
        ),
        (
            "modules.json",
            [
                {"path": "", "type": "sentence_transformers.models.Transformer"},
                {"path": "1_Pooling", "type": "sentence_transformers.models.Own"},
            ],
        ),
        ("1_Pooling/config.json", {"pooling_mode_own": True}),
        ("1_Pooling/config.json", {}),
    ],
)
def test_what_the_files_name_and_handful_does_not_know_is_refused(tmp_path: Path, name: str, content: object) -> None:
    with pytest.raises(CheckpointError):
        load_nlp_model(changed(tmp_path, name, content), "cpu")


def test_an_encoder_gives_a_matrix_in_the_order_of_the_texts(sentences: NlpModel) -> None:
    texts = [text * repeats for repeats in (3, 1, 2) for text in ("my name ", "i live ", "the ")]
    encoder = Encoder(files("sentence-bert"), "cpu")
    vectors = encoder.embed(texts)
    assert vectors.shape == (9, 32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, np.stack(sentences.feature_extraction(texts, FeatureOptions())), atol=1e-6)
    assert encoder.embed([]).shape == (0, 32)
    with pytest.raises(PromptTooLongError, match="at most 40"):
        encoder.embed(["the " * 50])
    assert encoder.embed(["the " * 50], truncate=True).shape == (1, 32)


def test_happy_people_are_alike_for_the_embedded_model() -> None:
    """Known answers of all-MiniLM-L6-v2. Downloads it (84 MB) on the first run."""
    model = load_nlp_model(resolve("default-embeddings", settings=settings()), "cpu")
    others = ["That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    expected = [0.6945773363113403, 0.9429150819778442, 0.2568760812282562]
    assert model.sentence_similarity("That is a happy person", others) == pytest.approx(expected, abs=2e-4)
    assert (model.task, model.revision[:13]) == ("sentence-similarity", "sha256:53aa51")
    assert model.bytes_in_memory == pytest.approx(4 * model.num_parameters, rel=0.01)
