"""Tiny random checkpoints of every native family, made with Transformers and kept for the session.

Weights are large enough that every part of the model shows in the logits: biases are not zero, norms not one, and
attention is far from uniform. `checkpoint(name)` gives a folder with weights, configuration and tokenizer;
`reference(name)` the same model in Transformers, float32, its eager attention.
"""

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

VOCAB_SIZE = 320
CONTEXT_LENGTH = 640
END_OF_TEXT = "<|endoftext|>"

Values = dict[str, Any]

_GPT_NEO: Values = {
    "hidden_size": 48,
    "num_heads": 3,
    "intermediate_size": 80,
    "max_position_embeddings": CONTEXT_LENGTH,
}
_GPT2: Values = {"n_embd": 48, "n_head": 3, "n_layer": 3, "n_positions": CONTEXT_LENGTH}
_OPT: Values = {
    "hidden_size": 48,
    "num_attention_heads": 3,
    "num_hidden_layers": 3,
    "ffn_dim": 80,
    "max_position_embeddings": CONTEXT_LENGTH,
}
_LLAMA: Values = {
    "hidden_size": 48,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "intermediate_size": 80,
    "max_position_embeddings": CONTEXT_LENGTH,
}
_NEOX = _LLAMA | {"num_attention_heads": 3, "rotary_pct": 0.5}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
_YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 5000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 160,
}

# Name of the variant: (model type, values of its configuration).
VARIANTS: dict[str, tuple[str, Values]] = {
    "gpt_neo": ("gpt_neo", _GPT_NEO | {"num_layers": 4, "attention_types": [[["global", "local"], 2]]}),
    "gpt_neo-small-window": (
        "gpt_neo",
        _GPT_NEO
        | {"num_layers": 4, "window_size": 7, "attention_types": [[["local"], 1], [["global", "local", "local"], 1]]},
    ),
    "gpt_neo-window-of-one": (
        "gpt_neo",
        _GPT_NEO | {"num_layers": 2, "window_size": 1, "attention_types": [[["local", "global"], 1]]},
    ),
    "gpt_neo-all-local": (
        "gpt_neo",
        _GPT_NEO | {"num_layers": 3, "window_size": 100, "attention_types": [[["local"], 3]]},
    ),
    "gpt_neo-all-global": ("gpt_neo", _GPT_NEO | {"num_layers": 2, "attention_types": [[["global"], 2]]}),
    "gpt2": ("gpt2", _GPT2),
    "gpt2-unscaled": ("gpt2", _GPT2 | {"scale_attn_weights": False, "n_inner": 40, "activation_function": "relu"}),
    "gptj": ("gptj", _GPT2 | {"rotary_dim": 8}),
    "gptj-all-rotary": ("gptj", _GPT2 | {"rotary_dim": 16, "tie_word_embeddings": True}),
    "gpt_neox": ("gpt_neox", _NEOX),
    "gpt_neox-sequential": ("gpt_neox", _NEOX | {"use_parallel_residual": False, "attention_bias": False}),
    "opt": ("opt", _OPT),
    "opt-post-norm": ("opt", _OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 20}),
    "opt-without-weights-in-norms": (
        "opt",
        _OPT | {"enable_bias": False, "layer_norm_elementwise_affine": False, "activation_function": "gelu"},
    ),
    "llama": ("llama", _LLAMA),
    "llama-tied": ("llama", _LLAMA | {"tie_word_embeddings": True, "num_key_value_heads": 6}),
    "llama-biases": ("llama", _LLAMA | {"attention_bias": True, "mlp_bias": True, "head_dim": 12}),
    "llama-llama3-rope": ("llama", _LLAMA | {"rope_parameters": _LLAMA3_ROPE}),
    "llama-linear-rope": ("llama", _LLAMA | {"rope_scaling": {"type": "linear", "factor": 3.0}, "rope_theta": 500.0}),
    "llama-yarn-rope": ("llama", _LLAMA | {"rope_parameters": _YARN_ROPE}),
    "mistral": ("mistral", _LLAMA | {"sliding_window": 50, "head_dim": 10}),
    "mistral-without-window": ("mistral", _LLAMA | {"sliding_window": None}),
    "qwen2": ("qwen2", _LLAMA | {"use_sliding_window": True, "sliding_window": 40, "max_window_layers": 1}),
    "qwen2-layer-types": (
        "qwen2",
        _LLAMA
        | {
            "use_sliding_window": True,
            "sliding_window": 30,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "qwen2-without-window": ("qwen2", _LLAMA),
    "qwen3": ("qwen3", _LLAMA | {"head_dim": 12, "tie_word_embeddings": True}),
    "qwen3-biases": ("qwen3", _LLAMA | {"head_dim": 12, "attention_bias": True}),
}

# One variant of each family, the one with its most awkward features.
FAMILIES = ("gpt_neo-small-window", "gpt2", "gptj", "gpt_neox", "opt", "llama", "mistral", "qwen2", "qwen3")


@cache
def checkpoint(variant: str) -> Path:
    """A folder with the variant's checkpoint, as `save_pretrained` writes it, and its tokenizer."""
    family, values = VARIANTS[variant]
    return write_checkpoint(family, values)


@cache
def reference(variant: str) -> Any:
    """The variant in Transformers: float32, eager attention."""
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(
        checkpoint(variant), dtype=torch.float32, attn_implementation="eager", local_files_only=True
    )
    return loaded.eval()


def reference_logits(variant: str, tokens: Tensor) -> Tensor:
    """Logits of one sequence `[T]` -> `[T, V]`."""
    with torch.inference_mode():
        logits: Tensor = reference(variant)(tokens[None]).logits[0]
    return logits


def write_checkpoint(family: str, values: Values, prepare: Callable[[Any], None] | None = None) -> Path:
    """Save a random model of any family that Transformers knows, and a tokenizer, in a folder of this session.

    `prepare` may change the model before it is saved.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    base = {"vocab_size": VOCAB_SIZE, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    config = AutoConfig.for_model(family, **(base | values))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    fill(model)
    if prepare is not None:
        prepare(model)
    folder = new_folder()
    model.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder


def new_folder() -> Path:
    """An empty folder that goes away with this process."""
    folder = Path(tempfile.mkdtemp(prefix="handful-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def fill(model: Any, seed: int = 0) -> None:
    """Random weights under which nothing in the model can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "norm" in name or ".ln_" in name or name.endswith("ln_f.weight")
            if parameter.ndim == 1 and is_norm and name.endswith("weight"):
                parameter.copy_(1 + 0.3 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.2 * noise)
            else:
                parameter.copy_(0.15 * noise)


@cache
def tokenizer() -> Tokenizer:
    """A small byte-level BPE with one special token, id 0."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
    )
    text = "the review is positive and the review is negative; a good film, a bad film. Text: Label: ### " * 20
    made.train_from_iterator([text], trainer)
    return made


def random_tokens(length: int, seed: int = 1) -> Tensor:
    """`[length]` token ids without the special one."""
    return torch.randint(1, VOCAB_SIZE, (length,), generator=torch.Generator().manual_seed(seed))
