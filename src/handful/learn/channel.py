"""Channel scoring: how well does each label explain the input? P(label | input) from P(input | label).

Min et al. 2021 (arXiv 2108.04106), argmax_y P(x | v(y)) P(y) with a uniform P(y). The prompt is turned round: examples
and query show the output line first, and the input's text is what is scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from handful.backend import Backend
from handful.errors import InvalidParameterError, TaskError
from handful.learn.predictor import Predictor
from handful.learn.probability import Matrix, normalise
from handful.task.inputs import Input, values_of
from handful.task.render import prompt
from handful.task.task import Example, Task
from handful.task.template import parse_template

# The texts of one call make one tree of tokens behind each label, so their joint length is bounded.
_NUM_CHARACTERS_A_CALL = 2_000


@dataclass(slots=True)
class ChannelPredictor(Predictor):
    """P(input | label) of every label, normalised over the labels. For closed tasks with one variable (TaskError).

    temperature  the log-probabilities of whole texts differ by tens of nats; they are divided by this before they are
                 normalised. It never changes which label wins
    """

    task: Task
    backend: Backend
    temperature: float = 1.0
    _turned: Task = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.task.is_closed or len(self.task.variables) != 1:
            fix = "Use another predictor."
            raise TaskError("Channel scoring needs a task with labels and one variable.", fix=fix)
        if not self.temperature > 0:
            raise InvalidParameterError("temperature", f"must be more than 0, not {self.temperature!r}.")
        self._turned = turned_round(self.task)

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's labels."""
        return self.task.labels

    def probabilities(self, inputs: Sequence[Input]) -> Matrix:
        """See `Predictor.probabilities`."""
        return normalise(self.log_likelihoods(inputs) / self.temperature)

    def log_likelihoods(self, inputs: Sequence[Input]) -> Matrix:
        """log P(input | label), summed over the input's tokens: `[n, labels]`."""
        variable = self.task.variables[0]
        before, _ = parse_template(self._turned.output.strip("\n")).around("output")
        gap = before[len(before.rstrip(" \t")) :]
        texts = [gap + values_of(self.task, given)[variable].strip() for given in inputs]
        prompts = [prompt(self._turned, {"label": label}) for label in self.labels]
        rows = [np.zeros((0, len(self.labels)))]
        for part in _by_length(texts):
            scores = self.backend.score(prompts, part)
            rows.append(np.array([score.logprobs for score in scores], dtype=np.float64).T)
        return np.concatenate(rows)


def turned_round(task: Task) -> Task:
    """The task of writing an input for a label: each example shows its output first. It has no labels."""
    (variable,) = task.variables
    return Task(
        name=task.name,
        description=task.description,
        input=task.output.replace("{output}", "{label}"),
        output=task.input.replace(f"{{{variable}}}", "{output}"),
        separator=task.separator,
        examples=tuple(Example({"label": shown.output}, shown.inputs[variable]) for shown in task.examples),
    )


def _by_length(texts: Sequence[str]) -> list[list[str]]:
    """The texts in order, cut into runs of bounded joint length."""
    parts: list[list[str]] = []
    room = 0
    for text in texts:
        room -= len(text)
        if room < 0 or not parts:
            parts.append([])
            room = _NUM_CHARACTERS_A_CALL - len(text)
        parts[-1].append(text)
    return parts
