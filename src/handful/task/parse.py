"""Reading an answer: the text of a completion becomes a prediction, log-probabilities become a label."""

import math
from collections.abc import Sequence

from handful.errors import EngineError


def read_completion(text: str) -> str:
    """The answer in a completed text: everything before the end sequence, without whitespace around it.

    The end sequence has been cut off where it was found. Nothing else is touched: line breaks inside an answer stay,
    and a completion that ran out of tokens is given as far as it goes (its `finish_reason` says so).
    """
    return text.strip()


def probabilities_of(labels: Sequence[str], logprobs: Sequence[float]) -> dict[str, float]:
    """Each label's share of the probability that all labels have together, in the order of `labels`; sums to 1.

    p_i = exp(l_i) / sum_j exp(l_j), computed relative to the largest l so that nothing underflows to 0 / 0.
    """
    largest = max(logprobs)
    if len(labels) != len(logprobs) or not math.isfinite(largest) or any(math.isnan(value) for value in logprobs):
        raise EngineError("The model gave no usable probabilities for the labels.")
    weights = [math.exp(value - largest) for value in logprobs]
    total = math.fsum(weights)
    return {label: weight / total for label, weight in zip(labels, weights, strict=True)}


def most_probable(probabilities: dict[str, float]) -> str:
    """The label of the highest probability; of equal ones the first in the task's order."""
    return max(probabilities, key=lambda label: probabilities[label])
