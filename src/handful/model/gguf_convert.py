"""A GGUF file becomes a folder in Hugging Face layout: safetensors, config.json and a tokenizer, once.

Invariant: each tensor of the file is either written under its new name or the file is refused; none is dropped.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from handful.errors import CheckpointError
from handful.model.gguf_architectures import ARCHITECTURES, Architecture, Change, Keys
from handful.model.gguf_file import FIX, GgufFile, GgufTensor
from handful.model.gguf_tokenizer import GgufTokenizer

if TYPE_CHECKING:
    from handful.model.gguf_weights import PlannedTensor

# Written into each converted folder; a change of what is written makes old folders be converted again.
FORMAT = 1

_ROPE_FACTORS = "rope_freqs.weight"
_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"


def convert_gguf(
    path: Path, folder: Path, progress: Callable[[int, int], None] = lambda _written, _total: None
) -> None:
    """Write the model in the GGUF file `path` into the existing, empty `folder`. Not atomic: see `source_cache`.

    Raises NotFoundError without such a file; CheckpointError when it is damaged or of an architecture, a quantisation
    or a tokenizer that isn't read; OSError when the disk is full.
    """
    with GgufFile(path) as file:
        try:
            _convert(file, folder, progress)
        except CheckpointError as problem:
            if problem.message.startswith(path.name):
                raise
            raise CheckpointError(f"{path.name} can't be read: {problem.message}.", fix=problem.fix) from None


def _convert(file: GgufFile, folder: Path, progress: Callable[[int, int], None]) -> None:
    from handful.model.gguf_weights import write_weights  # imports torch, which takes seconds

    name = file.metadata.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise CheckpointError(f"it holds a model of the architecture {name!r}", fix=f"These are read: {known}.")
    architecture = ARCHITECTURES[name]
    config = architecture.config(Keys(file.metadata, name))
    tokenizer = GgufTokenizer(file.metadata)
    _complete_config(config, file, tokenizer)
    planned = _plan(file, architecture, config)
    write_weights(folder / "model.safetensors", file, planned, progress)
    write_text(folder / "tokenizer.json", tokenizer.raw.to_str())
    write_json(folder / "tokenizer_config.json", tokenizer.config())
    write_json(folder / "generation_config.json", _end_tokens(tokenizer))
    write_json(folder / "config.json", config)


def _complete_config(config: dict[str, Any], file: GgufFile, tokenizer: GgufTokenizer) -> None:
    """What the tensors and the tokenizer say rather than the metadata."""
    embedding = file.tensors.get(_EMBEDDING)
    hidden = config.get("hidden_size", config.get("n_embd"))
    if embedding is None or len(embedding.shape) != 2 or embedding.shape[1] != hidden:
        raise CheckpointError(f"its {_EMBEDDING} is missing or not [tokens, {hidden}]", fix=FIX)
    if len(tokenizer.tokens) > embedding.shape[0]:
        raise CheckpointError(f"it has {len(tokenizer.tokens)} tokens but {embedding.shape[0]} embeddings", fix=FIX)
    config["vocab_size"] = embedding.shape[0]
    config["tie_word_embeddings"] = _is_tied(file, embedding)
    config["torch_dtype"] = {"F32": "float32", "F16": "float16"}.get(embedding.kind, "bfloat16")
    config |= {"bos_token_id": tokenizer.bos_token_id, **_end_tokens(tokenizer)}
    if config["model_type"] == "llama":
        config["attention_bias"] = "blk.0.attn_q.bias" in file.tensors
        config["mlp_bias"] = "blk.0.ffn_gate.bias" in file.tensors
    if _ROPE_FACTORS in file.tensors:
        config["rope_scaling"] = _llama3_scaling(file, config)


def _end_tokens(tokenizer: GgufTokenizer) -> dict[str, Any]:
    """`eos_token_id` as configs write it: one id, or a list where several tokens end a text."""
    ids = tokenizer.eos_token_ids
    return {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": ids[0] if len(ids) == 1 else ids or None}


def _is_tied(file: GgufFile, embedding: GgufTensor) -> bool:
    """Whether the head is the embedding: not stored at all, or stored a second time."""
    head = file.tensors.get(_OUTPUT)
    if head is None:
        return True
    same_layout = (head.kind, head.shape) == (embedding.kind, embedding.shape)
    return same_layout and bool(np.array_equal(file.rows(head), file.rows(embedding)))


def _plan(file: GgufFile, architecture: Architecture, config: dict[str, Any]) -> "list[PlannedTensor]":
    """Each tensor of the file with its new name; CheckpointError for one that the architecture doesn't have."""
    from handful.model.gguf_weights import PlannedTensor

    num_layers: int = config["num_hidden_layers"] if "num_hidden_layers" in config else config["n_layer"]
    heads: int = config["num_attention_heads"] if "num_attention_heads" in config else config["n_head"]
    heads_of: dict[Change, int] = {Change.ROTARY_KEY: config.get("num_key_value_heads", heads)}
    planned = []
    for name, tensor in file.tensors.items():
        if name == _ROPE_FACTORS or (name == _OUTPUT and config["tie_word_embeddings"]):
            continue
        stem, _, suffix = name.rpartition(".")
        new_name, change = _renamed(stem, architecture, num_layers)
        if new_name is None or suffix not in ("weight", "bias"):
            raise CheckpointError(f"it has a tensor {name!r} that its architecture doesn't have", fix=FIX)
        planned.append(PlannedTensor(f"{new_name}.{suffix}", tensor, change, heads_of.get(change, heads)))
    return planned


def _renamed(stem: str, architecture: Architecture, num_layers: int) -> tuple[str | None, Change]:
    """`blk.3.attn_q` -> `model.layers.3.self_attn.q_proj` and the change of its layout; None for an unknown name."""
    if stem in architecture.outside:
        return architecture.outside[stem]
    block, _, rest = stem.partition(".")
    layer, _, part = rest.partition(".")
    if block != "blk" or not layer.isascii() or not layer.isdigit() or part not in architecture.inside:
        return None, Change.NONE
    if len(layer) > 6 or int(layer) >= num_layers:
        return None, Change.NONE
    pattern, change = architecture.inside[part]
    return pattern.format(int(layer)), change


def _llama3_scaling(file: GgufFile, config: dict[str, Any]) -> dict[str, Any]:
    """Llama 3's position scaling, recovered from its table of factors.

    The file has the factor of each frequency, a config has the four numbers that they follow from (Llama 3.1's
    `rope_scaling`): `low` 1, `high` 4 and the original context 8192 in each published model; the largest factor is the
    fourth. The table is computed again from them, and a table that differs is refused.
    """
    tensor = file.tensors[_ROPE_FACTORS]
    half = config["head_dim"] // 2
    if tensor.kind != "F32" or tensor.shape != (half,) or config["model_type"] != "llama":
        raise CheckpointError(f"its {_ROPE_FACTORS} is not {half} numbers", fix=FIX)
    stored = np.array(file.rows(tensor)).view(np.float32)[0]
    factor, low, high, original = float(stored.max()), 1.0, 4.0, 8192
    frequencies = config["rope_theta"] ** (-np.arange(half) / half)
    turns = original * frequencies / (2 * np.pi)
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    expected = 1 / ((1 - smooth) / factor + smooth) if factor > 0 else np.zeros(half)
    if not np.allclose(stored, expected, rtol=1e-3):
        raise CheckpointError("it scales positions by a table that isn't Llama 3's", fix="Use its safetensors.")
    numbers = {"low_freq_factor": low, "high_freq_factor": high, "original_max_position_embeddings": original}
    return {"rope_type": "llama3", "factor": round(factor, 4), **numbers}


def write_text(path: Path, text: str) -> None:
    """Write and sync one file."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write and sync one JSON file, readable by people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
