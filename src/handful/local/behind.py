"""A model behind a prefix that no text has: keys and values that were learned, held by the engine like a pinned prefix."""

import weakref
from collections.abc import Sequence

import torch
from numpy.typing import NDArray

from handful.engine.engine import Engine
from handful.errors import InvalidInputError
from handful.local.model import LocalModel
from handful.types import ModelInfo, Score, TunedPrefix


class ModelBehind:
    """Scores continuations of prompts that stand behind a learned prefix. The prefix goes when this does."""

    def __init__(self, model: LocalModel, prefix: TunedPrefix) -> None:
        self._model = model
        self._tokens = _held(model, prefix)
        weakref.finalize(self, model.loop.unpin, self._tokens)

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it runs."""
        return self._model.info

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[Score]:
        """See `Backend.score`; the prompts are what comes behind the prefix."""
        return self._model.score(prompts, continuations, behind=self._tokens)

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` and the prefix have."""
        return len(self._tokens) + self._model.count_tokens(text)


def _held(model: LocalModel, prefix: TunedPrefix) -> tuple[int, ...]:
    keys, values = _tensor(prefix.keys), _tensor(prefix.values)
    found: list[tuple[int, ...]] = []

    def hold(engine: Engine) -> None:
        found.append(engine.hold(keys, values))

    model.loop.call(hold)
    return found[0]


def _tensor(array: NDArray[object]) -> torch.Tensor:
    if array.ndim != 4:
        raise InvalidInputError(f"The keys or values of a prefix have {array.ndim} dimensions in place of 4.")
    return torch.from_numpy(array)
