"""From a folder to a model that runs, and what it says of itself."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from handful.errors import CheckpointError, InvalidParameterError
from handful.model import load, precision, quantising, quantising_attention
from handful.model.checkpoint import Checkpoint
from handful.model.families import NotNativeError
from handful.model.load import load_model
from handful.model.ops.native.attention import AttentionKernel
from handful.model.precision import dtype_name, has_int8_products, resolve_precision
from handful.model.source import ModelFiles
from tests.unit.model.naive_attention import naive_logits
from tests.unit.model.tiny_models import FAMILIES, checkpoint, random_tokens, reference, reference_logits


def files_of(folder: Path) -> ModelFiles:
    return ModelFiles(name="tiny", folder=folder, source="a test", revision="r1")


def changed_copy(folder: Path, to: Path, **values: object) -> Path:
    shutil.copytree(folder, to)
    config = json.loads((folder / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | values))
    return to


def test_a_loaded_model_answers_as_transformers_does() -> None:
    loaded = load_model(files_of(checkpoint("gpt_neo")), "float32", "cpu")
    tokens = random_tokens(50)
    assert torch.allclose(naive_logits(loaded.decoder, tokens), reference_logits("gpt_neo", tokens), atol=1e-4)


def test_the_info_says_what_the_model_is() -> None:
    loaded = load_model(files_of(checkpoint("llama")), "bfloat16", "cpu")
    info = loaded.info
    assert (info.name, info.architecture, info.engine) == ("tiny", "llama", "native")
    assert (info.precision, info.device) == ("bfloat16", "cpu")
    assert (info.source, info.revision) == ("a test", "r1")
    assert info.num_parameters == sum(parameter.numel() for parameter in reference("llama").parameters())
    assert info.weight_bytes == 2 * info.num_parameters
    assert (info.context_length, info.vocab_size, info.hidden_size, info.num_layers) == (640, 320, 48, 3)


def test_weights_that_are_more_than_there_is_memory_are_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = files_of(checkpoint("llama"))
    num_bytes = load_model(files, "float32", "cpu").info.weight_bytes
    for there, is_told in ((num_bytes - 1, True), (num_bytes, False), (None, False)):
        caplog.clear()
        monkeypatch.setattr(load, "usable_memory", lambda there=there: there)
        load_model(files, "float32", "cpu")
        assert ("this process may take" in caplog.text) is is_told


def test_the_tokenizer_comes_with_it() -> None:
    loaded = load_model(files_of(checkpoint("llama")), "float32", "cpu")
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("the review")) == "the review"
    assert set(loaded.tokenizer.eos_token_ids) == {0}


def test_a_configuration_of_another_model_is_refused_with_both_shapes(tmp_path: Path) -> None:
    folder = changed_copy(checkpoint("llama"), tmp_path / "other", hidden_size=54)
    with pytest.raises(CheckpointError, match=r"embed_tokens\.weight has shape \[320, 48\]; expected \[320, 54\]"):
        load_model(files_of(folder), "float32", "cpu")


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = changed_copy(checkpoint("llama"), tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(files_of(folder), "float32", "cpu")


def test_a_family_that_is_not_native_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = changed_copy(checkpoint("llama"), tmp_path / "other", model_type="bloom")
    with pytest.raises(NotNativeError, match="bloom"):
        load_model(files_of(folder), "float32", "cpu")


def test_a_loaded_model_outlives_its_files(tmp_path: Path) -> None:
    folder = changed_copy(checkpoint("gpt2"), tmp_path / "gone")
    loaded = load_model(files_of(folder), "float32", "cpu")
    tokens = random_tokens(20)
    before = naive_logits(loaded.decoder, tokens)
    shutil.rmtree(folder)
    assert torch.equal(naive_logits(loaded.decoder, tokens), before)


CPU = torch.device("cpu")
needs_bytes = pytest.mark.skipif(not has_int8_products(CPU), reason="no exact products of bytes here")


@needs_bytes
@pytest.mark.parametrize("variant", FAMILIES)
def test_int8_stays_near_float32(variant: str) -> None:
    loaded = load_model(files_of(checkpoint(variant)), "int8", "cpu")
    tokens = random_tokens(100)
    found, wanted = naive_logits(loaded.decoder, tokens), reference_logits(variant, tokens)
    assert torch.corrcoef(torch.stack((found.flatten(), wanted.flatten())))[0, 1].item() > 0.98
    assert not torch.allclose(found, wanted, atol=1e-3)


@needs_bytes
def test_an_int8_model_says_so_and_what_is_in_int8_and_is_smaller() -> None:
    beside = resolve_precision("auto", torch.device("cpu"))
    whole = load_model(files_of(checkpoint("llama")), "bfloat16" if beside == torch.bfloat16 else "float32", "cpu").info
    info = load_model(files_of(checkpoint("llama")), "int8", "cpu").info
    assert info.precision == "int8"
    assert info.details["int8"].startswith("qkv ")
    assert "head 1" in info.details["int8"]
    assert info.weight_bytes < whole.weight_bytes
    assert "int8" not in whole.details


@needs_bytes
def test_the_divergence_of_int8_is_measured_while_it_is_loaded() -> None:
    whole = load_model(files_of(checkpoint("llama")), "bfloat16", "cpu").decoder
    quick = load_model(files_of(checkpoint("llama")), "int8", "cpu").decoder
    assert whole.divergence == 0.0
    tokens = random_tokens(300)
    wanted, found = (naive_logits(decoder, tokens).log_softmax(-1) for decoder in (whole, quick))
    elsewhere = (wanted.exp() * (wanted - found)).sum(-1).mean().item()
    assert elsewhere / 3 < quick.divergence < elsewhere * 3


@needs_bytes
def test_a_linear_that_errs_too_much_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantising, "MAX_ERROR", 0.0)
    with pytest.raises(InvalidParameterError, match="exact enough"):
        load_model(files_of(checkpoint("llama")), "int8", "cpu")


@needs_bytes
def test_a_head_that_errs_too_much_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = quantising.relative_error
    vocabulary = load_model(files_of(checkpoint("llama")), "float32", "cpu").spec.vocab_size

    def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
        return 1.0 if found.shape[1] == vocabulary else measured(found, wanted)

    monkeypatch.setattr(quantising, "relative_error", error)
    info = load_model(files_of(checkpoint("llama")), "int8", "cpu").info
    assert "head 0" in info.details["int8"]


@needs_bytes
def test_attention_is_in_bytes_in_layers_where_it_errs_little_and_a_kernel_can(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = AttentionKernel.find(resolve_precision("auto", torch.device("cpu")), 12)
    layers = load_model(files_of(checkpoint("llama")), "int8", "cpu").spec.num_layers
    able = layers if kernel is not None and kernel.has_bytes else 0
    assert load_model(files_of(checkpoint("llama")), "int8", "cpu").info.details["int8"].endswith(f"attention {able}")
    monkeypatch.setattr(quantising_attention, "MAX_ERROR", 0.0)
    assert load_model(files_of(checkpoint("llama")), "int8", "cpu").info.details["int8"].endswith("attention 0")


@needs_bytes
def test_auto_drops_int8_where_it_changes_the_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "LEAST_INT8_WIDTH", 1)
    assert load_model(files_of(checkpoint("llama")), "auto", "cpu").info.precision == "int8"
    monkeypatch.setattr(load, "MAX_DIVERGENCE", 0.0)
    whole = dtype_name(resolve_precision("auto", torch.device("cpu")))
    assert load_model(files_of(checkpoint("llama")), "auto", "cpu").info.precision == whole
    assert load_model(files_of(checkpoint("llama")), "int8", "cpu").info.precision == "int8"


@needs_bytes
def test_a_model_whose_int8_is_dropped_is_read_once_and_is_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "LEAST_INT8_WIDTH", 1)
    monkeypatch.setattr(load, "MAX_DIVERGENCE", 0.0)
    read: list[str] = []
    tensor = Checkpoint.tensor

    def noted(self: Checkpoint, name: str) -> torch.Tensor:
        read.append(name)
        return tensor(self, name)

    monkeypatch.setattr(Checkpoint, "tensor", noted)
    dropped = load_model(files_of(checkpoint("gpt_neo")), "auto", "cpu")
    layers = [name for name in read if ".h." in name]
    assert len(layers) == len(set(layers)) > 0
    assert dropped.decoder.divergence > 0.0
    whole = load_model(files_of(checkpoint("gpt_neo")), dtype_name(resolve_precision("auto", CPU)), "cpu")  # type: ignore[arg-type]
    tokens = random_tokens(50)
    assert torch.equal(naive_logits(dropped.decoder, tokens), naive_logits(whole.decoder, tokens))
    assert dropped.info == whole.info


@needs_bytes
def test_loading_int8_twice_gives_the_same_model() -> None:
    first, second = (load_model(files_of(checkpoint("gpt_neo")), "int8", "cpu") for _ in range(2))
    tokens = random_tokens(50)
    assert torch.equal(naive_logits(first.decoder, tokens), naive_logits(second.decoder, tokens))
