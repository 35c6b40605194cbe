"""An encoder without tensors that can be tuned, for tests: what it is told it knows, of all else it gives noise."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from handful.errors import CheckpointError
from handful.learn.probability import Classes
from handful.learn.tuned import Progress, Weights
from handful.types import EncoderTuning

DIM = 8


class Rote:
    """A tunable `NamedEncoder`. A text that it was tuned with is encoded as its class; `signal` is what it says of
    any other "<word> <number>", by its word. Its weights are the classes of the texts, by their checksums."""

    def __init__(self, signal: float = 0.0, weights: Weights | None = None) -> None:
        self.name, self.revision, self.dim, self.signal = "rote", "", DIM, signal
        self.weights: Weights = weights or {}
        self.tunings: list[tuple[int, EncoderTuning]] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[len(texts), DIM]`."""
        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(-1, DIM)

    def tuned(
        self, texts: Sequence[str], classes: Classes, settings: EncoderTuning, advance: Progress | None = None
    ) -> "Rote":
        """Another one that knows these texts."""
        self.tunings.append((len(texts), settings))
        if advance is not None:
            advance(settings.num_steps, settings.num_steps)
        known = {_key(text): np.full(1, label, dtype=np.float32) for text, label in zip(texts, classes, strict=True)}
        return Rote(self.signal, known)

    def with_weights(self, weights: Mapping[str, NDArray[np.float32]]) -> "Rote":
        """Another one with these weights."""
        if any(weight.shape != (1,) for weight in weights.values()):
            raise CheckpointError("The tuned weights are not those of rote.")
        return Rote(self.signal, weights)

    def _vector(self, text: str) -> NDArray[np.float64]:
        vector = np.random.default_rng(zlib.crc32(text.encode())).normal(size=DIM)
        vector[zlib.crc32(text.split()[0].encode()) % DIM] += self.signal
        if _key(text) in self.weights:
            vector = np.zeros(DIM)
            vector[int(self.weights[_key(text)][0])] = 1.0
        return vector


def _key(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
