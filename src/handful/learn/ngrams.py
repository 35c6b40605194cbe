"""Vectors of texts without a model: counts of character n-grams, hashed. What selection compares by where there is no
encoder, and good where the form of a text decides (verb forms, names, formats)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from handful.task.inputs import Input, values_of
from handful.task.task import Task

NUM_FEATURES = 1_024


class Encoder(Protocol):
    """Turns texts into vectors, each text by itself; an embedding model, or `Ngrams`."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[len(texts), num_features]`."""
        ...


@dataclass(frozen=True, slots=True)
class Ngrams:
    """1 + log(count) of each n-gram of `sizes` within a word, the word's ends marked, hashed into columns."""

    sizes: tuple[int, ...] = (2, 3, 4)
    num_features: int = NUM_FEATURES

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.embed`; no value is negative."""
        rows = np.zeros((len(texts), self.num_features), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            # crc32 and not `hash`, which differs from one process to the next
            counts = Counter(crc32(gram.encode()) % self.num_features for gram in self._grams(text))
            row[list(counts)] = 1.0 + np.log(list(counts.values())) if counts else 0.0
        return rows

    def _grams(self, text: str) -> list[str]:
        words = [f" {word} " for word in text.lower().split()]
        return [word[i : i + size] for word in words for size in self.sizes for i in range(len(word) - size + 1)]


def texts_to_compare(task: Task, inputs: Sequence[Input]) -> list[str]:
    """What of an input is compared: the values of its variables, one a line. Raises InvalidInputError."""
    return [joined(task, values_of(task, given)) for given in inputs]


def vectors_of(encoder: Encoder, task: Task, inputs: Sequence[Input]) -> NDArray[np.float64]:
    """The encoder's vectors of inputs: `[n, num_features]`."""
    return encoder.embed(texts_to_compare(task, inputs)).astype(np.float64)


def joined(task: Task, values: Mapping[str, str]) -> str:
    """The values of the task's variables in their order, one a line."""
    return "\n".join(values[name] for name in task.variables)
