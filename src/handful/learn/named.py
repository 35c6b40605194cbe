"""The readings of a task by their names, fitted to the task's own examples.

What `handful eval` compares and `handful tune` chooses from; how the task's own reading works is `task.predict`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handful.backend import Backend
from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn import near
from handful.learn.auto import fit_auto
from handful.learn.auto_settings import AutoSettings
from handful.learn.channel import ChannelPredictor, turned_round
from handful.learn.choice import Choice
from handful.learn.crossfit import balanced_prompts
from handful.learn.encoded import EncodedPredictor, NamedEncoder, encoded
from handful.learn.ensemble import EnsemblePredictor, Member
from handful.learn.logistic import Logistic
from handful.learn.ngrams import joined
from handful.learn.predictor import Predictor, TextPredictor
from handful.learn.reading import Reader
from handful.learn.reading_names import (
    CALIBRATED,
    ENCODER,
    NAMES,
    NEED_ENCODER,
    RECIPES_OF,
    TEXT_NAMES,
    TUNED,
    knn_shown,
)
from handful.learn.recipe import Fitted
from handful.learn.representation import classes_of, knn_predictor
from handful.learn.score import ScorePredictor
from handful.learn.selecting import OwnText, SelectedText, SelectingPredictor
from handful.learn.tuned import Progress
from handful.task.fit import Fitter
from handful.task.inputs import Input, values_of
from handful.task.predict import measure
from handful.task.problem import did_you_mean, join_words
from handful.task.render import prompt
from handful.task.task import Task
from handful.types import PrefixTuning


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """What readings may need beside a model and examples.

    encoder        for those that read one's vectors
    prompt_epochs  how often `tuned` reads each example while it tunes prompts
    advance        is told the steps of tuning, and of how many
    """

    encoder: NamedEncoder | None = None
    prompt_epochs: int = PrefixTuning().num_epochs
    advance: Progress | None = None


NOTHING = Provided()


@dataclass(frozen=True, slots=True)
class Ready:
    """A predictor that has learned what it needs; for a task of free text, what writes its answers.

    shown   the task of the prompt that an input gets, or of one of them; for `channel` turned round
    choice  what `auto` chose among recipes; None for the single readings
    """

    name: str
    predictor: Predictor | TextPredictor
    shown: Task
    choice: Choice | None = None

    def prompt(self, given: Input) -> str:
        """The prompt that an input gets, or one of them; what an encoder reads, where no model is asked."""
        predictor = self.predictor
        if isinstance(predictor, SelectedText | SelectingPredictor):
            (task,) = predictor.selector.tasks([given])
            return prompt(task, values_of(task, given))
        if isinstance(predictor, EncodedPredictor):
            return joined(self.shown, values_of(self.shown, given))
        if isinstance(predictor, ChannelPredictor):  # the label is given and the input is what is scored
            return prompt(self.shown, {"label": predictor.labels[0]})
        return prompt(self.shown, values_of(self.shown, given))


def make_ready(
    name: str,
    task: Task,
    backend: Backend,
    *,
    seed: int = 0,
    texts: Sequence[Input] = (),
    provided: Provided = NOTHING,
) -> Ready:
    """The reading `name` of a task, fitted to its examples. `texts`: unlabelled inputs of the domain.

    Raises InvalidInputError where the examples are too few for it, InvalidParameterError for a name there isn't, or for
    one that needs an encoder and gets none,
    or a model that can be tuned.
    """
    encoder = provided.encoder
    names = NAMES if task.is_closed else TEXT_NAMES
    if name not in names:
        fix = f"{did_you_mean(name, names)} There are {join_words(names)}.".strip()
        raise InvalidParameterError("predictor", f"can't be {name!r}.", fix=fix)
    if name in NEED_ENCODER:
        if encoder is None:
            raise InvalidParameterError("encoder", f"is needed by the reading {name!r}.", fix="Give one.")
        if name == ENCODER:
            return _on_encoder(task, encoder)
    if name in near.NAMES:
        compared_by = encoder if name == near.BY_ENCODER else None
        return Ready(name, near.nearest(task, backend, compared_by, texts=texts), task)
    if name in RECIPES_OF:
        tuning = PrefixTuning(num_epochs=provided.prompt_epochs, seed=seed) if name == TUNED else None
        settings = AutoSettings(recipes=RECIPES_OF[name], seed=seed, prompt_tuning=tuning, advance=provided.advance)
        fitted, choice = fit_auto(task, backend, task.examples, settings)
        return Ready(name, fitted, fitted.members[0].reader.task, choice)
    if name == "channel":
        return Ready(name, ChannelPredictor(task, backend), turned_round(task))
    if name == "knn":
        return _neighbours(task, backend, seed)
    reader = Reader(task, backend)
    scored = ScorePredictor(reader, next(one for one in CALIBRATED if one == name), seed=seed).fit(texts)
    if scored.bias is None:
        raise InvalidInputError("Batch calibration needs unlabelled texts.", fix="Give texts like those to come.")
    return Ready(name, EnsemblePredictor((Member(reader, Fitted(1.0, scored.bias)),)), task)


def ready_as_it_is(task: Task, backend: Backend) -> Ready:
    """A task's own reading, its calibration measured, as a predictor: it answers as `task.predict` does."""
    if not task.is_closed:
        return Ready("generate", OwnText(task, backend), task)
    bias = measure(Fitter(task, backend.info.context_length), backend)
    spread = np.full(len(task.labels), 1 / len(task.labels)) if bias is None else np.array(bias)
    return Ready("task", EnsemblePredictor((Member(Reader(task, backend), Fitted(1.0, spread)),)), task)


def _on_encoder(task: Task, encoder: NamedEncoder) -> Ready:
    classes = classes_of([example.output for example in task.examples], task.labels)
    if missing := [label for index, label in enumerate(task.labels) if index not in classes]:
        raise InvalidInputError(f"No example has the label {join_words(missing[:20])}.", fix="Give one of each.")
    vectors = encoded(task, encoder, [example.inputs for example in task.examples])
    return Ready(ENCODER, EncodedPredictor(task, encoder, Logistic().fit(vectors, classes, len(task.labels))), task)


def _neighbours(task: Task, backend: Backend, seed: int) -> Ready:
    classes = classes_of([example.output for example in task.examples], task.labels)
    num_shown = knn_shown(task)
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
