"""From `config.json` to a spec: both spellings, Transformers' defaults, and every refusal names its key."""

from typing import Any

import pytest

from handful.errors import CheckpointError
from handful.model.families import NATIVE_FAMILIES, NotNativeError, is_native, spec_from_config
from handful.model.spec import LinearScaling, Llama3Scaling, Rotary, YarnScaling

Config = dict[str, Any]

GPT_NEO: Config = {
    "model_type": "gpt_neo",
    "vocab_size": 50257,
    "max_position_embeddings": 2048,
    "hidden_size": 768,
    "num_layers": 12,
    "num_heads": 12,
    "intermediate_size": None,
    "attention_types": [[["global", "local"], 6]],
    "window_size": 256,
}
GPT2: Config = {
    "model_type": "gpt2",
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
}
LLAMA: Config = {
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rope_theta": 100000,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
NEOX: Config = {
    "model_type": "gpt_neox",
    "vocab_size": 50304,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "max_position_embeddings": 2048,
    "rotary_pct": 0.25,
    "rotary_emb_base": 10000,
}
OPT: Config = {
    "model_type": "opt",
    "vocab_size": 50272,
    "hidden_size": 768,
    "ffn_dim": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 2048,
}
QWEN2 = LLAMA | {"model_type": "qwen2"}
MISTRAL = LLAMA | {"model_type": "mistral"}


def test_gpt_neo_alternates_global_and_local_layers() -> None:
    spec = spec_from_config(GPT_NEO)
    assert spec.windows == (None, 256) * 6
    assert spec.attention_scale == 1.0
    assert spec.context_length == 2048
    assert spec.intermediate_size == 4 * 768
    assert spec.tied_head
    assert not spec.qkv_bias


def test_gpt2_takes_its_own_and_the_common_spelling() -> None:
    common = {
        "model_type": "gpt2",
        "vocab_size": 50257,
        "max_position_embeddings": 1024,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    assert spec_from_config(common) == spec_from_config(GPT2)


def test_old_and_new_spelling_of_rotary_positions_mean_the_same() -> None:
    new = {key: value for key, value in LLAMA.items() if key != "rope_theta"}
    new["rope_parameters"] = {"rope_type": "default", "rope_theta": 100000}
    assert spec_from_config(new) == spec_from_config(LLAMA)


def test_a_llama_is_read_in_full() -> None:
    spec = spec_from_config(LLAMA)
    assert (spec.num_heads, spec.num_kv_heads, spec.head_dim) == (9, 3, 64)
    assert spec.rotary == Rotary(100000.0, 64)
    assert spec.gated_mlp
    assert spec.norm_eps == 1e-5
    assert spec.windows == (None,) * 30


def test_neox_rotates_a_share_of_each_head() -> None:
    assert spec_from_config(NEOX).rotary == Rotary(10000.0, 16)
    new = NEOX | {"rope_parameters": {"rope_theta": 500.0, "partial_rotary_factor": 0.5}}
    assert spec_from_config(new).rotary == Rotary(500.0, 32)


def test_neox_can_be_sequential() -> None:
    assert spec_from_config(NEOX).residual == "parallel"
    assert spec_from_config(NEOX | {"use_parallel_residual": False}).residual == "sequential"


def test_opt_350m_norms_behind_the_sum_and_projects_its_embedding() -> None:
    spec = spec_from_config(OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 512})
    assert (spec.norm_first, spec.final_norm, spec.embedding_size) == (False, False, 512)
    assert spec.learned_positions == 2


def test_mistral_without_the_key_has_transformers_default_window_and_with_null_none() -> None:
    assert spec_from_config(MISTRAL).windows[0] == 4096
    assert spec_from_config(MISTRAL | {"sliding_window": None}).windows[0] is None


def test_qwen_has_no_window_unless_it_is_switched_on() -> None:
    assert set(spec_from_config(QWEN2 | {"sliding_window": 100, "max_window_layers": 0}).windows) == {None}
    on = QWEN2 | {"sliding_window": 100, "max_window_layers": 28, "use_sliding_window": True}
    assert spec_from_config(on).windows == (None,) * 28 + (100,) * 2


def test_qwen3_has_heads_of_128_where_nothing_is_said() -> None:
    spec = spec_from_config(LLAMA | {"model_type": "qwen3"})
    assert spec.head_dim == 128
    assert spec.qk_norm


@pytest.mark.parametrize(
    ("rope", "scaling"),
    [
        ({"type": "linear", "factor": 2}, LinearScaling(2.0)),
        (
            {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4},
            Llama3Scaling(8.0, 1.0, 4.0, 8192),
        ),
        (
            {"rope_type": "yarn", "factor": 4, "attention_factor": 1.5, "original_max_position_embeddings": 512},
            YarnScaling(4.0, 512, 32.0, 1.0, 1.5, True),
        ),
    ],
)
def test_scaled_rotary_positions_are_read(rope: Config, scaling: object) -> None:
    read = spec_from_config(LLAMA | {"rope_scaling": rope}).rotary
    assert read is not None
    assert read.scaling == scaling


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "bloom"}, "bloom"),
        ({}, "None"),
        (LLAMA | {"rope_scaling": {"type": "dynamic", "factor": 2}}, "dynamic"),
        (LLAMA | {"rope_scaling": {"rope_type": "longrope"}}, "longrope"),
        (LLAMA | {"partial_rotary_factor": 0.5}, "part of a head"),
        (LLAMA | {"hidden_act": "xielu"}, "xielu"),
        (LLAMA | {"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        (GPT2 | {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        (GPT2 | {"add_cross_attention": True}, "cross-attention"),
        (MISTRAL | {"layer_types": ["full_attention"] * 30}, "layer_types"),
        (QWEN2 | {"layer_types": ["linear_attention"] * 30}, "full and sliding"),
        (LLAMA | {"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "differ between layers"),
    ],
)
def test_what_the_decoder_does_not_do_is_left_to_transformers_by_name(config: Config, named: str) -> None:
    assert not is_native(config)
    with pytest.raises(NotNativeError, match=named):
        spec_from_config(config)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({key: value for key, value in LLAMA.items() if key != "hidden_size"}, "hidden_size"),
        (LLAMA | {"hidden_size": "576"}, "hidden_size"),
        (LLAMA | {"hidden_size": True}, "hidden_size"),
        (LLAMA | {"num_hidden_layers": 0}, "num_hidden_layers"),
        (LLAMA | {"num_hidden_layers": 10**9}, "num_hidden_layers"),
        (LLAMA | {"vocab_size": -1}, "vocab_size"),
        (LLAMA | {"vocab_size": 10**12}, "vocab_size"),
        (LLAMA | {"num_attention_heads": 7}, "num_attention_heads"),
        (LLAMA | {"num_key_value_heads": 2}, "num_key_value_heads"),
        (LLAMA | {"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        (LLAMA | {"rms_norm_eps": 0}, "rms_norm_eps"),
        (LLAMA | {"rope_theta": -1.0}, "rope_theta"),
        (LLAMA | {"rope_scaling": "linear"}, "rope_scaling"),
        (LLAMA | {"rope_scaling": {"type": "linear"}}, "rope_scaling.factor"),
        (LLAMA | {"rope_scaling": {"type": "linear", "factor": 0}}, "rope_scaling.factor"),
        (LLAMA | {"attention_bias": "no"}, "attention_bias"),
        (LLAMA | {"hidden_act": 3}, "hidden_act"),
        (LLAMA | {"head_dim": 63}, "head_dim"),
        (NEOX | {"rotary_pct": 0.01}, "rotary_pct"),
        (GPT_NEO | {"attention_types": [[["global", "local"], 5]]}, "attention_types"),
        (GPT_NEO | {"attention_types": [[["global"], 10**9]]}, "attention_types"),
        (GPT_NEO | {"attention_types": [[["sparse"], 12]]}, "attention_types"),
        (GPT_NEO | {"attention_types": "global"}, "attention_types"),
        (GPT_NEO | {"window_size": 0}, "window_size"),
        (QWEN2 | {"layer_types": ["full_attention"]}, "layer_types"),
        (QWEN2 | {"layer_types": ["sliding_attention"] * 30}, "sliding_window"),
    ],
)
def test_a_missing_or_absurd_value_is_refused_by_its_key(config: Config, key: str) -> None:
    with pytest.raises(CheckpointError, match=f"`{key}`") as caught:
        is_native(config)
    assert not isinstance(caught.value, NotNativeError)
    assert caught.value.fix


def test_the_families_of_the_issue_are_native() -> None:
    wanted = {"gpt_neo", "gpt2", "gptj", "gpt_neox", "opt", "llama", "mistral", "qwen2", "qwen3"}
    assert set(NATIVE_FAMILIES) == wanted
