"""What becomes of a GGUF file: its config, its tokenizer, each tensor's name and layout. Nothing is written here.

Invariant: each tensor of the file is either planned under its new name or the file is refused; none is dropped.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from handful.errors import CheckpointError
from handful.model.gguf_architectures import ARCHITECTURES, Architecture, Change, Keys
from handful.model.gguf_file import FIX, GgufFile, GgufTensor
from handful.model.gguf_tokenizer import GgufTokenizer

KEPT_TYPES = ("F32", "F16", "BF16")
"""The types that are written as they are stored; others become bfloat16."""
_ROPE_FACTORS = "rope_freqs.weight"
_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor to write: its new name, where it comes from, and how its layout changes. `num_heads` for `change`."""

    name: str
    source: GgufTensor
    change: Change
    num_heads: int

    @property
    def kind(self) -> str:
        """The type that it is written in, by its name in the file's format."""
        return self.source.kind if self.source.kind in KEPT_TYPES else "BF16"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that it is written in."""
        return self.source.shape[::-1] if self.change is Change.TRANSPOSED else self.source.shape

    @property
    def num_bytes(self) -> int:
        """The bytes that it is written in."""
        return math.prod(self.shape) * (4 if self.kind == "F32" else 2)


@dataclass(frozen=True, slots=True)
class GgufPlan:
    """What is to be written."""

    config: dict[str, Any]
    tokenizer: GgufTokenizer
    tensors: tuple[PlannedTensor, ...]

    @property
    def end_tokens(self) -> dict[str, Any]:
        """What a generation_config.json has."""
        return _end_tokens(self.tokenizer)


def plan_gguf(file: GgufFile) -> GgufPlan:
    """Raises CheckpointError where the file is damaged or of an architecture or a tokenizer that isn't read."""
    name = file.metadata.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise CheckpointError(f"it holds a model of the architecture {name!r}", fix=f"These are read: {known}.")
    architecture = ARCHITECTURES[name]
    config = architecture.config(Keys(file.metadata, name))
    tokenizer = GgufTokenizer(file.metadata)
    _complete_config(config, file, tokenizer)
    return GgufPlan(config, tokenizer, tuple(_plan(file, architecture, config)))


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


def _plan(file: GgufFile, architecture: Architecture, config: dict[str, Any]) -> list[PlannedTensor]:
    """Each tensor of the file with its new name; CheckpointError for one that the architecture doesn't have."""
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
        _check_readable(tensor)
        planned.append(PlannedTensor(f"{new_name}.{suffix}", tensor, change, heads_of.get(change, heads)))
    return planned


def _check_readable(tensor: GgufTensor) -> None:
    if len(tensor.shape) > 2 or (len(tensor.shape) == 1 and tensor.kind not in KEPT_TYPES):
        raise CheckpointError(f"tensor {tensor.name!r} has {len(tensor.shape)} dimensions as {tensor.kind}", fix=FIX)


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
