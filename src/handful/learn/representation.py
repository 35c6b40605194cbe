"""Reading the representation of an input: a vector for each text, and a classifier (a head) on top.

Two representations share one protocol: the language model's hidden state where the answer begins, behind the few-shot
prompt (whose prefix is computed once), and the vectors of an encoder that never sees a prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from handful.errors import InvalidInputError
from handful.learn.heads import Head, HeadKind, Neighbours
from handful.learn.logistic import Logistic
from handful.learn.predictor import Predictor
from handful.learn.probability import Classes, Matrix, normalise
from handful.learn.reading import Reader
from handful.task.inputs import Input
from handful.task.problem import did_you_mean, join_words


class Embedder(Protocol):
    """Turns inputs into vectors, each input by itself."""

    def vectors(self, inputs: Sequence[Input]) -> Matrix:
        """`[len(inputs), num_features]`. Raises InvalidInputError, PromptTooLongError."""
        ...


@dataclass(frozen=True, slots=True)
class PromptEmbedder:
    """The model's hidden state at the answer position (PALP, arXiv 2212.10873; arXiv 2406.16535)."""

    reader: Reader

    def vectors(self, inputs: Sequence[Input]) -> Matrix:
        """See `Embedder.vectors`."""
        return self.reader.hidden_states(inputs)


@dataclass(frozen=True, slots=True)
class DistributionEmbedder:
    """The label distribution that the prompt gives, as features for kNN prompting (arXiv 2303.13824).

    The paper takes the distribution over the whole vocabulary; a `Backend` gives that of the labels.
    """

    reader: Reader

    def vectors(self, inputs: Sequence[Input]) -> Matrix:
        """See `Embedder.vectors`; each row sums to 1."""
        return np.exp(self.reader.log_probabilities(inputs))


class RepresentationPredictor(Predictor):
    """A head on an embedder's vectors. `fit` it before it predicts."""

    def __init__(self, embedder: Embedder, labels: Sequence[str], kind: HeadKind | None = None) -> None:
        self.embedder = embedder
        self.kind: HeadKind = kind or Logistic()
        self.head: Head | None = None
        self._labels = tuple(labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns."""
        return self._labels

    def fit(self, inputs: Sequence[Input], labels: Sequence[str]) -> Self:
        """Learn from labelled inputs; every label must occur. Raises InvalidInputError."""
        classes = classes_of(labels, self._labels)
        if len(inputs) != len(classes):
            raise InvalidInputError(f"There are {len(inputs)} inputs and {len(classes)} labels.")
        missing = [label for index, label in enumerate(self._labels) if index not in classes]
        if missing:
            raise InvalidInputError(f"No example has the label {join_words(missing)}.", fix="Give one of each.")
        self.head = self.kind.fit(self.embedder.vectors(inputs), classes, len(self._labels))
        return self

    def probabilities(self, inputs: Sequence[Input]) -> Matrix:
        """See `Predictor.probabilities`. InvalidInputError before `fit`."""
        if self.head is None:
            raise InvalidInputError("This predictor has learned nothing yet.", fix="Call fit(inputs, labels) first.")
        return normalise(self.head.log_probabilities(self.embedder.vectors(inputs)))


def knn_predictor(reader: Reader, *, k: int = 3) -> RepresentationPredictor:
    """kNN prompting: the labels of the examples whose label distributions are nearest in KL divergence."""
    return RepresentationPredictor(DistributionEmbedder(reader), reader.labels, Neighbours(k, "kl"))


def classes_of(given: Sequence[str], labels: Sequence[str]) -> Classes:
    """The index of each given label; InvalidInputError for one that is none of `labels`."""
    indexes = {label: index for index, label in enumerate(labels)}
    for position, label in enumerate(given):
        if label not in indexes:
            fix = did_you_mean(str(label), labels) or f"The labels are {join_words(labels[:20])}."
            raise InvalidInputError(f"Label {position + 1} of {len(given)}, {label!r}, is none of the labels.", fix=fix)
    return np.array([indexes[label] for label in given], dtype=np.int64)
