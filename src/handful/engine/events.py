"""What the engine says of a request, in order: prompt log-probabilities, tokens, then exactly one end or failure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handful.engine.request import Request
from handful.engine.sampler import Sampled
from handful.types import FinishReason


@dataclass(frozen=True, slots=True)
class PromptRead:
    """Log-probabilities of prompt tokens `[first, first + len(sampled))`, in the order of the prompt."""

    request: Request
    first: int
    sampled: tuple[Sampled, ...]


@dataclass(frozen=True, slots=True)
class TokenDrawn:
    """A generated token and the text that it released (often "", while an end sequence may be under way)."""

    request: Request
    sampled: Sampled
    text: str


@dataclass(frozen=True, slots=True)
class Completed:
    """A text is finished. `text` is what was still held back; `stop` the end sequence that matched, or ""."""

    request: Request
    reason: FinishReason
    text: str
    stop: str


@dataclass(frozen=True, slots=True)
class Scored:
    """The log-probability of every continuation, in the order of the trie's reads."""

    request: Request
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The hidden state at the prompt's last token that was asked for, `[hidden]` float32."""

    request: Request
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Warmed:
    """The prompt's keys and values are computed and held."""

    request: Request


@dataclass(frozen=True, slots=True)
class Failed:
    """The request ended without an answer."""

    request: Request
    error: Exception


End = Completed | Scored | Embedded | Warmed | Failed
Event = PromptRead | TokenDrawn | End
