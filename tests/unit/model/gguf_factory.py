"""Tiny GGUF files for tests, written with gguf's own writer, names and layouts as llama.cpp's converter has them."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

_ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
    "gpt_neox": gguf.MODEL_ARCH.GPTNEOX,
}
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6


def write_gguf(path: Path, model: Any, *, pre: str = "gpt-2", kind: str = "F32", **metadata: Any) -> Path:
    """Write a Transformers model as GGUF. Matrices whose rows allow it are stored as `kind`; `metadata` is extra."""
    config = model.config
    architecture = _ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    _write_sizes(writer, config)
    write_byte_tokenizer(writer, pre, config.vocab_size)
    for key, value in metadata.items():
        writer.add_key_value(key.replace("__", "."), value, gguf.GGUFValueType.get_type(value))
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    tied = bool(config.tie_word_embeddings)
    for name, tensor in model.state_dict().items():
        if (tied and name in ("lm_head.weight", "embed_out.weight")) or name.endswith((".attn.bias", "inv_freq")):
            continue
        values = _as_llama_cpp(name, tensor.float().numpy(), config)
        new_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert new_name is not None, name
        _add_tensor(writer, new_name, values, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tensor(writer: gguf.GGUFWriter, name: str, values: NDArray[np.float32], kind: str) -> None:
    stored = gguf.GGMLQuantizationType[kind]
    block, _ = gguf.GGML_QUANT_SIZES[stored]
    values = np.ascontiguousarray(values)
    if kind == "F32" or values.ndim == 1 or values.shape[-1] % block:
        writer.add_tensor(name, values)
    else:
        writer.add_tensor(name, gguf.quantize(values, stored), raw_dtype=stored)


def _write_sizes(writer: gguf.GGUFWriter, config: Any) -> None:
    hidden, heads = config.hidden_size, config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(hidden)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(heads)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * hidden)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if config.model_type == "gpt_neox":
        writer.add_layer_norm_eps(config.layer_norm_eps)
        writer.add_parallel_residual(config.use_parallel_residual)
        writer.add_rope_dimension_count(int(hidden // heads * rope["partial_rotary_factor"]))
        return
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_size = getattr(config, "head_dim", None) or hidden // heads
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    if config.model_type == "mistral":
        writer.add_sliding_window(config.sliding_window)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def _as_llama_cpp(name: str, values: NDArray[np.float32], config: Any) -> NDArray[np.float32]:
    """What llama.cpp's converter does to a tensor's layout."""
    heads = config.num_attention_heads
    if config.model_type == "gpt2" and any(f".{part}.weight" in name for part in ("c_attn", "c_proj", "c_fc")):
        return values.T
    if config.model_type in ("llama", "mistral") and (".q_proj." in name or ".k_proj." in name):
        count = heads if ".q_proj." in name else config.num_key_value_heads
        split = values.reshape(count, 2, values.shape[0] // count // 2, *values.shape[1:])
        return split.swapaxes(1, 2).reshape(values.shape)
    if ".query_key_value." in name:
        split = values.reshape(heads, 3, -1, *values.shape[1:])
        return split.swapaxes(0, 1).reshape(values.shape)
    return values


def write_byte_tokenizer(writer: gguf.GGUFWriter, pre: str, vocab_size: int) -> None:
    """Two control tokens, the 256 bytes, some merges, and fillers up to `vocab_size`."""
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"), ("1", "2")]
    tokens = ["<|endoftext|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens += [left + right for left, right in merges]
    tokens += [f"<filler{i}>" for i in range(vocab_size - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([_CONTROL, _CONTROL] + [_NORMAL] * (len(tokens) - 2))
    writer.add_token_merges([f"{left} {right}" for left, right in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)


def write_sentencepiece_tokenizer(writer: gguf.GGUFWriter) -> None:
    """Llama's kind: <unk>, <s>, </s>, the 256 bytes, and pieces with scores."""
    pieces = [("▁", -1.0), ("▁h", -2.0), ("▁he", -2.5), ("ll", -3.0), ("▁hell", -3.5), ("▁hello", -4.0)]
    pieces += [(letter, -10.0 - i) for i, letter in enumerate("helowrdPais,.")]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *(piece for piece, _ in pieces)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [score for _, score in pieces])
    writer.add_token_types([_UNKNOWN, _CONTROL, _CONTROL] + [_BYTE] * 256 + [_NORMAL] * len(pieces))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
