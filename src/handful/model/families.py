"""The native families: from a checkpoint's configuration to a `ModelSpec`, exactly or not at all.

A configuration that asks for something the spec can't say raises `NotNativeError`, and the model runs through
Transformers instead; nothing is approximated. Defaults are those of Transformers' configuration classes, because
configurations are written with them in mind; sizes have no default.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from handful.model.families_config import (
    MAX_CONTEXT_LENGTH,
    ConfigReader,
    NotNativeError,
    even,
    read_rotary,
    read_scaling,
)
from handful.model.spec import ModelSpec, Rotary

__all__ = ["NATIVE_FAMILIES", "NotNativeError", "is_native", "spec_from_config"]

Fields = dict[str, Any]


def spec_from_config(config: Mapping[str, object]) -> ModelSpec:
    """Read a `config.json`.

    Raises NotNativeError where handful's decoder doesn't do what it asks for, CheckpointError where a value is missing,
    ill-typed or absurd (the message names the key).
    """
    reader = ConfigReader(config)
    family = reader.raw("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        raise NotNativeError(f"models of the type {family!r:.40}")
    if reader.has("quantization_config"):
        raise NotNativeError("quantised checkpoints")
    return ModelSpec(architecture=family, **_FAMILIES[family](reader))


def is_native(config: Mapping[str, object]) -> bool:
    """Whether handful's own decoder runs this model. Raises CheckpointError for a malformed configuration."""
    try:
        spec_from_config(config)
    except NotNativeError:
        return False
    return True


def _gpt_neo(config: ConfigReader) -> Fields:
    fields = _sizes(config, layers="num_layers", heads="num_heads")
    window = config.integer("window_size", default=256, high=MAX_CONTEXT_LENGTH)
    kinds = _attention_types(config, fields["num_layers"])
    return fields | {
        "windows": tuple(window if kind == "local" else None for kind in kinds),
        "attention_scale": 1.0,
        "intermediate_size": config.integer("intermediate_size", default=4 * fields["hidden_size"]),
        "activation": config.activation("activation_function", default="gelu_new"),
        **_layer_norm(config, "layer_norm_epsilon"),
        "learned_positions": 0,
        "attention_out_bias": True,
        "mlp_bias": True,
        "tied_head": config.flag("tie_word_embeddings", True),
    }


def _attention_types(config: ConfigReader, num_layers: int) -> list[str]:
    """GPT-Neo's `[[["global", "local"], 12]]`: kinds and how often they repeat, joined to one kind a layer."""
    groups = config.raw("attention_types")
    if groups is None:
        groups = [[["global", "local"], 12]]
    if not isinstance(groups, list | tuple):
        raise config.refuse("attention_types", "must be a list of [kinds, count] pairs.")
    kinds: list[str] = []
    for group in groups:
        match group:
            case [list() | tuple() as names, int(count)] if 0 < count <= num_layers and len(names) <= num_layers:
                kinds.extend(list(names) * count)
            case _:
                raise config.refuse("attention_types", f"holds {group!r:.60}, not a [kinds, count] pair.")
    if len(kinds) != num_layers:
        raise config.refuse("attention_types", f"describes {len(kinds)} layers, but `num_layers` is {num_layers}.")
    if any(kind not in ("global", "local") for kind in kinds):
        raise config.refuse("attention_types", "may name only global and local attention.")
    return kinds


def _gpt2(config: ConfigReader) -> Fields:
    fields = _sizes(config, "n_layer", "n_head", "n_embd", "n_positions")
    if config.flag("add_cross_attention", False):
        raise NotNativeError("cross-attention")
    if config.flag("scale_attn_by_inverse_layer_idx", False):
        raise NotNativeError("attention scaled by the layer's number (`scale_attn_by_inverse_layer_idx`)")
    return fields | {
        "attention_scale": _head_scale(fields) if config.flag("scale_attn_weights", True) else 1.0,
        "intermediate_size": config.integer("n_inner", default=4 * fields["hidden_size"]),
        "activation": config.activation("activation_function", default="gelu_new"),
        **_layer_norm(config, "layer_norm_epsilon"),
        "learned_positions": 0,
        **_biases(qkv=True, attention_out=True, mlp=True),
        "tied_head": config.flag("tie_word_embeddings", True),
    }


def _gptj(config: ConfigReader) -> Fields:
    fields = _sizes(config, "n_layer", "n_head", "n_embd", "n_positions")
    dims = config.integer("rotary_dim", default=64, high=fields["head_dim"])
    return fields | {
        "attention_scale": _head_scale(fields),
        "intermediate_size": config.integer("n_inner", default=4 * fields["hidden_size"]),
        "activation": config.activation("activation_function", default="gelu_new"),
        **_layer_norm(config, "layer_norm_epsilon"),
        "residual": "parallel_shared",
        "rotary": Rotary(10_000.0, even(config, "rotary_dim", dims), interleaved=True),
        **_biases(qkv=False, attention_out=False, mlp=True),
        "head_bias": True,
        "tied_head": config.flag("tie_word_embeddings", False),
    }


def _gpt_neox(config: ConfigReader) -> Fields:
    fields = _sizes(config)
    rope = config.section("rope_scaling") or config.section("rope_parameters") or ConfigReader({})
    theta = rope.number("rope_theta", default=config.number("rotary_emb_base", default=10_000.0))
    share = rope.number("partial_rotary_factor", default=config.number("rotary_pct", default=0.25))
    dims = even(config, "rotary_pct", int(fields["head_dim"] * min(share, 1.0)))
    bias = config.flag("attention_bias", True)
    return fields | {
        "attention_scale": _head_scale(fields),
        "intermediate_size": config.integer("intermediate_size"),
        "activation": config.activation("hidden_act", default="gelu"),
        **_layer_norm(config, "layer_norm_eps"),
        "residual": "parallel" if config.flag("use_parallel_residual", True) else "sequential",
        "rotary": Rotary(theta, dims, scaling=read_scaling(config, rope, fields["context_length"])),
        **_biases(qkv=bias, attention_out=bias, mlp=True),
        "tied_head": config.flag("tie_word_embeddings", False),
    }


def _opt(config: ConfigReader) -> Fields:
    fields = _sizes(config)
    first = config.flag("do_layer_norm_before", True)
    bias = config.flag("enable_bias", True)
    return fields | {
        "embedding_size": config.integer("word_embed_proj_dim", default=fields["hidden_size"]),
        "attention_scale": _head_scale(fields),
        "intermediate_size": config.integer("ffn_dim"),
        "activation": config.activation("activation_function", default="relu"),
        "norm": "layer",
        "norm_eps": 1e-5,
        "norm_affine": config.flag("layer_norm_elementwise_affine", True),
        "norm_first": first,
        "final_norm": first and not config.flag("_remove_final_layer_norm", False),
        "learned_positions": 2,
        **_biases(qkv=bias, attention_out=bias, mlp=bias),
        "tied_head": config.flag("tie_word_embeddings", True),
    }


def _llama(config: ConfigReader) -> Fields:
    bias = config.flag("attention_bias", False)
    fields = _llama_like(config) | _biases(qkv=bias, attention_out=bias, mlp=config.flag("mlp_bias", False))
    if fields["hidden_size"] % fields["num_heads"]:
        raise config.refuse("hidden_size", f"must be a multiple of `num_attention_heads`, {fields['num_heads']}.")
    return fields


def _mistral(config: ConfigReader) -> Fields:
    fields = _llama_like(config)
    if config.has("layer_types"):
        raise NotNativeError("Mistral models with `layer_types`")
    # An absent key means Transformers' default; a null one means no window.
    window = 4096 if "sliding_window" not in config.keys else config.raw("sliding_window")
    if window is not None:
        window = config.integer("sliding_window", default=4096, high=MAX_CONTEXT_LENGTH)
    return fields | {"windows": (window,) * fields["num_layers"]}


def _qwen2(config: ConfigReader) -> Fields:
    return _qwen(config, _llama_like(config) | _biases(qkv=True, attention_out=False, mlp=False))


def _qwen3(config: ConfigReader) -> Fields:
    bias = config.flag("attention_bias", False)
    fields = _llama_like(config, default_head_dim=128) | _biases(qkv=bias, attention_out=bias, mlp=False)
    return _qwen(config, fields | {"qk_norm": True})


def _qwen(config: ConfigReader, fields: Fields) -> Fields:
    """Qwen's windows: on the layers from `max_window_layers` on, or as `layer_types` says."""
    num_layers = fields["num_layers"]
    window = None
    if config.flag("use_sliding_window", False) and not (
        "sliding_window" in config.keys and not config.has("sliding_window")
    ):
        window = config.integer("sliding_window", default=4096, high=MAX_CONTEXT_LENGTH)
    kinds = config.raw("layer_types")
    if kinds is None:
        full = config.integer("max_window_layers", default=28, low=0)
        return fields | {"windows": tuple(window if layer >= full else None for layer in range(num_layers))}
    if not isinstance(kinds, list) or len(kinds) != num_layers:
        raise config.refuse("layer_types", f"must be a list of {num_layers} names, one a layer.")
    if any(kind not in ("full_attention", "sliding_attention") for kind in kinds):
        raise NotNativeError("layers other than full and sliding attention")
    if window is None and "sliding_attention" in kinds:
        raise config.refuse("sliding_window", "is unset, but `layer_types` names sliding attention.")
    return fields | {"windows": tuple(window if kind == "sliding_attention" else None for kind in kinds)}


def _llama_like(config: ConfigReader, default_head_dim: int | None = None) -> Fields:
    """What Llama, Mistral and Qwen share."""
    heads = config.integer("num_attention_heads")
    hidden = config.integer("hidden_size")
    head_dim = config.integer("head_dim", default=default_head_dim or max(hidden // heads, 1))
    if default_head_dim is None and not config.has("head_dim") and hidden % heads:
        raise config.refuse("hidden_size", f"must be a multiple of `num_attention_heads`, {heads}.")
    kv_heads = config.integer("num_key_value_heads", default=heads)
    if heads % kv_heads:
        raise config.refuse("num_key_value_heads", f"must divide `num_attention_heads`, {heads}, not {kv_heads}.")
    fields = _sizes(config, head_dim=head_dim)
    return fields | {
        "num_kv_heads": kv_heads,
        "attention_scale": _head_scale(fields),
        "intermediate_size": config.integer("intermediate_size"),
        "activation": config.activation("hidden_act", default="silu"),
        "norm": "rms",
        "norm_eps": config.number("rms_norm_eps", default=1e-6),
        "rotary": read_rotary(config, head_dim, fields["context_length"]),
        "gated_mlp": True,
        "tied_head": config.flag("tie_word_embeddings", False),
    }


def _sizes(
    config: ConfigReader,
    layers: str = "num_hidden_layers",
    heads: str = "num_attention_heads",
    hidden: str = "hidden_size",
    positions: str = "max_position_embeddings",
    head_dim: int | None = None,
) -> Fields:
    """The sizes that every family has. Both spellings are read, a family's own first."""
    num_layers = config.integer(layers, "num_hidden_layers", high=10_000)
    num_heads = config.integer(heads, "num_attention_heads")
    hidden_size = config.integer(hidden, "hidden_size")
    if head_dim is None:
        if hidden_size % num_heads:
            raise config.refuse(hidden, f"must be a multiple of `{heads}`, {num_heads}, not {hidden_size}.")
        head_dim = hidden_size // num_heads
    return {
        "num_layers": num_layers,
        "hidden_size": hidden_size,
        "embedding_size": hidden_size,
        "num_heads": num_heads,
        "num_kv_heads": num_heads,
        "head_dim": head_dim,
        "vocab_size": config.integer("vocab_size"),
        "context_length": config.integer(positions, "max_position_embeddings", high=MAX_CONTEXT_LENGTH),
        "windows": (None,) * num_layers,
    }


def _layer_norm(config: ConfigReader, eps: str) -> Fields:
    return {"norm": "layer", "norm_eps": config.number(eps, default=1e-5)}


def _biases(*, qkv: bool, attention_out: bool, mlp: bool) -> Fields:
    return {"qkv_bias": qkv, "attention_out_bias": attention_out, "mlp_bias": mlp}


def _head_scale(fields: Fields) -> float:
    return 1.0 / math.sqrt(fields["head_dim"])


_FAMILIES: dict[str, Callable[[ConfigReader], Fields]] = {
    "gpt_neo": _gpt_neo,
    "gpt2": _gpt2,
    "gptj": _gptj,
    "gpt_neox": _gpt_neox,
    "opt": _opt,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
}

NATIVE_FAMILIES = tuple(_FAMILIES)
