"""What `handful tune` chooses from: wordings, label words, example sets and their orders, calibration.

Every candidate is a whole task, so the one that wins is a task file like any other.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handful.errors import InvalidInputError, InvalidParameterError
from handful.evals.data import Item
from handful.evals.sets import draw_set
from handful.task.problem import join_words
from handful.task.task import Example, Task

Words = Mapping[str, str]
"""Label -> the word that stands for it; a label that isn't named stands for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The choices. The first template is the task itself; `shots` are sizes of example sets that are drawn.

    most  candidates that are tried: drawn at random from all, the task as it is always among them
    """

    templates: tuple[Task, ...]
    words: tuple[Words, ...] = ()
    shots: tuple[int, ...] = ()
    num_sets: int = 4
    num_orders: int = 2
    calibrations: tuple[str, ...] = ("auto", "none")
    most: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_sets", "num_orders", "most"):
            if getattr(self, name) < 1:
                raise InvalidParameterError(name, "must be at least 1.")
        own = self.templates[0]
        for other in self.templates[1:]:
            if (other.labels, other.variables) != (own.labels, own.variables):
                problem = f"The wording `{other.name}` has other labels or variables than `{own.name}`."
                raise InvalidInputError(problem, fix="A wording differs in description, templates or separator alone.")
        for each in self.words:
            _check_words(own, each)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task to try, and how it came about. `words` says what its labels stand for."""

    task: Task
    made_of: Mapping[str, Any]
    words: Words

    def expected(self, item: Item) -> str:
        """The answer that is right, in the candidate's own words."""
        return self.words.get(item.expected, item.expected)


def candidates(space: Space, pool: Sequence[Item]) -> list[Candidate]:
    """The task as it is, then what is to be tried beside it, each once, the same at every run."""
    own = space.templates[0]
    first = Candidate(own, {"template": own.name, "examples": "its own", "calibration": own.calibration}, {})
    found = {own.fingerprint: first}
    calibrations = space.calibrations if own.is_closed else (own.calibration,)
    choices = list(itertools.product(space.templates, ({}, *space.words), _example_sets(space), calibrations))
    random.Random(space.seed).shuffle(choices)  # noqa: S311  a reproducible draw, not a secret
    for template, words, shown, calibration in choices:
        if len(found) == space.most:
            break
        base = template.replace(name=own.name, calibration=calibration, parameters=own.parameters, model=own.model)
        candidate = _candidate(base, template.name, words, (shown, _examples(space, pool, shown)))
        found.setdefault(candidate.task.fingerprint, candidate)
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


def _candidate(base: Task, template: str, words: Words, shown: tuple[_ExampleSet, Sequence[Example]]) -> Candidate:
    """`base` in other words, with other examples."""
    chosen, examples = shown
    labels = tuple(words.get(label, label) for label in base.labels)
    given = tuple(Example(one.inputs, words.get(one.output, one.output)) for one in examples)
    made_of = {
        "template": template,
        "examples": chosen.name,
        "order": chosen.order,
        "calibration": base.calibration,
    }
    told = made_of | ({"words": dict(words)} if words else {})
    return Candidate(base.replace(labels=labels, examples=given), told, words)


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
