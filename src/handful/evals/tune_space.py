"""What `handful tune` chooses from: wordings, label words, example sets and their orders, and readings.

Every candidate is a whole task and how it is read. Where the task itself says that (its calibration), the one that wins
is a task file like any other; other readings learn from the task's examples and are saved as a classifier.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handful.errors import InvalidInputError, InvalidParameterError
from handful.evals.askers import check_predictors
from handful.evals.data import Item
from handful.evals.sets import draw_set
from handful.learn import near
from handful.learn.reading_names import ENCODER, NAMES, NEED_ENCODER
from handful.task.problem import join_words
from handful.task.task import Example, Task
from handful.types import Calibration

# The readings that a task file holds: what its `calibration` says.
TASK_READINGS: Mapping[str, Calibration] = {
    "task": "auto",
    "plain": "none",
    "contextual": "contextual",
    "domain": "domain",
}
# The reading of a task that is answered in free text which a task file holds.
TEXT_READING = "generate"

# Readings that don't ask in which order their examples stand.
_ANY_ORDER = (*near.NAMES, ENCODER)

Words = Mapping[str, str]
"""Label -> the word that stands for it; a label that isn't named stands for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The choices. The first template is the task itself; `shots` are sizes of example sets that are drawn.

    predictors  readings by the names of `handful eval`; None: all that a task file holds
    most        candidates that are tried: drawn at random from all, the task as it is always among them
    """

    templates: tuple[Task, ...]
    words: tuple[Words, ...] = ()
    shots: tuple[int, ...] = ()
    num_sets: int = 4
    num_orders: int = 2
    predictors: tuple[str, ...] | None = None
    most: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_sets", "num_orders", "most"):
            if getattr(self, name) < 1:
                raise InvalidParameterError(name, "must be at least 1.")
        own = self.templates[0]
        check_predictors(self.readings, own)
        for other in self.templates[1:]:
            if (other.labels, other.variables) != (own.labels, own.variables):
                problem = f"The wording `{other.name}` has other labels or variables than `{own.name}`."
                raise InvalidInputError(problem, fix="A wording differs in description, templates or separator alone.")
        for each in self.words:
            _check_words(own, each)

    @property
    def readings(self) -> tuple[str, ...]:
        """The names of what is tried."""
        usual = tuple(TASK_READINGS) if self.templates[0].is_closed else (TEXT_READING,)
        return usual if self.predictors is None else self.predictors

    @property
    def beyond_a_task_file(self) -> tuple[str, ...]:
        """Those of them that no task file holds, so that the result is a folder."""
        return tuple(name for name in self.readings if name not in TASK_READINGS and name != TEXT_READING)

    @property
    def needs_encoder(self) -> bool:
        """Whether one of them reads an encoder's vectors."""
        return any(name in NEED_ENCODER for name in self.readings)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task to try, and how it came about. `words` says what its labels stand for.

    predictor  "task" where the task itself says how it is read
    """

    task: Task
    made_of: Mapping[str, Any]
    words: Words
    predictor: str = "task"

    @property
    def key(self) -> tuple[str, str]:
        """Equal for candidates that are asked the same."""
        return self.task.fingerprint, self.predictor

    def expected(self, item: Item) -> str:
        """The answer that is right, in the candidate's own words."""
        return self.words.get(item.expected, item.expected)


def candidates(space: Space, pool: Sequence[Item]) -> list[Candidate]:
    """The task as it is, then what is to be tried beside it, each once, the same at every run."""
    own = space.templates[0]
    first = Candidate(own, {"template": own.name, "examples": "its own", "predictor": _own_reading(own)}, {})
    found = {first.key: first}
    choices = list(itertools.product(space.templates, ({}, *space.words), _example_sets(space), space.readings))
    random.Random(space.seed).shuffle(choices)  # noqa: S311  a reproducible draw, not a secret
    for template, words, shown, predictor in choices:
        if len(found) == space.most:
            break
        if shown.order and predictor in _ANY_ORDER:
            continue
        base = template.replace(
            name=own.name,
            calibration=TASK_READINGS.get(predictor, "auto"),
            parameters=own.parameters,
            abstain_below=own.abstain_below,
            model=own.model,
        )
        candidate = _candidate(
            base, {"template": template.name, "predictor": predictor}, words, (shown, _examples(space, pool, shown))
        )
        found.setdefault(candidate.key, candidate)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _ExampleSet:
    """Which examples are shown, in which order: `shots` of the set `number`, or the task's own (None)."""

    shots: int | None
    number: int
    order: int

    @property
    def name(self) -> str:
        return "its own" if self.shots is None else f"{self.shots} of set {self.number}"


def _own_reading(task: Task) -> str:
    if not task.is_closed:
        return TEXT_READING
    return next(name for name, calibration in TASK_READINGS.items() if calibration == task.calibration)


def _candidate(
    base: Task, made_of: Mapping[str, str], words: Words, shown: tuple[_ExampleSet, Sequence[Example]]
) -> Candidate:
    """`base` in other words, with other examples."""
    chosen, examples = shown
    labels = tuple(words.get(label, label) for label in base.labels)
    given = tuple(Example(one.inputs, words.get(one.output, one.output)) for one in examples)
    predictor = made_of["predictor"]
    told = {
        "template": made_of["template"],
        "examples": chosen.name,
        "order": chosen.order,
        "predictor": predictor,
    } | ({"words": dict(words)} if words else {})
    asked = predictor if predictor in NAMES and predictor not in TASK_READINGS else "task"
    return Candidate(base.replace(labels=labels, examples=given), told, words, asked)


def _example_sets(space: Space) -> Iterator[_ExampleSet]:
    """Each example set in each order: the task's own, then those to be drawn."""
    for order in range(space.num_orders if len(space.templates[0].examples) > 1 else 1):
        yield _ExampleSet(None, 0, order)
    for shots in space.shots:
        for number in range(space.num_sets if shots else 1):
            for order in range(space.num_orders if shots > 1 else 1):
                yield _ExampleSet(shots, number, order)


def _examples(space: Space, pool: Sequence[Item], shown: _ExampleSet) -> list[Example]:
    own = space.templates[0]
    if shown.shots is not None:
        return [item.example for item in draw_set(pool, own, shown.shots, space.seed + shown.number, shown.order)]
    examples = list(own.examples)
    if shown.order:
        random.Random(f"own {shown.order}").shuffle(examples)  # noqa: S311
    return examples


def _check_words(task: Task, words: Words) -> None:
    for label in words:
        if label not in task.labels:
            fix = f"The labels are {join_words(task.labels[:20])}."
            raise InvalidParameterError("--words", f"names `{label}`, which is no label of the task.", fix=fix)
    standing = [words.get(label, label) for label in task.labels]
    if len(set(standing)) < len(standing):
        raise InvalidParameterError("--words", f"lets one word stand for two labels: {join_words(standing[:20])}.")
