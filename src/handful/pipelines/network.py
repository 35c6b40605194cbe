"""A network and its tokenizer: texts to rows of tokens, rows to outputs in batches. Knows no task.

Invariant: a row is never longer than the network takes; what would be is cut where that was asked for, or refused.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from handful.errors import CheckpointError, InvalidInputError, PromptTooLongError
from handful.pipelines.batching import length_batches

T = TypeVar("T")
Inputs = dict[str, Tensor]
_UNLIMITED = 1_000_000  # tokenizers without a limit name a number far above


@dataclass(frozen=True, slots=True)
class Row:
    """The tokens of a text, a pair or a window of one. `encoding` tells their places; slow tokenizers have none."""

    ids: list[int]
    type_ids: list[int] | None
    encoding: Any = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Cut:
    """What becomes of a text that is too long: cut to `max_tokens`, at the `side` given; of a pair only `part`."""

    side: str = "right"
    part: str = "longest_first"


class Network:
    """A loaded model with its tokenizer, on its device. Not safe for several threads at once: its user takes turns."""

    def __init__(self, name: str, model: Any, tokenizer: Any, max_tokens: int | None = None) -> None:
        """`max_tokens` is a limit of the model's own files, below what its positions allow."""
        self.name, self.model, self.tokenizer = name, model, tokenizer
        self.max_tokens = min(_num_positions(model), _tokenizer_limit(tokenizer), max_tokens or _UNLIMITED)
        self.settings: dict[str, Any] = {}  # of generation; empty for a model that doesn't generate
        self._known = inspect.signature(model.forward).parameters

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

    def require_places(self) -> None:
        """CheckpointError for a tokenizer that doesn't tell which characters a token stands for."""
        if not self.tokenizer.is_fast:
            raise CheckpointError(
                f"The tokenizer of {self.name} doesn't tell which characters a token stands for; this task needs it.",
                fix="Add a tokenizer.json to its folder, or take another model.",
            )

    def rows(self, texts: Sequence[str], pairs: Sequence[str] | None, cut: Cut | None, fix: str) -> list[Row]:
        """A row for each text (or pair of texts), cut as `cut` says.

        Raises InvalidInputError for a text without anything in it, PromptTooLongError for one that is too long where
        `cut` is None, with `fix` for what to do.
        """
        check_texts(texts)
        arguments: dict[str, Any] = {"verbose": False}
        if cut is not None:
            self.tokenizer.truncation_side = cut.side
            arguments |= {"truncation": cut.part, "max_length": self.max_tokens}
        rows = self._rows(self.tokenizer(list(texts), None if pairs is None else list(pairs), **arguments))
        for row in rows:
            if len(row) > self.max_tokens:
                raise too_long(self.name, len(row), self.max_tokens, fix)
        return rows

    def windows(self, first: str, second: str | None, part: str, max_tokens: int, stride: int) -> list[Row]:
        """The rows of one text (or pair) in overlapping windows; `part` is what is cut into windows."""
        self.tokenizer.truncation_side = "right"
        encoded = self.tokenizer(
            first,
            second,
            truncation=part,
            max_length=max_tokens,
            stride=stride,
            return_overflowing_tokens=True,
            verbose=False,
        )
        return self._rows(encoded)

    @torch.inference_mode()
    def outputs(self, rows: Sequence[Row], read: Callable[[Any, Inputs], Sequence[T]], **arguments: Any) -> list[T]:
        """Run the rows in batches and `read(outputs, inputs)` each: one value a row. Inputs are `[rows, tokens]`."""
        values: dict[int, T] = {}
        can_pad = self.tokenizer.pad_token_id is not None
        batches = length_batches([len(row) for row in rows]) if can_pad else ([i] for i in range(len(rows)))
        for batch in batches:
            inputs = self.padded([rows[i] for i in batch])
            found = read(self.model(**inputs, **arguments), inputs)
            values |= dict(zip(batch, found, strict=True))
        return [values[i] for i in range(len(rows))]

    def _rows(self, encoded: Any) -> list[Row]:
        ids = encoded["input_ids"]
        type_ids = encoded.get("token_type_ids") or [None] * len(ids)
        encodings = encoded.encodings or [None] * len(ids)
        return [Row(*parts) for parts in zip(ids, type_ids, encodings, strict=True)]

    def padded(self, rows: Sequence[Row]) -> Inputs:
        """Rows as tensors `[rows, tokens]`, as long as the longest; padding on the tokenizer's own side."""
        columns: dict[str, tuple[list[list[int]], int]] = {
            "input_ids": ([row.ids for row in rows], self.tokenizer.pad_token_id or 0),
            "attention_mask": ([[1] * len(row) for row in rows], 0),
        }
        if "token_type_ids" in self._known and rows[0].type_ids is not None:
            columns["token_type_ids"] = ([row.type_ids or [] for row in rows], self.tokenizer.pad_token_type_id)
        width, on_left = max(len(row) for row in rows), self.tokenizer.padding_side == "left"
        return {name: self._tensor(lists, padding, width, on_left) for name, (lists, padding) in columns.items()}

    def _tensor(self, lists: list[list[int]], padding: int, width: int, on_left: bool) -> Tensor:
        fills = [[padding] * (width - len(row)) for row in lists]
        full = [fill + row if on_left else row + fill for fill, row in zip(fills, lists, strict=True)]
        return torch.tensor(full, dtype=torch.int64, device=self.device)


def check_texts(texts: Sequence[str]) -> None:
    """Refuse a list without texts, what is not text, and a text without anything in it (InvalidInputError)."""
    if not texts:
        raise InvalidInputError("The list of inputs is empty.", fix="Send at least one text.")
    for position, text in enumerate(texts):
        which = f" (number {position + 1} of {len(texts)})" if len(texts) > 1 else ""
        if not isinstance(text, str):
            raise InvalidInputError(f"The input{which} must be text, not {type(text).__name__}.")
        if not text.strip():
            raise InvalidInputError(f"The input{which} is empty.", fix="Send some text.")


def too_long(name: str, num_tokens: int, max_tokens: int, fix: str) -> PromptTooLongError:
    """The error for a text that doesn't fit."""
    return PromptTooLongError(f"The input has {num_tokens} tokens, and {name} takes at most {max_tokens}.", fix=fix)


def _tokenizer_limit(tokenizer: Any) -> int:
    limit = tokenizer.model_max_length
    return min(int(limit), _UNLIMITED) if isinstance(limit, int | float) and limit > 0 else _UNLIMITED


def _num_positions(model: Any) -> int:
    """Tokens that the positions allow. RoBERTa's table of positions starts behind its padding token's."""
    for name, module in model.named_modules():
        if name.endswith("embeddings.position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.num_embeddings) - int(module.padding_idx) - 1
    config = model.config.get_text_config()
    keys = ("max_encoder_position_embeddings", "max_position_embeddings")
    lengths = (getattr(config, key, None) for key in keys)
    return next((length for length in lengths if isinstance(length, int) and length > 0), _UNLIMITED)
