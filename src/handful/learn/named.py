"""The readings of a closed task by their names, fitted to the task's own examples.

What `handful eval` compares and `handful tune` chooses from; how the task's own reading works is `task.predict`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handful.backend import Backend
from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.auto import fit_auto
from handful.learn.auto_plan import compared_for
from handful.learn.auto_settings import AutoSettings
from handful.learn.calibrate import CALIBRATIONS
from handful.learn.channel import ChannelPredictor, turned_round
from handful.learn.choice import Choice
from handful.learn.crossfit import balanced_prompts
from handful.learn.ensemble import EnsemblePredictor, Member
from handful.learn.predictor import Predictor
from handful.learn.reading import Reader
from handful.learn.recipe import RECIPES, Fitted
from handful.learn.representation import classes_of, knn_predictor
from handful.learn.score import ScorePredictor
from handful.task.calibration import CONTENT_FREE, NUM_RANDOM_TEXTS
from handful.task.fit import Fitter
from handful.task.inputs import Input, values_of
from handful.task.predict import measure
from handful.task.problem import did_you_mean, join_words
from handful.task.render import prompt
from handful.task.task import Task

_CALIBRATED = tuple(name for name in CALIBRATIONS if name != "none")
_RECIPES = {"auto": RECIPES, **{recipe.name: (recipe,) for recipe in RECIPES if recipe.name != "plain"}}
NAMES = (*_CALIBRATED, "channel", "knn", *_RECIPES)
# Of the examples of kNN prompting, about how many its prompt shows; the others are its neighbours.
_KNN_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Ready:
    """A predictor that has learned what it needs.

    shown   the task of the prompt that an input gets, or of one of them; for `channel` turned round
    choice  what `auto` chose among recipes; None for the single readings
    """

    name: str
    predictor: Predictor
    shown: Task
    choice: Choice | None = None

    def prompt(self, given: Input) -> str:
        """The prompt that an input gets, or one of them."""
        if self.name == "channel":  # the label is given and the input is what is scored
            return prompt(self.shown, {"label": self.predictor.labels[0]})
        return prompt(self.shown, values_of(self.shown, given))


@dataclass(frozen=True, slots=True)
class Work:
    """Prompts that a reading asks about: to get ready, and for each query; and different prefixes among them.

    What `auto` decides is taken at its most.
    """

    to_fit: int
    a_query: int
    num_prefixes: int = 1


def make_ready(name: str, task: Task, backend: Backend, *, seed: int = 0, texts: Sequence[Input] = ()) -> Ready:
    """The reading `name` of a closed task, fitted to its examples. `texts`: unlabelled inputs of the domain.

    Raises InvalidInputError where the examples are too few for it, InvalidParameterError for a name there isn't.
    """
    if name in _RECIPES:
        settings = AutoSettings(recipes=_RECIPES[name], seed=seed)
        fitted, choice = fit_auto(task, backend, task.examples, settings)
        return Ready(name, fitted, fitted.members[0].reader.task, choice)
    if name == "channel":
        return Ready(name, ChannelPredictor(task, backend), turned_round(task))
    if name == "knn":
        return _neighbours(task, backend, seed)
    calibration = next((one for one in _CALIBRATED if one == name), None)
    if calibration is None:
        fix = f"{did_you_mean(name, NAMES)} There are {join_words(NAMES)}.".strip()
        raise InvalidParameterError("predictor", f"can't be {name!r}.", fix=fix)
    reader = Reader(task, backend)
    scored = ScorePredictor(reader, calibration, seed=seed).fit(texts)
    if scored.bias is None:
        raise InvalidInputError("Batch calibration needs unlabelled texts.", fix="Give texts like those to come.")
    return Ready(name, EnsemblePredictor((Member(reader, Fitted(1.0, scored.bias)),)), task)


def ready_as_it_is(task: Task, backend: Backend) -> Ready:
    """A closed task's own reading, its calibration measured, as a predictor: it answers as `task.predict` does."""
    bias = measure(Fitter(task, backend.info.context_length), backend)
    spread = np.full(len(task.labels), 1 / len(task.labels)) if bias is None else np.array(bias)
    return Ready("task", EnsemblePredictor((Member(Reader(task, backend), Fitted(1.0, spread)),)), task)


def work_of(name: str, task: Task, num_texts: int) -> Work:
    """What `make_ready` and each query ask of a model, before anything is asked. `num_texts`: for `batch`."""
    num_probes = {"contextual": len(CONTENT_FREE), "domain": NUM_RANDOM_TEXTS, "batch": num_texts}
    if name in num_probes:
        return Work(num_probes[name], 1)
    if name == "channel":
        return Work(0, len(task.labels))
    if name == "knn":
        return Work(max(0, len(task.examples) - _knn_shown(task)), 1)
    recipes = _RECIPES[name]
    classes = classes_of([example.output for example in task.examples], task.labels)
    compared = compared_for(int(np.bincount(classes, minlength=len(task.labels)).min()), AutoSettings())
    num_readings = max(int(one.score_weight > 0) + int(one.kind is not None) for one in recipes)
    each = len(CONTENT_FREE) + NUM_RANDOM_TEXTS + 2 * len(task.examples)
    return Work(compared.num_candidates * each, compared.num_prompts * num_readings, compared.num_candidates)


def _knn_shown(task: Task) -> int:
    """How many examples the prompt shows: the same of each label, about `_KNN_SHOWN` in all."""
    num_labels = len(task.labels)
    return num_labels * max(1, -(-_KNN_SHOWN // num_labels))


def _neighbours(task: Task, backend: Backend, seed: int) -> Ready:
    classes = classes_of([example.output for example in task.examples], task.labels)
    num_shown = _knn_shown(task)
    each = num_shown // len(task.labels)
    counts = np.bincount(classes, minlength=len(task.labels))
    if counts.min() <= each:
        problem = f"kNN needs {each + 1} examples of every label, one that its prompt doesn't show"
        raise InvalidInputError(f"{problem}; the rarest has {counts.min()}.", fix="Give more examples.")
    (shown,) = balanced_prompts(classes, num_shown, 1, seed)
    asked = task.with_examples(task.examples[index] for index in shown)
    others = [example for index, example in enumerate(task.examples) if index not in set(shown)]
    predictor = knn_predictor(Reader(asked, backend))
    predictor.fit([one.inputs for one in others], [one.output for one in others])
    return Ready("knn", predictor, asked)
