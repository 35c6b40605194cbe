"""What reads a closed task: one interface, whatever is behind it.

Invariant: `predict` is the argmax of `probabilities`, so the two can't disagree; of equal probabilities the first label
in the order of `labels` wins.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from handful.errors import InvalidParameterError
from handful.learn.probability import Matrix
from handful.task.inputs import Input
from handful.task.predict import Prediction


class Predictor(ABC):
    """Gives every input a probability for each label. What it has to learn, it learned when it was fitted."""

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `probabilities`."""

    @abstractmethod
    def probabilities(self, inputs: Sequence[Input]) -> Matrix:
        """`[len(inputs), len(labels)]`; each row sums to 1. Raises InvalidInputError, PromptTooLongError."""

    def predict(self, inputs: Sequence[Input]) -> list[str]:
        """The most probable label of each input."""
        return most_probable_labels(self.labels, self.probabilities(inputs))

    def predict_or_abstain(self, inputs: Sequence[Input], threshold: float) -> list[str | None]:
        """The most probable label where its probability is at least `threshold`, and None (out of scope) below it."""
        check_threshold(threshold)
        rows = self.probabilities(inputs)
        labels = most_probable_labels(self.labels, rows)
        return [label if row.max() >= threshold else None for label, row in zip(labels, rows, strict=True)]


class TextPredictor(ABC):
    """Writes free text for every input: what a `Predictor` is for a task without labels."""

    @abstractmethod
    def predictions(self, inputs: Sequence[Input]) -> list[Prediction]:
        """One for each input, in order. Raises InvalidInputError, PromptTooLongError."""


def check_threshold(value: object) -> None:
    """Raise InvalidParameterError for what is no probability."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidParameterError("threshold", f"must be a probability from 0 to 1, not {value!r}.")


def most_probable_labels(labels: Sequence[str], probabilities: Matrix) -> list[str]:
    """The label of each row's largest probability."""
    return [labels[column] for column in probabilities.argmax(axis=1)] if len(probabilities) else []
