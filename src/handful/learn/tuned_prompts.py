"""Tuned prompts: the start of a prompt, begun at a few labelled examples, is trained on the labels.

Three of them, each tuned without a third of the examples. What a prompt says of the third that it never saw is the
evidence, so that costs no tuning of its own, and an input is answered by the mean of all three.
"""

from dataclasses import dataclass, replace

import numpy as np

from handful.backend import Backend, PrefixTuner, no_prefix
from handful.errors import InvalidInputError
from handful.learn.auto_prompts import Prompts
from handful.learn.crossfit import balanced_prompts
from handful.learn.ensemble import Member
from handful.learn.logistic import stratified_folds
from handful.learn.probability import Classes, Matrix
from handful.learn.reading import Reader
from handful.learn.recipe import Fitted
from handful.learn.tuned import Progress
from handful.task.render import continuations, prefix
from handful.task.task import Task
from handful.types import LabelledPrompt, PrefixTuning

NUM_TUNED_PROMPTS = 3


@dataclass(frozen=True, slots=True)
class TunedPrompts:
    """Prompts as members of an ensemble, and `[n, labels]` what they say of the examples that they weren't tuned on."""

    members: tuple[Member, ...]
    held_out: Matrix


def tune_prompts(
    prompts: Prompts, classes: Classes, num_shown: int, settings: PrefixTuning, advance: Progress | None = None
) -> TunedPrompts:
    """Tune prompts that begin at `num_shown` examples each.

    `advance` is told the steps of all of them. Raises InvalidParameterError for a backend that can't, and what its
    `tuned_prefix` raises.
    """
    tuner = _tuner_of(prompts.backend)
    labels = prompts.task.labels
    folds = list(stratified_folds(classes, NUM_TUNED_PROMPTS, settings.seed))
    steps = [settings.num_steps(int((~held).sum())) for held in folds]
    said = np.zeros((len(classes), len(labels)))
    members = []
    for index, held in enumerate(folds):
        told = None if advance is None else _part_of(advance, sum(steps[:index]), sum(steps))
        own = replace(settings, seed=settings.seed + index)
        learned = _learned(prompts, classes, np.flatnonzero(~held), num_shown, own.seed)
        reader = Reader(_asking(prompts.task), prompts.backend, prefix=tuner.tuned_prefix(*learned, own, told))
        said[held] = reader.log_probabilities([prompts.inputs[row] for row in np.flatnonzero(held).tolist()])
        members.append(Member(reader, Fitted(1.0, np.full(len(labels), 1.0 / len(labels)))))
    return TunedPrompts(tuple(members), said)


def num_tuned_shown(prompts: Prompts, num_shown: int) -> int:
    """How many examples a tuned prompt begins at: `num_shown`, or as many as fit the model's context.

    Unlike a prompt's examples, those of a tuned one can't be left out for a long input; so the longest of them are what
    has to fit. Raises what tuning these prompts would, before anything is computed: InvalidParameterError for a backend
    that can't, CheckpointError for what isn't installed, InvalidInputError for labels that begin alike or long texts.
    """
    task, backend = prompts.task, prompts.backend
    asking = _asking(task)
    asked = Reader(asking, backend).prompts(prompts.inputs)
    words = continuations(asking)
    _tuner_of(backend).check_tunable(asked[0], words)
    blocks = sorted((backend.count_tokens(prefix(asking, (one,))) for one in task.examples), reverse=True)
    head = prefix(task, ())
    room = backend.info.context_length - (backend.count_tokens(head) if head else 0)
    room -= max(map(backend.count_tokens, asked)) + max(map(backend.count_tokens, words))
    num_labels = len(task.labels)
    fewest = min(num_labels, num_shown)
    fitting = [number for number in range(num_shown, fewest - 1, -num_labels) if sum(blocks[:number]) <= room]
    if not fitting:
        problem = f"Tuned prompts of {fewest} examples and the longest text don't fit the model's context"
        problem += f" of {backend.info.context_length} tokens."
        raise InvalidInputError(problem, fix="Take out the longest texts, or tune no prompts.")
    return fitting[0]


def _tuner_of(backend: Backend) -> PrefixTuner:
    """The backend, if it can tune prompts; else InvalidParameterError."""
    if not isinstance(backend, PrefixTuner):
        raise no_prefix(backend)
    return backend


def _learned(
    prompts: Prompts, classes: Classes, rows: Classes, num_shown: int, seed: int
) -> tuple[list[str], list[LabelledPrompt], tuple[str, ...]]:
    """What a prompt begins as and is tuned on: the texts of its start, what is asked behind it, and the labels."""
    task, examples = prompts.task, prompts.task.examples
    asking = _asking(task)
    (dealt,) = balanced_prompts(classes[rows], num_shown, 1, seed)
    shown = rows[dealt].tolist()
    head = prefix(task, ())
    texts = [head] if head else []
    blocks = {row: len(texts) + place for place, row in enumerate(shown)}
    texts += [prefix(asking, (examples[row],)) for row in shown]
    asked = Reader(asking, prompts.backend).prompts([prompts.inputs[row] for row in rows.tolist()])
    labelled = [
        LabelledPrompt(text, int(classes[row]), blocks.get(row)) for text, row in zip(asked, rows.tolist(), strict=True)
    ]
    return texts, labelled, continuations(asking)


def _asking(task: Task) -> Task:
    """The task without what its prompt begins with."""
    return task.replace(description="", examples=())


def _part_of(advance: Progress, num_before: int, num_steps: int) -> Progress:
    """Progress of one prompt as that of all."""
    return lambda done, _: advance(num_before + done, num_steps)
