"""What reads a closed task: one interface, whatever is behind it.

Invariant: `predict` is the argmax of `probabilities`, so the two can't disagree; of equal probabilities the first label
in the order of `labels` wins.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from handful.learn.probability import Matrix
from handful.task.inputs import Input


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


def most_probable_labels(labels: Sequence[str], probabilities: Matrix) -> list[str]:
    """The label of each row's largest probability."""
    return [labels[column] for column in probabilities.argmax(axis=1)] if len(probabilities) else []
