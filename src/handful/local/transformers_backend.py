"""Any causal language model that handful's own decoder doesn't know, through Transformers, behind the same `Backend`.

Transformers is imported only when such a model is loaded. `trust_remote_code` is off without a switch: code
in a checkpoint never runs. Everything but the model's own forward pass is handful's: sampling, end sequences,
streaming, scoring, limits.
"""

import logging
from dataclasses import replace
from typing import Any

import torch

from handful.config import Settings
from handful.engine.arena import Arena
from handful.engine.engine import Engine
from handful.engine.segment_tree import SegmentTree
from handful.local.model import LocalModel
from handful.local.native import limits_of
from handful.local.transformers_runner import OneByOne, TransformersRunner
from handful.model.fingerprint import fingerprint
from handful.model.precision import dtype_name, resolve_device, resolve_precision
from handful.model.source import ModelFiles
from handful.model.tokenizer import Tokenizer
from handful.pipelines.pretrained import load_pretrained
from handful.types import Device, ModelInfo, Precision

_log = logging.getLogger(__name__)

MAX_RUNNING_REQUESTS = 16  # side by side; they take turns, so more of them would only hold memory
DEFAULT_CONTEXT_LENGTH = 2048  # where the configuration names none (ALiBi, recurrent models)
_LENGTH_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")


def transformers_model(files: ModelFiles, precision: Precision, device: Device, settings: Settings) -> LocalModel:
    """A model whose forward pass is Transformers'. Slower than a native one: requests run one by one.

    Raises CheckpointError where Transformers is missing or can't load it, NotFoundError.
    """
    place = resolve_device(device)
    dtype = resolve_precision(precision, place)
    model = load_pretrained("AutoModelForCausalLM", files, dtype, "a causal language model").to(place)
    config = model.config.get_text_config()
    info = _describe(files, model, _context_length(config), dtype_name(dtype), place.type)
    tokenizer = Tokenizer(files.folder, info.vocab_size)
    runner = TransformersRunner(model, place)
    bytes_per_token = _kv_bytes_per_token(config, dtype)
    limits = limits_of(settings, bytes_per_token)
    limits = replace(limits, max_running_requests=min(limits.max_running_requests, MAX_RUNNING_REQUESTS))
    scheduler = OneByOne(SegmentTree(Arena(limits.num_slots)), limits, runner.caches)
    _log.warning("%s (%s) runs through Transformers, one request at a time", files.name, info.architecture)
    engine = Engine(runner, scheduler, frozenset(tokenizer.eos_token_ids))
    return LocalModel(engine, tokenizer, info, settings, limits.num_slots * bytes_per_token)


def _context_length(config: Any) -> int:
    lengths = (getattr(config, key, None) for key in _LENGTH_KEYS)
    return next((length for length in lengths if isinstance(length, int) and length > 0), DEFAULT_CONTEXT_LENGTH)


def _kv_bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Bytes of keys and values that one token keeps, by the configuration's sizes (full attention in every layer)."""
    heads = getattr(config, "num_attention_heads", None) or 1
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * config.num_hidden_layers * kv_heads * head_dim * dtype.itemsize)


def _describe(files: ModelFiles, model: Any, context_length: int, precision: str, device: str) -> ModelInfo:
    config = model.config.get_text_config()
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelInfo(
        name=files.name,
        architecture=model.config.model_type,
        engine="transformers",
        num_parameters=num_parameters,
        context_length=context_length,
        vocab_size=model.get_output_embeddings().weight.shape[0],
        hidden_size=config.hidden_size,
        num_layers=config.num_hidden_layers,
        precision=precision,
        device=device,
        source=files.source,
        revision=files.revision,
        weight_bytes=sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()),
        details={"files": fingerprint(files.folder)},
    )
