"""Metrics of labels and probabilities, on arrays. An answer that couldn't be given is wrong, whatever was expected.

accuracy   share of right answers
macro F1   mean over labels of F1 = 2 TP / (2 TP + FP + FN), over those that are expected or predicted at all
log loss   mean of -log p(expected), in nats, over the answers that were given
ECE        top-label expected calibration error with 15 bins (Guo et al. 2017, arXiv 1706.04599)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handful.learn.probability import SMALLEST, Classes, Vector
from handful.learn.reliability import ReliabilityBin, expected_calibration_error, reliability_bins

NUM_BINS = 15
NO_ANSWER = -1

Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class LabelAnswers:
    """n answers of a closed task.

    expected, predicted  columns of labels; `NO_ANSWER` where none could be given
    confidence           probability of the predicted label, `expected_probability` of the expected one; NaN likewise
    """

    expected: Classes
    predicted: Classes
    confidence: Vector
    expected_probability: Vector

    def __len__(self) -> int:
        return len(self.expected)

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """`[n]`."""
        found: NDArray[np.bool_] = self.expected == self.predicted
        return found

    def rows(self, index: NDArray[Any]) -> "LabelAnswers":
        """Some of the answers, in the order of `index`."""
        return LabelAnswers(
            self.expected[index], self.predicted[index], self.confidence[index], self.expected_probability[index]
        )

    @classmethod
    def of_records(cls, records: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> "LabelAnswers":
        """From records with `expected`, `prediction` and `probabilities`."""
        columns = {label: column for column, label in enumerate(labels)}
        expected = [columns[record["expected"]] for record in records]
        predicted = [columns.get(record["prediction"], NO_ANSWER) for record in records]
        given = [record.get("probabilities") or {} for record in records]
        said = [found.get(record["prediction"], np.nan) for found, record in zip(given, records, strict=True)]
        true = [found.get(record["expected"], np.nan) for found, record in zip(given, records, strict=True)]
        return cls(np.array(expected, np.int64), np.array(predicted, np.int64), np.array(said), np.array(true))


def label_metrics(answers: LabelAnswers) -> Values:
    """All metrics of a closed task, by name. There must be at least one answer."""
    given = answers.predicted != NO_ANSWER
    return {
        "accuracy": float(answers.is_right.mean()),
        "macro_f1": macro_f1(answers.expected, answers.predicted),
        "log_loss": log_loss(answers.expected_probability[given]),
        "ece": expected_calibration_error(bins_of(answers)),
    }


def bins_of(answers: LabelAnswers, num_bins: int = NUM_BINS) -> tuple[ReliabilityBin, ...]:
    """The reliability bins of the answers that were given."""
    given = answers.predicted != NO_ANSWER
    return reliability_bins(answers.confidence[given], answers.is_right[given], num_bins=num_bins)


def macro_f1(expected: Classes, predicted: Classes) -> float:
    """The mean of the labels' F1; labels that are neither expected nor predicted don't count."""
    size = int(max(expected.max(), predicted.max())) + 1
    hits = np.bincount(expected[expected == predicted], minlength=size)
    wanted = np.bincount(expected, minlength=size)
    said = np.bincount(predicted[predicted != NO_ANSWER], minlength=size)
    there = wanted + said > 0
    return float((2.0 * hits[there] / (wanted + said)[there]).mean())


def log_loss(probabilities: Vector) -> float:
    """The mean of -log of the expected labels' probabilities; 0 for none."""
    return float(-np.log(np.maximum(probabilities, SMALLEST)).mean()) if len(probabilities) else 0.0
