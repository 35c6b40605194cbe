"""What `handful models list` and `info` know."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import _cache_manager

from handful.config import Settings
from handful.errors import CheckpointError
from handful.model.catalog import CatalogEntry, describe, list_models
from handful.model.source import ModelFiles, resolve
from tests.unit.model.fake_hub import commit_of
from tests.unit.model.gguf_factory import write_gguf
from tests.unit.model.tiny_models import checkpoint, reference


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache instead of this user's."""
    monkeypatch.setattr(_cache_manager, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached_in_hub(hub_cache: Path, name: str, folder: Path) -> None:
    """The folders that huggingface_hub makes for a downloaded model."""
    repository = hub_cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / commit_of(folder))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit_of(folder))
    (repository / "blobs").mkdir()


def cached(settings: Settings) -> dict[str, CatalogEntry]:
    return {entry.name: entry for entry in list_models(settings) if entry.is_cached}


def num_parameters(variant: str) -> int:
    model = reference(variant)
    return sum(p.numel() for p in model.parameters())


def test_without_caches_the_default_comes_first_then_suggestions(settings: Settings) -> None:
    entries = list_models(settings)
    assert entries[0].name == "default"
    assert not any(entry.is_cached for entry in entries)
    assert {"EleutherAI/gpt-neo-125m", "EleutherAI/gpt-neo-2.7B", "openai-community/gpt2"} <= {e.name for e in entries}


def test_each_entry_says_what_it_costs(settings: Settings) -> None:
    for entry in list_models(settings):
        assert entry.download_bytes > 0
        assert entry.context_length > 0
        assert entry.memory_float32_bytes == 2 * entry.memory_bfloat16_bytes > 0


def test_a_hub_model_in_the_cache_is_listed_with_its_counts(settings: Settings, hub_cache: Path) -> None:
    cached_in_hub(hub_cache, "openai-community/gpt2", checkpoint("gpt2"))
    entry = cached(settings)["openai-community/gpt2"]
    assert (entry.architecture, entry.num_parameters) == ("gpt2", num_parameters("gpt2"))
    assert entry.revision == commit_of(checkpoint("gpt2"))
    assert entry.download_bytes == (checkpoint("gpt2") / "model.safetensors").stat().st_size
    assert [e.name for e in list_models(settings)].count("openai-community/gpt2") == 1


def test_a_model_that_is_no_language_model_is_not_listed(settings: Settings, hub_cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vision"
    shutil.copytree(checkpoint("gpt2"), folder)
    config = {"model_type": "vit", "architectures": ["ViTForImageClassification"]}
    (folder / "config.json").write_text(json.dumps(config))
    cached_in_hub(hub_cache, "someone/vision", folder)
    assert cached(settings) == {}


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors"])
def test_a_half_downloaded_model_is_not_listed(
    damage: str, settings: Settings, hub_cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "half"
    shutil.copytree(checkpoint("gpt2"), folder)
    (folder / damage).write_bytes(b"")
    cached_in_hub(hub_cache, "someone/half", folder)
    assert cached(settings) == {}


def test_a_converted_gguf_file_is_listed_under_its_path(settings: Settings, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", reference("llama-tied"))
    files = resolve(str(path), settings=settings)
    assert cached(settings)[str(path)].folder == files.folder


def test_a_description_counts_what_the_model_has() -> None:
    described = describe(ModelFiles("tiny", checkpoint("llama-tied"), "a test", "r1"))
    assert (described.architecture, described.engine) == ("llama", "native")
    assert (described.num_layers, described.hidden_size, described.vocab_size) == (3, 48, 320)
    assert described.num_parameters == num_parameters("llama-tied")
    assert described.weight_bytes == described.file_bytes["model.safetensors"]


def test_masks_and_a_second_head_are_not_parameters(tmp_path: Path) -> None:
    tensors = {"transformer.wte.weight": torch.ones(5, 2), "lm_head.weight": torch.ones(5, 2)}
    tensors |= {"transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8), "transformer.h.0.attn.masked_bias": torch.ones(1)}
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    config = {"model_type": "gpt2", "n_embd": 2, "n_layer": 1, "n_head": 1, "n_positions": 8, "vocab_size": 5}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert describe(ModelFiles("tiny", tmp_path, "", "")).num_parameters == 10


def test_an_architecture_of_others_runs_through_transformers(tmp_path: Path) -> None:
    shutil.copytree(checkpoint("gpt2"), tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text('{"model_type": "mamba", "vocab_size": 320}')
    assert describe(ModelFiles("m", tmp_path / "m", "", "")).engine == "transformers"


def test_a_damaged_model_is_not_described(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        describe(ModelFiles("m", tmp_path, "", ""))
