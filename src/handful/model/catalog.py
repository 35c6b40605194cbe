"""Which models there are: the embedded ones, those in the caches, and some to try; each with what it costs.

Invariant: listing never downloads, converts or loads a model.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from handful.config import Settings
from handful.errors import HandfulError
from handful.model import default, default_embeddings
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.source import DEFAULT_NAME, ModelFiles
from handful.model.source_cache import read_marker

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len")
_CAUSAL = ("ForCausalLM", "LMHeadModel")
_TIED_BY_DEFAULT = ("gpt2", "gpt_neo", "opt")
_WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One model to choose. Sizes in bytes; `download_bytes` of a cached model is what its weights take on disk."""

    name: str
    is_cached: bool
    architecture: str
    num_parameters: int
    context_length: int
    download_bytes: int
    revision: str = ""
    folder: Path | None = None

    @property
    def memory_float32_bytes(self) -> int:
        """Memory of the weights in float32; keys and values come on top (`HANDFUL_KV_MEMORY_MB`)."""
        return 4 * self.num_parameters

    @property
    def memory_bfloat16_bytes(self) -> int:
        """Memory of the weights in bfloat16."""
        return 2 * self.num_parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What a model's folder says, without loading it. Sizes in bytes; 0 where the configuration doesn't say."""

    name: str
    architecture: str
    engine: Literal["native", "transformers"]
    num_parameters: int
    num_layers: int
    hidden_size: int
    vocab_size: int
    context_length: int
    weight_bytes: int
    source: str
    revision: str
    folder: Path
    file_bytes: dict[str, int]


# name, architecture, parameters, context, download in MB (10**6 bytes): as published, rounded
_SUGGESTED = (
    ("EleutherAI/gpt-neo-125m", "gpt_neo", 125_198_592, 2048, 526),
    ("EleutherAI/gpt-neo-1.3B", "gpt_neo", 1_315_575_808, 2048, 5310),
    ("EleutherAI/gpt-neo-2.7B", "gpt_neo", 2_651_307_520, 2048, 10700),
    ("openai-community/gpt2", "gpt2", 124_439_808, 1024, 548),
    ("facebook/opt-125m", "opt", 125_239_296, 2048, 251),
    ("HuggingFaceTB/SmolLM2-360M", "llama", 361_821_120, 8192, 724),
    ("HuggingFaceTB/SmolLM2-1.7B", "llama", 1_711_376_384, 8192, 3420),
    ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "llama", 1_100_048_384, 2048, 2200),
    ("Qwen/Qwen2.5-0.5B", "qwen2", 494_032_768, 32768, 988),
    ("EleutherAI/gpt-j-6b", "gptj", 6_050_882_784, 2048, 24200),
)


def list_models(settings: Settings) -> list[CatalogEntry]:
    """The embedded models first, then what is in handful's and the Hub's caches, then suggestions that aren't."""
    cached = {entry.name: entry for entry in (*_converted(settings), *_in_hub_cache())}
    suggested = [
        CatalogEntry(
            name=name,
            is_cached=False,
            architecture=architecture,
            num_parameters=num_parameters,
            context_length=context_length,
            download_bytes=megabytes * 10**6,
        )
        for name, architecture, num_parameters, context_length, megabytes in _SUGGESTED
        if name.lower() not in {cached_name.lower() for cached_name in cached}
    ]
    return [
        _default(settings),
        _default_embeddings(settings),
        *sorted(cached.values(), key=lambda entry: entry.name.lower()),
        *suggested,
    ]


def describe(files: ModelFiles) -> ModelDescription:
    """What the folder of a resolved model says about it. Raises CheckpointError, NotFoundError."""
    from handful.model.families import is_native  # imports torch, which takes seconds

    config = read_config(files.folder)
    sizes = {path.name: path.stat().st_size for path in sorted(files.folder.iterdir()) if path.is_file()}
    return ModelDescription(
        name=files.name,
        architecture=_architecture(config),
        engine="native" if is_native(config) else "transformers",
        num_parameters=_num_parameters(files.folder, config),
        num_layers=_number(config, ("num_hidden_layers", "num_layers", "n_layer")),
        hidden_size=_number(config, ("hidden_size", "n_embd")),
        vocab_size=_number(config, ("vocab_size",)),
        context_length=_number(config, _CONTEXT_KEYS),
        weight_bytes=sum(size for name, size in sizes.items() if name.endswith(_WEIGHTS)),
        source=files.source,
        revision=files.revision,
        folder=files.folder,
        file_bytes=sizes,
    )


def _default(settings: Settings) -> CatalogEntry:
    ready = default.is_default_ready(settings)
    folder = default.default_folder(settings)
    return CatalogEntry(
        name=DEFAULT_NAME,
        is_cached=ready,
        architecture="llama",
        num_parameters=134_515_008,
        context_length=8192,
        download_bytes=default.DEFAULT.wheel_bytes,
        revision=f"sha256:{default.DEFAULT.gguf_sha256}" if ready else "",
        folder=folder if ready else None,
    )


def _default_embeddings(settings: Settings) -> CatalogEntry:
    encoder = default_embeddings.DEFAULT_EMBEDDINGS
    ready = default_embeddings.is_default_embeddings_ready(settings)
    folder = default_embeddings.default_embeddings_folder(settings)
    return CatalogEntry(
        name=encoder.name,
        is_cached=ready,
        architecture="bert",
        num_parameters=encoder.num_parameters,
        context_length=encoder.max_tokens,
        download_bytes=encoder.wheel_bytes,
        revision=encoder.revision if ready else "",
        folder=folder if ready else None,
    )


def _converted(settings: Settings) -> Iterator[CatalogEntry]:
    """GGUF files that were converted, under the path that they were converted from."""
    parent = settings.cache_folder / "models"
    for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
        made_from = read_marker(folder).get("made_from")
        if not isinstance(made_from, dict) or folder == default.default_folder(settings):
            continue
        source = str(made_from.get("source", ""))
        if Path(source).is_file() and (entry := _entry(source, folder, str(made_from.get("revision", "")))):
            yield entry


def _in_hub_cache() -> Iterator[CatalogEntry]:
    """Causal language models whose weights are in the Hub's cache; the newest snapshot of each."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except (CacheNotFound, ValueError):  # nothing was ever downloaded
        return
    for repository in repositories:
        if repository.repo_type != "model" or not repository.revisions:
            continue
        newest = max(repository.revisions, key=lambda revision: (bool(revision.refs), revision.last_modified))
        if entry := _entry(repository.repo_id, Path(newest.snapshot_path), newest.commit_hash):
            yield entry


def _entry(name: str, folder: Path, revision: str) -> CatalogEntry | None:
    """The entry of a folder, or None when it isn't a whole causal language model."""
    try:
        config = read_config(folder)
        if not _is_causal(config):
            return None
        num_parameters = _num_parameters(folder, config)
    except HandfulError:  # a listing shows what can be used; `info` says what is wrong with a model
        return None
    return CatalogEntry(
        name=name,
        is_cached=True,
        architecture=_architecture(config),
        num_parameters=num_parameters,
        context_length=_number(config, _CONTEXT_KEYS),
        download_bytes=sum(path.stat().st_size for path in folder.iterdir() if path.suffix in _WEIGHTS),
        revision=revision,
        folder=folder,
    )


def _is_causal(config: dict[str, Any]) -> bool:
    names = config.get("architectures")
    if isinstance(names, list) and names:
        return any(isinstance(name, str) and name.endswith(_CAUSAL) for name in names)
    from handful.model.families import NATIVE_FAMILIES

    return config.get("model_type") in NATIVE_FAMILIES


def _architecture(config: dict[str, Any]) -> str:
    model_type = config.get("model_type")
    return model_type if isinstance(model_type, str) else "unknown"


def _number(config: dict[str, Any], keys: tuple[str, ...]) -> int:
    """The first of the keys that holds a number; families name the same thing differently."""
    values = (config.get(key) for key in keys)
    return next((value for value in values if isinstance(value, int) and not isinstance(value, bool)), 0)


def _num_parameters(folder: Path, config: dict[str, Any]) -> int:
    """Numbers in the checkpoint, without a tied head stored twice and without masks that old files keep."""
    tied = config.get("tie_word_embeddings", _architecture(config) in _TIED_BY_DEFAULT) is True
    with Checkpoint(folder) as checkpoint:
        total = 0
        for name in checkpoint.names:
            shape = checkpoint.shape(name)
            is_mask = len(shape) == 4 and shape[:2] == (1, 1)
            if is_mask or name.endswith(("masked_bias", "inv_freq")) or (tied and name == "lm_head.weight"):
                continue
            total += math.prod(shape)
    return total
