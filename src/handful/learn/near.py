"""The readings that show each query its own examples: those that are most like it, out of all that are given.

A prompt shows about eight, the labels in turn. Nothing but the description is shared between two queries, so they cost
more than other readings (`work`, `prefix_cost`); they pay where the form of an input decides its answer.
"""

from collections.abc import Sequence

from handful.backend import Backend
from handful.errors import InvalidInputError
from handful.learn.ngrams import Encoder
from handful.learn.probability import Vector
from handful.learn.selecting import SelectedText, SelectingPredictor
from handful.learn.selector import Selector, SelectorSettings
from handful.task.inputs import Input
from handful.task.task import Task

BY_NGRAMS, BY_ENCODER = "nearest", "nearest by encoder"
NAMES = (BY_NGRAMS, BY_ENCODER)
_SHOWN = 8


def num_shown(task: Task) -> int:
    """How many examples a prompt shows: the same of each label, at least `_SHOWN` in all."""
    num_labels = max(1, len(task.labels))
    return num_labels * -(-_SHOWN // num_labels)


def nearest(
    task: Task, backend: Backend, encoder: Encoder | None = None, *, texts: Sequence[Input] = ()
) -> SelectingPredictor | SelectedText:
    """What answers behind the nearest of the task's examples, compared by n-grams or by `encoder`.

    `texts`, unlabelled inputs, calibrate a task with labels. Raises InvalidInputError where all would be shown.
    """
    shown = num_shown(task)
    if len(task.examples) <= shown:
        problem = f"Choosing the nearest {shown} needs more than {shown} examples; there are {len(task.examples)}."
        raise InvalidInputError(problem, fix="Give more examples.")
    found = answering(Selector(task, settings(task, encoder)), backend)
    return found.fit(texts) if isinstance(found, SelectingPredictor) else found


def settings(task: Task, encoder: Encoder | None = None) -> SelectorSettings:
    """How the examples are chosen."""
    return SelectorSettings(strategy="balanced nearest", num_shown=num_shown(task), encoder=encoder)


def answering(selector: Selector, backend: Backend, bias: Vector | None = None) -> SelectingPredictor | SelectedText:
    """What answers behind the examples that `selector` chooses; `bias` calibrates a task with labels."""
    if selector.pool.is_closed:
        return SelectingPredictor(selector, backend, bias)
    return SelectedText(selector, backend)
