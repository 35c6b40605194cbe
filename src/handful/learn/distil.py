"""Distillation: texts that a few-shot prompt labels teach a head that costs one short pass through the model.

The teacher is the task as it is served, its calibration included. The student is a linear head on the model's hidden
state behind the query alone, without examples, or behind the whole prompt; or on an encoder's vectors. It learns from
texts that the teacher is sure of, about as many of every label; texts that were set aside tell how often the two agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from handful.backend import Backend
from handful.checks import check_integer
from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.calibrate import mean_bias, remove_bias
from handful.learn.choice import Choice
from handful.learn.encoded import EncodedPredictor, NamedEncoder, encoded
from handful.learn.ensemble import EnsemblePredictor, Member
from handful.learn.evidence import Verdict
from handful.learn.heads import NearestCentroid
from handful.learn.logistic import Logistic
from handful.learn.probability import Classes, Matrix, Vector, log_loss, log_of
from handful.learn.reading import Reader, layers_to_read
from handful.learn.recipe import Fitted
from handful.learn.tuned import Progress, tune
from handful.task.fit import Fitter
from handful.task.inputs import Input
from handful.task.predict import measure
from handful.task.problem import join_words
from handful.task.task import Task
from handful.types import EncoderTuning

HeadName = Literal["logistic", "centroid"]
Prompted = Literal["query", "prompt"]
_HEADS: dict[str, Logistic | NearestCentroid] = {"logistic": Logistic(), "centroid": NearestCentroid()}
# A label may have so many times the rarest's texts, and so many in any case: throwing away more costs accuracy.
_MOST_TIMES_RAREST = 2
_ALWAYS_KEPT = 16
_FEWEST_OF_A_LABEL = 2
_FEWEST_SET_ASIDE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilSettings:
    """How to distil.

    confidence  least probability that the teacher must give a text's label for the text to be learned from
    head        what is fitted: logistic regression or nearest centroid
    behind      the hidden state is read behind the query alone ("query": quick) or the few-shot prompt ("prompt")
    set_aside   share of the texts that nothing is learned from
    evenly      whether the labels are about equally frequent in the texts; then the bias that the teacher's answers to
                them show is taken out (batch calibration, see calibrate.py)
    encoder_steps  steps of tuning the encoder with the texts that are learned from; 0 leaves it as it is
    """

    confidence: float = 0.9
    head: HeadName = "logistic"
    behind: Prompted = "query"
    set_aside: float = 0.2
    evenly: bool = False
    encoder_steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("confidence", "set_aside"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
                raise InvalidParameterError(name, f"must be from 0 to below 1, not {value!r}.")
        check_integer("encoder_steps", self.encoder_steps, 0, 100_000)
        for name, allowed in (("head", get_args(HeadName)), ("behind", get_args(Prompted))):
            if getattr(self, name) not in allowed:
                raise InvalidParameterError(name, f"must be one of {join_words(allowed)}.")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts and what the task answered to them: probabilities `[n, labels]`."""

    inputs: Sequence[Input]
    probabilities: Matrix


@dataclass(frozen=True, slots=True)
class Distilled:
    """A teacher, its student, and which texts went where.

    num_confident   texts that the teacher was sure of, among those that were not set aside
    num_learned     of these, how many of each label were learned from
    set_aside       the texts that nothing was learned from
    agreement       how many of these get the same label from both, and the student's log loss on the teacher's labels
    """

    teacher: EnsemblePredictor
    student: EnsemblePredictor | EncodedPredictor
    num_confident: int
    num_learned: dict[str, int]
    set_aside: tuple[Input, ...]
    agreement: Verdict

    @property
    def choice(self) -> Choice:
        """The student as a saved classifier describes itself; what it may expect is the agreement."""
        return Choice(
            recipe=self.agreement.recipe,
            reason="It was distilled from a few-shot prompt; `expected` is how often the two agree.",
            expected=self.agreement,
            verdicts=(),
            num_prompts=1,
            num_shown=self.num_shown,
            num_passes=1,
        )

    @property
    def num_shown(self) -> int:
        """Examples in the prompt that the student reads a query behind."""
        student = self.student
        return len(student.members[0].reader.task.examples) if isinstance(student, EnsemblePredictor) else 0


def distil(
    task: Task,
    backend: Backend,
    labelled: Labelled,
    settings: DistilSettings | None = None,
    encoder: NamedEncoder | None = None,
    advance: Progress | None = None,
) -> Distilled:
    """Fit a student to what `task` answered to texts, on an encoder's vectors where one is given.

    `advance` is told the steps of tuning the encoder, where that was asked for (InvalidParameterError for an encoder
    that can't be tuned, or none).
    Raises InvalidInputError where too few texts are left of a label, TaskError for a task without labels, and what the
    backend raises.
    """
    chosen = settings or DistilSettings()
    if chosen.encoder_steps and encoder is None:
        raise InvalidParameterError("encoder_steps", "needs an encoder to tune.", fix="Give one.")
    teacher, said = _teacher(task, backend, labelled, chosen)
    classes = np.asarray(said.argmax(axis=1), dtype=np.int64)
    kept, aside = _divide(len(classes), chosen)
    confident = kept[np.exp(said[kept]).max(axis=1) >= chosen.confidence]
    learned = balanced(confident, classes, len(task.labels), chosen.seed)
    counts = np.bincount(classes[learned], minlength=len(task.labels))
    _check_counts(task, counts.tolist(), len(confident), len(kept))
    inputs = [labelled.inputs[i] for i in learned]
    student: EnsemblePredictor | EncodedPredictor
    if encoder is None:
        student = _student(task, backend, inputs, classes[learned], chosen)
    else:
        student = _encoded_student(task, encoder, (inputs, classes[learned]), chosen, advance)
    untaught = tuple(labelled.inputs[i] for i in aside)
    return Distilled(
        teacher=teacher,
        student=student,
        num_confident=len(confident),
        num_learned={label: int(count) for label, count in zip(task.labels, counts, strict=True)},
        set_aside=untaught,
        agreement=verdict_of(f"distilled {chosen.head}", student.probabilities(untaught), classes[aside]),
    )


def _encoded_student(
    task: Task,
    encoder: NamedEncoder,
    labelled: tuple[list[Input], Classes],
    settings: DistilSettings,
    advance: Progress | None,
) -> EncodedPredictor:
    inputs, classes = labelled
    if settings.encoder_steps:
        tuning = EncoderTuning(num_steps=settings.encoder_steps, seed=settings.seed)
        encoder = tune(encoder, task, labelled, tuning, advance)
    head = _HEADS[settings.head].fit(encoded(task, encoder, inputs), classes, len(task.labels))
    return EncodedPredictor(task.with_examples(()), encoder, head)


def verdict_of(name: str, probabilities: Matrix, classes: Classes) -> Verdict:
    """How often the most probable label is the right one."""
    num_right = int((probabilities.argmax(axis=1) == classes).sum()) if len(classes) else 0
    loss = float(log_loss(log_of(probabilities), classes).mean()) if len(classes) else None
    return Verdict(recipe=name, num_right=num_right, num_tried=len(classes), log_loss=loss)


def balanced(rows: Classes, classes: Classes, num_labels: int, seed: int) -> Classes:
    """Some of `rows` (indexes into `classes`), in their order: of each label at most twice as many as of the rarest,
    or 16, drawn at random (the surest would all be easy ones)."""
    counts = np.bincount(classes[rows], minlength=num_labels)
    most = max(_ALWAYS_KEPT, _MOST_TIMES_RAREST * int(counts.min()))
    draw = np.random.default_rng(seed)
    parts = [draw.permutation(rows[classes[rows] == label])[:most] for label in range(num_labels)]
    return np.sort(np.concatenate(parts))


def _teacher(
    task: Task, backend: Backend, labelled: Labelled, settings: DistilSettings
) -> tuple[EnsemblePredictor, Matrix]:
    """The prompt's predictor, and the log-probabilities that it gives the texts (nothing is asked again)."""
    reader = Reader(task, backend)
    if not len(labelled.inputs):
        raise InvalidInputError(
            "There is no text to learn from.", fix="Give unlabelled texts that the task can answer."
        )
    said = log_of(labelled.probabilities)
    bias = _even(task)
    if settings.evenly:
        bias = mean_bias(said)
        said = remove_bias(said, bias)
    measured = measure(Fitter(task, backend.info.context_length), backend)  # the answers are without this one already
    if measured is not None:
        bias = bias * np.array(measured)
    return EnsemblePredictor((Member(reader, Fitted(1.0, bias / bias.sum())),)), said


def _even(task: Task) -> Vector:
    return np.full(len(task.labels), 1 / len(task.labels))


def _divide(num_texts: int, settings: DistilSettings) -> tuple[Classes, Classes]:
    """Indexes of the texts to learn from and of those set aside, each in order."""
    order = np.random.default_rng(settings.seed).permutation(num_texts)
    num_aside = max(_FEWEST_SET_ASIDE, round(num_texts * settings.set_aside)) if settings.set_aside else 0
    return np.sort(order[num_aside:]), np.sort(order[:num_aside])


def _check_counts(task: Task, counts: list[int], num_confident: int, num_texts: int) -> None:
    rare = [label for label, count in zip(task.labels, counts, strict=True) if count < _FEWEST_OF_A_LABEL]
    if rare:
        raise InvalidInputError(
            f"The prompt is sure of {num_confident} of {num_texts} texts, and of fewer than {_FEWEST_OF_A_LABEL} that "
            f"they are {join_words(rare[:20])}.",
            fix="Lower the confidence, give more texts, or better examples.",
        )


def _student(
    task: Task, backend: Backend, inputs: list[Input], classes: Classes, settings: DistilSettings
) -> EnsemblePredictor:
    asked = task if settings.behind == "prompt" else task.with_examples(())
    reader = Reader(asked, backend, layers=layers_to_read(backend.info))
    head = _HEADS[settings.head].fit(reader.hidden_states(inputs), classes, len(task.labels))
    return EnsemblePredictor((Member(reader, Fitted(0.0, _even(task), head)),))
