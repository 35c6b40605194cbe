"""Tuning the start of a prompt: the keys and values that a model keeps of its examples are what is trained.

Begun at those of real examples, they are moved until the labels of all labelled rows are likely behind them; the model
itself stays as it is (prefix tuning, arXiv 2101.00190, begun at examples as in context tuning, arXiv 2507.04221). A row
that is one of the examples doesn't see itself, and no row sees all of the prefix (dropout), so that it isn't learned by
heart. What comes out stands in a cache like any computed prefix, so a query costs what it did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from handful.errors import CheckpointError, InvalidInputError
from handful.types import PrefixTuning, TunedPrefix

Progress = Callable[[int, int], None]  # steps done, of how many
_WARM_UP = 0.1  # share of the steps in which the learning rate rises


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled row: its prompt's tokens behind the prefix, its label's place among the labels, and which block of the
    prefix tells its answer, if any."""

    ids: tuple[int, ...]
    label: int
    block: int | None = None


def tuned_prefix(
    model: Any,
    blocks: Sequence[Sequence[int]],
    rows: Sequence[Row],
    labels: Sequence[int],
    settings: PrefixTuning,
    advance: Progress | None = None,
) -> TunedPrefix:
    """A prefix that begins as the tokens of `blocks` (an example each) and is tuned with `rows`.

    `model` is a causal language model of Transformers'; `labels` are the first tokens of the labels, all different.
    Raises InvalidInputError for labels that begin alike, CheckpointError for a model whose memory isn't keys and values
    of every token.
    """
    check_labels(labels)
    model.requires_grad_(False)
    layers = [(keys.requires_grad_(), values.requires_grad_()) for keys, values in _kept(model, blocks)]
    trained = [tensor for pair in layers for tensor in pair]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    masks = _Masks([len(block) for block in blocks], settings)
    batches = _batches(len(rows), settings)
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _pace(step, len(batches))
        asked = [rows[index] for index in batch]
        logits = _logits(model, layers, asked, masks.of(asked))[:, list(labels)]
        loss = cross_entropy(logits.float(), torch.tensor([row.label for row in asked]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if advance is not None:
            advance(step + 1, len(batches))
    return TunedPrefix(*(_stacked([pair[part] for pair in layers]) for part in (0, 1)))


def check_labels(labels: Sequence[int]) -> None:
    """Raise InvalidInputError for labels whose first tokens are the same: tuning looks no further."""
    if len(set(labels)) < len(labels):
        raise InvalidInputError("Two labels begin with the same token.", fix="Choose other words, or tune no prompts.")


def _kept(model: Any, blocks: Sequence[Sequence[int]]) -> list[tuple[Tensor, Tensor]]:
    """What the model keeps of the blocks, layer by layer: keys and values `[1, kv heads, tokens, head size]`."""
    ids = torch.tensor([[token for block in blocks for token in block]])
    with torch.no_grad():
        cache = model(ids, use_cache=True, logits_to_keep=1).past_key_values
    layers: list[tuple[Any, Any]] = [
        (getattr(one, "keys", None), getattr(one, "values", None)) for one in getattr(cache, "layers", ())
    ]
    if not layers or any(keys is None or values is None or keys.shape[2] != ids.shape[1] for keys, values in layers):
        raise CheckpointError("This model's memory is not keys and values of every token, so it has no prefix to tune.")
    return [(keys.float().clone(), values.float().clone()) for keys, values in layers]


class _Masks:
    """Which tokens of the prefix a row sees: not its own example, and of the others all but a random part."""

    def __init__(self, lengths: Sequence[int], settings: PrefixTuning) -> None:
        self._ends = np.cumsum([0, *lengths])
        self._dropout = settings.dropout
        self._draw = torch.Generator().manual_seed(settings.seed)

    def of(self, rows: Sequence[Row]) -> Tensor:
        """`[len(rows), tokens]`, 1 for what is seen."""
        masks = (torch.rand(len(rows), int(self._ends[-1]), generator=self._draw) >= self._dropout).long()
        for mask, row in zip(masks, rows, strict=True):
            if row.block is not None:
                mask[self._ends[row.block] : self._ends[row.block + 1]] = 0
        return masks


def _logits(model: Any, layers: Sequence[tuple[Tensor, Tensor]], rows: Sequence[Row], seen: Tensor) -> Tensor:
    """What the model says behind each row, `[len(rows), vocabulary]`. Rows are padded at their start."""
    from transformers import DynamicCache

    num_rows, num_prefix = seen.shape
    length = max(len(row.ids) for row in rows)
    ids = torch.zeros(num_rows, length, dtype=torch.long)
    own = torch.zeros(num_rows, length, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, length - len(row.ids) :] = torch.tensor(row.ids)
        own[index, length - len(row.ids) :] = 1
    cache = DynamicCache()
    for index, pair in enumerate(layers):
        keys, values = (tensor.to(model.dtype).expand(num_rows, -1, -1, -1) for tensor in pair)
        cache.update(keys, values, index)
    answer = model(
        input_ids=ids,
        attention_mask=torch.cat([seen, own], dim=1),
        position_ids=num_prefix + (own.cumsum(dim=1) - 1).clamp(min=0),
        past_key_values=cache,
        logits_to_keep=1,
    )
    logits: Tensor = answer.logits[:, -1]
    return logits


def _batches(num_rows: int, settings: PrefixTuning) -> list[list[int]]:
    """Which rows each step asks: every row once an epoch, in a random order."""
    draw = np.random.default_rng(settings.seed)
    found: list[list[int]] = []
    for _ in range(settings.num_epochs):
        order = draw.permutation(num_rows).tolist()
        found += [order[at : at + settings.batch_size] for at in range(0, num_rows, settings.batch_size)]
    return found


def _stacked(layers: Sequence[Tensor]) -> Any:
    """`[layers, tokens, kv heads, head size]` from each layer's `[1, kv heads, tokens, head size]`."""
    return torch.stack([layer.detach()[0].transpose(0, 1) for layer in layers]).contiguous().numpy()


def _pace(step: int, num_steps: int) -> float:
    """What part of the learning rate a step takes: it rises over the first tenth, then falls to nothing."""
    return min(1.0, (step + 1) / (_WARM_UP * num_steps + 1)) * (1 - step / num_steps)
