"""Several prompts of one task, read alike and averaged: steadier than any one choice and order of examples.

The average is of log-probabilities (a geometric mean). A query costs one pass through the model for each prompt and
reading, each behind a prefix that is computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handful.backend import Backend
from handful.learn.ngrams import Encoder, vectors_of
from handful.learn.predictor import Predictor
from handful.learn.probability import Matrix, log_normalise, normalise
from handful.learn.reading import Reader
from handful.learn.recipe import Fitted, Read
from handful.task.inputs import Input


@dataclass(frozen=True, slots=True)
class Member:
    """One prompt and how it is read."""

    reader: Reader
    fitted: Fitted

    @property
    def num_passes(self) -> int:
        """Passes through the model that an input costs."""
        return int(self.fitted.score_weight > 0) + int(self.fitted.head is not None)

    def log_probabilities(self, inputs: Sequence[Input], encoded: Matrix | None = None) -> Matrix:
        """`[n, labels]`, rows normalised. `encoded` are the inputs' vectors where the encoder has a head."""
        scores = self.reader.log_probabilities(inputs) if self.fitted.score_weight else None
        vectors = self.reader.hidden_states(inputs) if self.fitted.head is not None else None
        return self.fitted.log_probabilities(Read(scores, vectors, encoded))


@dataclass(frozen=True, slots=True)
class EnsemblePredictor(Predictor):
    """The mean of its members' log-probabilities, made sharper or flatter by `sharpness` (1 leaves it).

    `encoder` is what members with a head on an encoder need; it is asked once for all of them.
    """

    members: tuple[Member, ...]
    sharpness: float = 1.0
    encoder: Encoder | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns."""
        return self.members[0].reader.labels

    def on(self, backend: Backend) -> "EnsemblePredictor":
        """The same, asking another backend (which must run the same model)."""
        members = [Member(member.reader.on(backend), member.fitted) for member in self.members]
        return EnsemblePredictor(tuple(members), self.sharpness, self.encoder)

    @property
    def num_passes(self) -> int:
        """Passes through the model that an input costs; the encoder's isn't counted."""
        return sum(member.num_passes for member in self.members)

    def probabilities(self, inputs: Sequence[Input]) -> Matrix:
        """See `Predictor.probabilities`."""
        if not len(inputs):
            return np.zeros((0, len(self.labels)))
        encoded = self._encoded(inputs)
        found = [member.log_probabilities(inputs, encoded) for member in self.members]
        return normalise(self.sharpness * average(found))

    def _encoded(self, inputs: Sequence[Input]) -> Matrix | None:
        if self.encoder is None or all(member.fitted.encoder_head is None for member in self.members):
            return None
        return vectors_of(self.encoder, self.members[0].reader.task, inputs)


def average(log_probabilities: Sequence[Matrix]) -> Matrix:
    """The normalised geometric mean of distributions, as logarithms: `[n, labels]`."""
    return log_normalise(np.mean(np.stack(log_probabilities), axis=0))
