"""What answers an evaluation's queries: a predictor by its name, made ready for one set of examples."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from handful.backend import Backend
from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError
from handful.learn.named import NOTHING, Provided, Ready, make_ready
from handful.learn.predictor import Predictor, TextPredictor, most_probable_labels
from handful.learn.reading_names import NAMES, TEXT_NAMES
from handful.task.fit import ExamplesDroppedWarning, Fitter
from handful.task.inputs import Input, values_of
from handful.task.predict import Prediction, predict_each
from handful.task.problem import did_you_mean, join_words
from handful.task.render import prefix, prompt
from handful.task.task import Task

Fields = dict[str, Any]

# `task` and `generate` are the task's own reading, as `handful run` gives it; `plain` is it without calibration.
_OWN = ("task", "plain")
LABEL_PREDICTORS = (*_OWN, *NAMES)
TEXT_PREDICTORS = ("generate", *TEXT_NAMES)


@dataclass(frozen=True, slots=True)
class Asker:
    """Answers inputs with fields of a record: prediction, then probabilities or completion, or an error.

    prompt  the prompt that an input gets, or one of them
    note    what was chosen on the way, for a reader
    """

    answer: Callable[[Sequence[Input]], list[Fields]]
    prompt: Callable[[Input], str]
    note: str = ""


def check_predictors(names: Sequence[str], task: Task) -> None:
    """Raise `InvalidParameterError` for a name that isn't one of the task's kind."""
    known = LABEL_PREDICTORS if task.is_closed else TEXT_PREDICTORS
    for name in names:
        if name not in known:
            kind = "with labels" if task.is_closed else "answered in free text"
            fix = f"{did_you_mean(name, known)} For a task {kind}: {join_words(known)}.".strip()
            raise InvalidParameterError("--predictor", f"can't be `{name}` here.", fix=fix)


@contextmanager
def asking(
    task: Task,
    backend: Backend,
    predictor: str,
    *,
    seed: int,
    texts: Sequence[Input],
    provided: Provided = NOTHING,
) -> Iterator[Asker]:
    """An asker for `task` with its examples; its prefix is kept meanwhile. `texts`: unlabelled inputs of the domain.

    Raises InvalidInputError where there are too few examples for the predictor.
    """
    if predictor in (*_OWN, "generate"):
        with _pinned(task, backend):
            yield _own_reading(task.replace(calibration="none") if predictor == "plain" else task, backend)
    else:
        yield asker_of(fitted_quietly(predictor, task, backend, seed=seed, texts=texts, provided=provided))


@contextmanager
def _pinned(task: Task, backend: Backend) -> Iterator[None]:
    shared = prefix(task)
    keeps = bool(shared) and backend.count_tokens(shared) < backend.info.context_length
    if keeps:
        backend.pin(shared)
    try:
        yield
    finally:
        if keeps:
            backend.unpin(shared)


def _own_reading(task: Task, backend: Backend) -> Asker:
    fitter = Fitter(task, backend.info.context_length)

    def answer(inputs: Sequence[Input]) -> list[Fields]:
        return [_fields(outcome) for outcome in predict_each(fitter, backend, inputs)]

    return Asker(answer, lambda given: prompt(task, values_of(task, given)))


def _fields(outcome: Prediction | Exception) -> Fields:
    if not isinstance(outcome, Prediction):
        return {"prediction": None, "error": str(outcome)}
    return {name: value for name, value in outcome.to_dict().items() if name != "input"}


def fitted_quietly(
    name: str,
    task: Task,
    backend: Backend,
    *,
    seed: int,
    texts: Sequence[Input],
    provided: Provided = NOTHING,
) -> Ready:
    """`make_ready` without its warnings: what was dropped is recorded with the answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExamplesDroppedWarning)
        return make_ready(name, task, backend, seed=seed, texts=texts, provided=provided)


def asker_of(ready: Ready) -> Asker:
    """Asks a reading that has learned what it needs."""

    def answer(inputs: Sequence[Input]) -> list[Fields]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ExamplesDroppedWarning)
            fields = _answers(ready.predictor, inputs)
        told = {"warning": str(caught[0].message)} if caught else {}
        return [one | told for one in fields]

    return Asker(answer, ready.prompt, "" if ready.choice is None else str(ready.choice))


def _answers(predictor: Predictor | TextPredictor, inputs: Sequence[Input]) -> list[Fields]:
    """The batch at once; where one of its inputs is refused, one at a time."""
    try:
        if isinstance(predictor, TextPredictor):
            return [_fields(one) for one in predictor.predictions(inputs)]
        return _probable(predictor, inputs)
    except (InvalidInputError, PromptTooLongError) as error:
        if len(inputs) == 1:
            return [{"prediction": None, "error": str(error)}]
        return [fields for given in inputs for fields in _answers(predictor, [given])]


def _probable(predictor: Predictor, inputs: Sequence[Input]) -> list[Fields]:
    rows = predictor.probabilities(inputs)
    labels = most_probable_labels(predictor.labels, rows)
    return [
        {"prediction": label, "probabilities": _named(predictor.labels, row)}
        for label, row in zip(labels, rows.tolist(), strict=True)
    ]


def _named(labels: Sequence[str], row: Sequence[float]) -> Mapping[str, float]:
    return dict(zip(labels, row, strict=True))
