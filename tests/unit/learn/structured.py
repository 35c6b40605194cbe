"""A backend whose scores and hidden states have a known structure, so that a predictor's choice can be judged.

An input is "<word> <number>": the word is its true label's, the number makes it one of many. Scores are
`score_signal` nats towards the true label, a bias that belongs to the prompt's prefix, and noise; hidden states are
`state_signal` along the label's direction, and noise. All of it is a function of the texts alone.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handful.task.task import Example, Task
from tests.fakes import FakeBackend

LABELS = ("bad", "good")
NUM_FEATURES = 32


def task(labels: tuple[str, ...] = LABELS) -> Task:
    """The task that the inputs belong to."""
    return Task(name="t", input="Text: {text}", output="Label: {output}", separator="\n\n", labels=labels)


def inputs(label: str, numbers: Sequence[int]) -> list[str]:
    """Inputs whose true label is `label`."""
    return [f"{label} {number}" for number in numbers]


def examples(num_each: int, labels: tuple[str, ...] = LABELS, start: int = 0) -> list[Example]:
    """`num_each` examples of every label."""
    return [
        Example({"text": text}, label) for label in labels for text in inputs(label, range(start, start + num_each))
    ]


def noise(*parts: object) -> np.random.Generator:
    """Numbers that depend on `parts` alone."""
    return np.random.default_rng(zlib.crc32("|".join(map(str, parts)).encode()))


class StructuredBackend(FakeBackend):
    """See the top of this file. With `seed` the noise differs."""

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = LABELS,
        score_signal: float = 1.0,
        state_signal: float = 1.0,
        bias: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(context_length=100_000, logprob=self._logprob)
        self.labels = labels
        self.signals = (score_signal, state_signal)
        self.bias = bias
        self.seed = seed
        self.directions = noise("directions", seed).normal(size=(len(labels), NUM_FEATURES))
        self.directions /= np.linalg.norm(self.directions, axis=1, keepdims=True)

    def embed(self, texts: Sequence[str], *, layer: int | None = None) -> NDArray[np.float32]:
        """`[n, NUM_FEATURES]`."""
        self.calls.append(("embed", len(texts)))
        return np.array([self._state(text) for text in texts], dtype=np.float32).reshape(-1, NUM_FEATURES)

    def _state(self, prompt: str) -> NDArray[np.float64]:
        _, asked, label = self._parts(prompt)
        state = noise("state", asked, self.seed).normal(size=NUM_FEATURES)
        if label in self.labels:
            state = state + self.signals[1] * self.directions[self.labels.index(label)] * 4
        return state

    def _logprob(self, prompt: str, continuation: str) -> float:
        prefix, asked, label = self._parts(prompt)
        scored = continuation.strip()
        value = noise("score", asked, scored, self.seed).normal() * 0.5
        value += self.bias * noise("bias", prefix, scored, self.seed).normal()
        return float(value + (self.signals[0] if scored == label else 0.0) - 3.0)

    def _parts(self, prompt: str) -> tuple[str, str, str]:
        """What stands before the query, the query, and its first word."""
        prefix, _, query = prompt.rpartition("Text:")
        asked = query.partition("\n")[0].strip()
        return prefix, asked, asked.partition(" ")[0]
