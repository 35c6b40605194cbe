"""What answers an evaluation's queries: a predictor by its name, made ready for one set of examples."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from handful.backend import Backend
from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError
from handful.learn.auto import AutoSettings, fit_auto
from handful.learn.calibrate import CALIBRATIONS
from handful.learn.channel import ChannelPredictor, turned_round
from handful.learn.predictor import Predictor, most_probable_labels
from handful.learn.reading import Reader
from handful.learn.recipe import RECIPES
from handful.learn.score import ScorePredictor
from handful.task.fit import ExamplesDroppedWarning, Fitter
from handful.task.inputs import Input, values_of
from handful.task.predict import Prediction, predict_each
from handful.task.problem import did_you_mean, join_words
from handful.task.render import prefix, prompt
from handful.task.task import Task

Fields = dict[str, Any]

_RECIPES = {"auto": RECIPES, **{recipe.name: (recipe,) for recipe in RECIPES}}
# `task` and `generate` are the task's own reading, as `handful run` gives it; `plain` is it without calibration.
_OWN = ("task", "plain")
_CALIBRATED = tuple(name for name in CALIBRATIONS if name != "none")
LABEL_PREDICTORS = (*_OWN, *_CALIBRATED, "channel", *(name for name in _RECIPES if name not in _OWN))
TEXT_PREDICTORS = ("generate",)


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
def asking(task: Task, backend: Backend, predictor: str, *, seed: int, texts: Sequence[Input]) -> Iterator[Asker]:
    """An asker for `task` with its examples; its prefix is kept meanwhile. `texts`: unlabelled inputs of the domain.

    Raises InvalidInputError where there are too few examples for the predictor.
    """
    if predictor in (*_OWN, *TEXT_PREDICTORS):
        with _pinned(task, backend):
            yield _own_reading(task.replace(calibration="none") if predictor == "plain" else task, backend)
    else:
        yield _learned(task, backend, predictor, seed, texts)


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

    return Asker(answer, _prompts_of(task))


def _fields(outcome: Prediction | Exception) -> Fields:
    if not isinstance(outcome, Prediction):
        return {"prediction": None, "error": str(outcome)}
    return {name: value for name, value in outcome.to_dict().items() if name != "input"}


def _learned(task: Task, backend: Backend, predictor: str, seed: int, texts: Sequence[Input]) -> Asker:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExamplesDroppedWarning)  # the answers' own warning is recorded below
        made, ask, note = _make(task, backend, predictor, seed, texts)

    def answer(inputs: Sequence[Input]) -> list[Fields]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ExamplesDroppedWarning)
            fields = _probable(made, inputs)
        told = {"warning": str(caught[0].message)} if caught else {}
        return [one | told for one in fields]

    return Asker(answer, ask, note)


def _make(
    task: Task, backend: Backend, predictor: str, seed: int, texts: Sequence[Input]
) -> tuple[Predictor, Callable[[Input], str], str]:
    """The predictor, its prompt of an input, and a note."""
    if predictor in _RECIPES:
        settings = AutoSettings(recipes=_RECIPES[predictor], seed=seed)
        fitted, choice = fit_auto(task, backend, task.examples, settings)
        return fitted, _prompts_of(fitted.members[0].reader.task), str(choice)
    if predictor == "channel":
        # Here the label is given and the input is scored, so the prompt is the same for all inputs.
        shown = prompt(turned_round(task), {"label": task.labels[0]})
        return ChannelPredictor(task, backend), lambda _: shown, ""
    reader = Reader(task, backend)
    calibration = next(name for name in CALIBRATIONS if name == predictor)
    return ScorePredictor(reader, calibration, seed=seed).fit(texts), _prompts_of(task), ""


def _prompts_of(task: Task) -> Callable[[Input], str]:
    return lambda given: prompt(task, values_of(task, given))


def _probable(predictor: Predictor, inputs: Sequence[Input]) -> list[Fields]:
    """The batch at once; where one of its inputs is refused, one at a time."""
    try:
        rows = predictor.probabilities(inputs)
    except (InvalidInputError, PromptTooLongError) as error:
        if len(inputs) == 1:
            return [{"prediction": None, "error": str(error)}]
        return [fields for given in inputs for fields in _probable(predictor, [given])]
    labels = most_probable_labels(predictor.labels, rows)
    return [
        {"prediction": label, "probabilities": _named(predictor.labels, row)}
        for label, row in zip(labels, rows.tolist(), strict=True)
    ]


def _named(labels: Sequence[str], row: Sequence[float]) -> Mapping[str, float]:
    return dict(zip(labels, row, strict=True))
