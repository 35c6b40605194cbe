"""Which GGUF architectures are read: their metadata as a Hugging Face config, their tensors' names and layouts.

A table, not code: `ARCHITECTURES[name]` holds a function from metadata to `config.json` and the tensors' new names.
Layouts that the GGUF format changed are named in `Change` and undone by `gguf_weights`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from handful.errors import CheckpointError
from handful.model.gguf_file import FIX, Value

_MAX_SIZE = 1 << 24  # of any one dimension: far above every model, far below what would overflow


class Change(Enum):
    """How a tensor lies in a GGUF file otherwise than in a Hugging Face checkpoint."""

    NONE = auto()
    ROTARY_QUERY = auto()  # rows of each head interleaved for llama.cpp's rotary embedding
    ROTARY_KEY = auto()
    TRANSPOSED = auto()  # GPT-2 stores [in, out]
    JOINED_QKV = auto()  # GPT-NeoX keeps q, k, v of a head together; GGUF all of q, then k, then v


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture: `config(metadata reader)` gives config.json; names are stems, `{}` is the layer's number."""

    config: Callable[["Keys"], dict[str, Any]]
    outside: dict[str, tuple[str, Change]]
    inside: dict[str, tuple[str, Change]]


class Keys:
    """Checked access to one architecture's metadata keys."""

    def __init__(self, metadata: dict[str, Value], architecture: str) -> None:
        self._metadata = metadata
        self._architecture = architecture

    def get(self, key: str) -> Value | None:
        """A raw value, or None when the file doesn't have it."""
        return self._metadata.get(f"{self._architecture}.{key}")

    def size(self, key: str, default: int | None = None) -> int:
        """A positive whole number; required unless there is a default."""
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MAX_SIZE:
            raise CheckpointError(f"its {self._architecture}.{key} is {value!r}, not a size", fix=FIX)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A finite positive number; float32 values are rounded to the seven digits that they have."""
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise CheckpointError(f"its {self._architecture}.{key} is {value!r}, not a positive number", fix=FIX)
        return float(f"{value:.7g}")

    def forbid(self, key: str, why: str) -> None:
        """Refuse a file that sets a key (to something else than 0) which would be needed and isn't honoured."""
        if self.get(key):
            raise CheckpointError(f"{why} ({self._architecture}.{key}), which isn't read", fix="Use its safetensors.")


def rope_scaling(keys: Keys) -> dict[str, Any] | None:
    """Position scaling as configs write it, or None. Llama 3's is in a tensor; see `gguf_plan`."""
    kind = keys.get("rope.scaling.type")
    if kind in (None, "none"):
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": keys.number("rope.scaling.factor")}
    if kind == "yarn":
        original = keys.size("rope.scaling.original_context_length")
        factor = keys.number("rope.scaling.factor")
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    raise CheckpointError(f"it scales positions by {kind!r}, which isn't read", fix="Use its safetensors.")


def _llama_like(keys: Keys, model_type: str, class_name: str) -> dict[str, Any]:
    keys.forbid("expert_count", "it is a mixture of experts")
    hidden, heads = keys.size("embedding_length"), keys.size("attention.head_count")
    head_size = keys.size("attention.key_length", max(1, hidden // heads))
    if keys.size("attention.value_length", head_size) != head_size:
        raise CheckpointError("its keys and values differ in size, which isn't read", fix="Use its safetensors.")
    if keys.size("rope.dimension_count", head_size) != head_size:
        raise CheckpointError("it rotates only a part of each head, which isn't read", fix="Use its safetensors.")
    config: dict[str, Any] = {
        "architectures": [class_name],
        "model_type": model_type,
        "hidden_size": hidden,
        "intermediate_size": keys.size("feed_forward_length"),
        "num_hidden_layers": keys.size("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": keys.size("attention.head_count_kv", heads),
        "head_dim": head_size,
        "max_position_embeddings": keys.size("context_length"),
        "rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": keys.number("rope.freq_base", 10000.0),
        "hidden_act": "silu",
    }
    if scaling := rope_scaling(keys):
        config["rope_scaling"] = scaling
    return config


def _llama(keys: Keys) -> dict[str, Any]:
    if keys.get("attention.sliding_window"):
        window = {"sliding_window": keys.size("attention.sliding_window")}
        return _llama_like(keys, "mistral", "MistralForCausalLM") | window
    return _llama_like(keys, "llama", "LlamaForCausalLM")


def _qwen2(keys: Keys) -> dict[str, Any]:
    keys.forbid("attention.sliding_window", "it slides a window in some layers")
    return _llama_like(keys, "qwen2", "Qwen2ForCausalLM") | {"use_sliding_window": False}


def _qwen3(keys: Keys) -> dict[str, Any]:
    keys.forbid("attention.sliding_window", "it slides a window in some layers")
    config = _llama_like(keys, "qwen3", "Qwen3ForCausalLM")
    return config | {"use_sliding_window": False, "attention_bias": False}


def _gpt2(keys: Keys) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": keys.size("embedding_length"),
        "n_inner": keys.size("feed_forward_length"),
        "n_layer": keys.size("block_count"),
        "n_head": keys.size("attention.head_count"),
        "n_positions": keys.size("context_length"),
        "n_ctx": keys.size("context_length"),
        "layer_norm_epsilon": keys.number("attention.layer_norm_epsilon"),
        "activation_function": "gelu_new",
    }


def _gpt_neox(keys: Keys) -> dict[str, Any]:
    hidden, heads = keys.size("embedding_length"), keys.size("attention.head_count")
    rotary = keys.size("rope.dimension_count")
    return {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        "hidden_size": hidden,
        "intermediate_size": keys.size("feed_forward_length"),
        "num_hidden_layers": keys.size("block_count"),
        "num_attention_heads": heads,
        "max_position_embeddings": keys.size("context_length"),
        "layer_norm_eps": keys.number("attention.layer_norm_epsilon"),
        "rotary_pct": rotary / max(1, hidden // heads),
        "rotary_emb_base": keys.number("rope.freq_base", 10000.0),
        "rope_theta": keys.number("rope.freq_base", 10000.0),
        "use_parallel_residual": keys.get("use_parallel_residual") is not False,
        "attention_bias": True,
        "hidden_act": "gelu",
    }


def _names(prefix: str, names: dict[str, str | tuple[str, Change]]) -> dict[str, tuple[str, Change]]:
    pairs = {old: new if isinstance(new, tuple) else (new, Change.NONE) for old, new in names.items()}
    return {old: (prefix + new, change) for old, (new, change) in pairs.items()}


_LLAMA_OUTSIDE = _names("", {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"})
_QWEN_LAYER: dict[str, str | tuple[str, Change]] = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LLAMA_LAYER = _QWEN_LAYER | {
    "attn_q": ("self_attn.q_proj", Change.ROTARY_QUERY),
    "attn_k": ("self_attn.k_proj", Change.ROTARY_KEY),
}
_QWEN_INSIDE = _names("model.layers.{}.", _QWEN_LAYER)

ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(_llama, _LLAMA_OUTSIDE, _names("model.layers.{}.", _LLAMA_LAYER)),
    "qwen2": Architecture(_qwen2, _LLAMA_OUTSIDE, _QWEN_INSIDE),
    "qwen3": Architecture(_qwen3, _LLAMA_OUTSIDE, _QWEN_INSIDE),
    "gpt2": Architecture(
        _gpt2,
        _names(
            "",
            {
                "token_embd": "transformer.wte",
                "position_embd": "transformer.wpe",
                "output_norm": "transformer.ln_f",
                "output": "lm_head",
            },
        ),
        _names(
            "transformer.h.{}.",
            {
                "attn_norm": "ln_1",
                "attn_qkv": ("attn.c_attn", Change.TRANSPOSED),
                "attn_output": ("attn.c_proj", Change.TRANSPOSED),
                "ffn_norm": "ln_2",
                "ffn_up": ("mlp.c_fc", Change.TRANSPOSED),
                "ffn_down": ("mlp.c_proj", Change.TRANSPOSED),
            },
        ),
    ),
    "gptneox": Architecture(
        _gpt_neox,
        _names(
            "",
            {"token_embd": "gpt_neox.embed_in", "output_norm": "gpt_neox.final_layer_norm", "output": "embed_out"},
        ),
        _names(
            "gpt_neox.layers.{}.",
            {
                "attn_norm": "input_layernorm",
                "attn_qkv": ("attention.query_key_value", Change.JOINED_QKV),
                "attn_output": "attention.dense",
                "ffn_norm": "post_attention_layernorm",
                "ffn_up": "mlp.dense_h_to_4h",
                "ffn_down": "mlp.dense_4h_to_h",
            },
        ),
    ),
}
