"""Predictions with examples that were chosen for the query. Closed and open tasks; one batch for all prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handful.backend import Backend
from handful.errors import InvalidInputError, PromptTooLongError, TaskError
from handful.learn.calibrate import mean_bias, remove_bias
from handful.learn.predictor import Predictor, TextPredictor
from handful.learn.probability import Matrix, Vector, log_of, normalise
from handful.learn.selector import Selector
from handful.task.fit import Fitter, warn_of_dropped
from handful.task.inputs import Input
from handful.task.predict import Plan, Prediction, count_now, plan, predict_each, read_generation, read_score
from handful.task.render import continuations
from handful.task.task import Task


def predict_selected(selector: Selector, backend: Backend, inputs: Sequence[Input]) -> list[Prediction]:
    """One prediction for each input, in order, behind the examples that `selector` chooses for it.

    Prompts that begin alike share what is computed. Raises InvalidInputError and PromptTooLongError naming the first
    bad input, before anything is computed. Warns with `ExamplesDroppedWarning`.
    """
    plans = _plans(selector, backend, inputs)
    warn_of_dropped(selector.pool, (planned.fit.num_dropped for planned in plans))
    prompts = [planned.fit.prompt for planned in plans]
    task = selector.pool
    if not prompts:
        return []
    if task.is_closed:
        scores = backend.score(prompts, continuations(task))
        return [read_score(task, planned, score) for planned, score in zip(plans, scores, strict=True)]
    generations = backend.generate(prompts, task.generation)
    return [read_generation(planned, generation) for planned, generation in zip(plans, generations, strict=True)]


@dataclass(slots=True)
class SelectingPredictor(Predictor):
    """Label scores behind each query's own examples (TaskError for a task without labels).

    A bias that is measured behind one prompt says nothing of another, so what calibrates these is a batch: `fit` with
    texts like those to come (batch calibration, arXiv 2309.17249). Without it the scores are plain.
    """

    selector: Selector
    backend: Backend
    bias: Vector | None = None

    def __post_init__(self) -> None:
        if not self.selector.pool.is_closed:
            problem = f"The task `{self.selector.pool.name}` has no labels, so its answers have no probabilities."
            raise TaskError(problem, fix="Use `predict_selected`, which also writes free text.")

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's labels."""
        return self.selector.pool.labels

    def fit(self, texts: Sequence[Input]) -> "SelectingPredictor":
        """Measure the labels' bias over unlabelled inputs; the labels should be about equally frequent among them."""
        self.bias = mean_bias(log_of(self._plain(texts))) if texts else None
        return self

    def probabilities(self, inputs: Sequence[Input]) -> Matrix:
        """See `Predictor.probabilities`."""
        plain = self._plain(inputs)
        return plain if self.bias is None or not len(plain) else normalise(remove_bias(log_of(plain), self.bias))

    def _plain(self, inputs: Sequence[Input]) -> Matrix:
        found = predict_selected(self.selector, self.backend, inputs)
        rows = [[(one.probabilities or {})[label] for label in self.labels] for one in found]
        return np.array(rows, dtype=np.float64).reshape(-1, len(self.labels))


@dataclass(frozen=True, slots=True)
class SelectedText(TextPredictor):
    """Free text behind each query's own examples."""

    selector: Selector
    backend: Backend

    def predictions(self, inputs: Sequence[Input]) -> list[Prediction]:
        """See `predict_selected`."""
        return predict_selected(self.selector, self.backend, inputs)


@dataclass(frozen=True, slots=True)
class OwnText(TextPredictor):
    """Free text behind the task's own examples, as the task itself answers."""

    task: Task
    backend: Backend

    def predictions(self, inputs: Sequence[Input]) -> list[Prediction]:
        """As `Task.predict`, but without its warning: what was dropped is in the answers."""
        found = predict_each(Fitter(self.task, self.backend.info.context_length), self.backend, inputs)
        for one in found:
            if isinstance(one, Exception):
                raise one
        return [one for one in found if isinstance(one, Prediction)]


def _plans(selector: Selector, backend: Backend, inputs: Sequence[Input]) -> list[Plan]:
    fitters: dict[Task, Fitter] = {}
    plans: list[Plan] = []
    for index, (task, given) in enumerate(zip(selector.tasks(inputs), inputs, strict=True)):
        if task not in fitters:
            fitters[task] = Fitter(task, backend.info.context_length)
        try:
            plans.append(count_now(plan(fitters[task], given), backend.count_tokens))
        except (InvalidInputError, PromptTooLongError) as error:
            raise type(error)(f"Input {index + 1} of {len(inputs)}: {error.message}", fix=error.fix) from None
    return plans
