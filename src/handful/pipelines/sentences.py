"""What a sentence-transformers folder says about making one vector of a text's tokens: pooling, dense layers, length 1.

Its modules.json lists modules by the names of Python classes. They are data here: a fixed few are known, and a list
that names another is refused. Nothing that they name is imported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handful.errors import CheckpointError
from handful.model.checkpoint import Checkpoint, read_json_object
from handful.pipelines.tasks import MODULES_FILE, read_modules

Step = Callable[[Tensor], Tensor]
_ACTIVATIONS: dict[str, Step] = {
    "torch.nn.modules.activation.Tanh": torch.tanh,
    "torch.nn.modules.linear.Identity": lambda vectors: vectors,
    "torch.nn.modules.activation.ReLU": torch.relu,
    "torch.nn.modules.activation.GELU": torch.nn.functional.gelu,
}
_POOLINGS = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


@dataclass(frozen=True, slots=True)
class SentenceFiles:
    """How a folder makes vectors. `poolings` are joined in their order; `steps` follow on `[texts, dim]`."""

    poolings: tuple[str, ...]
    steps: tuple[Step, ...]
    max_tokens: int | None
    prompts: dict[str, str]
    default_prompt: str | None


def read_sentence_files(folder: Path) -> SentenceFiles:
    """Read the folder's modules. CheckpointError for one of a kind that handful doesn't know, or a damaged file."""
    modules = [_module(entry) for entry in read_modules(folder)]
    if not modules or modules[0][0] != "Transformer" or modules[0][1] not in ("", "."):
        raise CheckpointError(
            f"{MODULES_FILE} in {folder} doesn't begin with a Transformers model in the folder itself."
        )
    poolings: tuple[str, ...] = ()
    steps: list[Step] = []
    for kind, path in modules[1:]:
        if kind == "Pooling":
            poolings = _poolings(_inside(folder, path))
        elif kind == "Normalize":
            steps.append(unit_length)
        elif kind == "Dense":
            steps.append(_dense(_inside(folder, path)))
        else:
            raise CheckpointError(f"{MODULES_FILE} in {folder} names a module {kind!r} that handful doesn't know.")
    if not poolings:
        raise CheckpointError(f"{MODULES_FILE} in {folder} names no pooling, so a text has no one vector.")
    settings = _optional(folder / "sentence_bert_config.json")
    prompts = _optional(folder / "config_sentence_transformers.json")
    length = settings.get("max_seq_length")
    return SentenceFiles(
        poolings=poolings,
        steps=tuple(steps),
        max_tokens=length if isinstance(length, int) and length > 0 else None,
        prompts={str(name): str(text) for name, text in (prompts.get("prompts") or {}).items()},
        default_prompt=prompts.get("default_prompt_name"),
    )


def pooled(states: Tensor, mask: Tensor, poolings: Sequence[str]) -> Tensor:
    """`[texts, tokens, hidden]` and a mask `[texts, tokens]` -> `[texts, hidden * poolings]`."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return torch.cat([_pooled(states, weights, pooling) for pooling in poolings], dim=1)


def unit_length(vectors: Tensor) -> Tensor:
    """`[texts, dim]`, each scaled to length 1."""
    return torch.nn.functional.normalize(vectors, dim=-1)


def _pooled(states: Tensor, weights: Tensor, pooling: str) -> Tensor:
    rows = torch.arange(len(states), device=states.device)
    used = weights[..., 0] > 0
    if pooling == "cls_token":
        return states[rows, used.int().argmax(dim=1)]
    if pooling == "lasttoken":
        last = states.shape[1] - 1 - used.flip(1).int().argmax(dim=1)
        return states[rows, last]
    if pooling == "max_tokens":
        return states.masked_fill(weights == 0, -torch.inf).amax(dim=1)
    if pooling == "weightedmean_tokens":
        weights = weights * weights.cumsum(dim=1)
    total = (states * weights).sum(dim=1)
    count = weights.sum(dim=1)
    return total / (count.sqrt() if pooling == "mean_sqrt_len_tokens" else count)


def _module(entry: Any) -> tuple[str, str]:
    """The last word of a module's class, and its folder."""
    kind, path = (entry.get("type"), entry.get("path")) if isinstance(entry, dict) else (None, None)
    if not isinstance(kind, str) or not isinstance(path, str) or not kind.startswith("sentence_transformers."):
        raise CheckpointError(f"{MODULES_FILE} names a module that handful doesn't know: {entry!r:.100}.")
    return kind.rpartition(".")[2], path


def _inside(folder: Path, path: str) -> Path:
    """A module's own folder, which lies directly in the model's."""
    if not path or path != Path(path).name or path == "..":
        raise CheckpointError(f"{MODULES_FILE} names a folder {path!r} that isn't directly in the model's.")
    return folder / path


def _poolings(folder: Path) -> tuple[str, ...]:
    config = read_json_object(folder / "config.json")
    if config.get("include_prompt") is False:
        raise CheckpointError("The pooling leaves the prompt's tokens out (include_prompt), which handful doesn't.")
    asked = [
        name.removeprefix("pooling_mode_") for name, on in config.items() if name.startswith("pooling_mode_") and on
    ]
    if unknown := [name for name in asked if name not in _POOLINGS]:
        raise CheckpointError(f"The pooling {unknown[0]!r} is not one that handful knows: {', '.join(_POOLINGS)}.")
    if not asked:
        raise CheckpointError(f"{folder / 'config.json'} names no pooling that handful knows: {', '.join(_POOLINGS)}.")
    return tuple(name for name in _POOLINGS if name in asked)


def _dense(folder: Path) -> Step:
    """A linear layer with its activation; the weights come from a safetensors file or one without code."""
    config = read_json_object(folder / "config.json")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    if name not in _ACTIVATIONS:
        raise CheckpointError(f"The activation {name!r} is not one that handful knows.")
    activation = _ACTIVATIONS[name]
    with Checkpoint(folder) as checkpoint:
        weight = checkpoint.tensor("linear.weight").float()
        bias = checkpoint.tensor("linear.bias").float() if "linear.bias" in checkpoint else None

    def step(vectors: Tensor) -> Tensor:
        on_device = None if bias is None else bias.to(vectors.device)
        return activation(torch.nn.functional.linear(vectors, weight.to(vectors.device), on_device))

    return step


def _optional(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.is_file() else {}
