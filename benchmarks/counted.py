"""A request's arithmetic and reading, counted from the model's shape."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.config import settings
from handful.model.source import resolve
from shapes import folder_of


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's shape costs time.

    layer_weights  weights of all layers' matrices
    head_weights   weights of the matrix that makes logits
    windows        for each layer how many tokens back it looks
    attention      heads times head dimension (queries)
    key_value      keys and values a token and layer, in elements
    """

    layer_weights: int
    head_weights: int
    windows: tuple[int, ...]
    attention: int
    key_value: int


def shape_of(model: str) -> Shape:
    """From a model's config.json: Llama's and GPT-Neo's kinds. SystemExit for others."""
    folder = resolve(folder_of(model), settings=settings()).folder
    config = json.loads((Path(folder) / "config.json").read_text())
    kinds = {"gpt_neo": _gpt_neo, "llama": _llama}
    if config["model_type"] not in kinds:
        raise SystemExit(f"operations are counted for {', '.join(kinds)}, not for {config['model_type']}")
    return kinds[config["model_type"]](config)


def _gpt_neo(config: dict[str, Any]) -> Shape:
    hidden, layers = config["hidden_size"], config["num_layers"]
    kinds = [kind for pattern, times in config["attention_types"] for _ in range(times) for kind in pattern]
    whole = config["max_position_embeddings"]
    windows = tuple(config["window_size"] if kind == "local" else whole for kind in kinds)
    each = 4 * hidden**2 + 2 * hidden * (config.get("intermediate_size") or 4 * hidden)
    return Shape(layers * each, hidden * config["vocab_size"], windows, hidden, 2 * hidden)


def _llama(config: dict[str, Any]) -> Shape:
    hidden, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
    size = config.get("head_dim") or hidden // heads
    key_value = 2 * size * config["num_key_value_heads"]
    attention = hidden * (2 * heads * size + key_value)
    each = attention + 3 * hidden * config["intermediate_size"]
    windows = (config["max_position_embeddings"],) * layers
    return Shape(layers * each, hidden * config["vocab_size"], windows, heads * size, key_value)


def operations(shape: Shape, prompt: int, shared: int, new: int, requests: int) -> float:
    """Operations of one of `requests` requests whose prompts have `prompt` tokens, the first `shared` in common.

    `new` tokens are generated (the last is not read); 0 stands for two labels of one token, read off one row.
    """
    decoded = max(0, new - 1)
    own = _span(shape, shared, prompt + decoded) + 2.0 * shape.head_weights * max(1, new)
    return own + _span(shape, 0, shared) / requests


def operations_together(shape: Shape, prompts: Sequence[Sequence[int]], new: int, known: int = 0) -> float:
    """Operations of all prompts, where whatever several of them begin with is computed once.

    `new` tokens are generated for each (the last is not read). The first `known` tokens are computed already.
    """
    seen, total = set(), 0.0
    for prompt in prompts:
        so_far = 0
        for position, token in enumerate(prompt):
            so_far = hash((so_far, token))
            if position >= known and so_far not in seen:
                seen.add(so_far)
                total += _span(shape, position, position + 1)
        total += _span(shape, len(prompt), len(prompt) + new - 1) + 2.0 * shape.head_weights * new
    return total


def _span(shape: Shape, start: int, stop: int) -> float:
    """Operations of the layers for the tokens at positions `start` to `stop`."""
    products = 2.0 * shape.layer_weights * (stop - start)
    seen = sum(min(position + 1, window) for window in shape.windows for position in range(start, stop))
    return products + 4.0 * shape.attention * seen


def read_bytes(shape: Shape, prompt: int, steps: float, bytes_a_number: int, *, is_greedy: bool) -> float:
    """Bytes that `steps` sequential passes read at least: all weights, and the cached keys and values in their type.

    In int8 a greedy pass reads half of the head.
    """
    head = shape.head_weights / 2 if is_greedy and bytes_a_number == 1 else shape.head_weights
    cached = shape.key_value * sum(min(prompt, window) for window in shape.windows)
    return steps * bytes_a_number * (shape.layer_weights + head + cached)
