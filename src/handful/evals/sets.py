"""Which labelled rows are examples and which are queries, and the example sets drawn from the former.

Sets of one seed are nested: the first k of one shuffled deal, so that a curve over k doesn't jump for want of luck
alone. Where there are labels, the deal goes round them, so that every set is balanced.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handful.errors import InvalidInputError
from handful.evals.data import Columns, Item, check_classes, read_items
from handful.task.task import Task

# Of data without a part of its own for examples, the share that is set aside for them.
_TRAIN_SHARE = 0.2
_SPLIT_SEED = 0
_USUAL_COLUMNS = Columns()


@dataclass(frozen=True, slots=True)
class Data:
    """What is asked (`queries`) and what examples are drawn from (`pool`); `num_leaked` rows left the pool because
    their text is asked."""

    queries: tuple[Item, ...]
    pool: tuple[Item, ...] = ()
    num_leaked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files and how to read them. `max_shots`: the largest example set that will be drawn; 0 needs no pool."""

    data: Path
    train: Path | None = None
    columns: Columns = _USUAL_COLUMNS
    max_shots: int = 0
    limit: int | None = None


def load_data(source: Source, task: Task) -> Data:
    """Read and part the rows. Raises InvalidInputError where they don't do."""
    items = read_items(source.data, task, source.columns)
    check_classes(source.data, items, task)
    if not source.max_shots:
        return Data(_limited(items, task, source))
    if source.train is None:
        pool, queries = _part(items, task, source)
    else:
        pool, queries = read_items(source.train, task, source.columns), items
    asked = {tuple(item.inputs.values()) for item in queries}
    kept = [item for item in pool if tuple(item.inputs.values()) not in asked]
    _check_pool(kept, len(pool) - len(kept), task, source)
    return Data(_limited(queries, task, source), tuple(kept), len(pool) - len(kept))


def draw_set(pool: Sequence[Item], task: Task, shots: int, seed: int, order: int = 0) -> list[Item]:
    """`shots` examples of the deal of `seed`, in the order number `order`. They must be there (`load_data`)."""
    draw = random.Random(f"set {seed}")  # noqa: S311  a reproducible draw, not a secret
    groups = [[item for item in pool if item.expected == label] for label in task.labels] or [list(pool)]
    for group in groups:
        draw.shuffle(group)
    draw.shuffle(groups)
    chosen = [groups[index % len(groups)][index // len(groups)] for index in range(shots)]
    random.Random(f"order {seed} {order}").shuffle(chosen)  # noqa: S311
    return chosen


def _part(items: Sequence[Item], task: Task, source: Source) -> tuple[list[Item], list[Item]]:
    """A part for examples and the rest, the same at every run; as large as the largest set at least."""
    draw = random.Random(_SPLIT_SEED)  # noqa: S311
    pool: set[int] = set()
    for label in task.labels or (None,):
        rows = [index for index, item in enumerate(items) if label is None or item.expected == label]
        draw.shuffle(rows)
        needed = -(-source.max_shots // max(1, len(task.labels)))
        size = max(needed, round(_TRAIN_SHARE * len(rows)))
        if size >= len(rows):
            problem = f"{source.data} has {_rows(len(rows), label)}: too few for {needed} as examples and one to ask."
            raise InvalidInputError(problem, fix="Give the examples' part with --train, more rows, or fewer --shots.")
        pool.update(rows[:size])
    return [items[i] for i in sorted(pool)], [item for i, item in enumerate(items) if i not in pool]


def _check_pool(pool: Sequence[Item], num_leaked: int, task: Task, source: Source) -> None:
    needed = -(-source.max_shots // max(1, len(task.labels)))
    leaked = f" ({num_leaked} more have a text that is asked, so they can't be examples)" if num_leaked else ""
    for label in task.labels or (None,):
        count = sum(label is None or item.expected == label for item in pool)
        if count < needed:
            raise InvalidInputError(
                f"The training part has {_rows(count, label)}{leaked}; {source.max_shots} shots need {needed}.",
                fix="Give more with --train, or ask for fewer --shots.",
            )


def _rows(number: int, label: str | None) -> str:
    """So many rows (of a label), in words."""
    told = "1 row" if number == 1 else f"{number} rows"
    return told if label is None else f"{told} labelled `{label}`"


def _limited(items: Sequence[Item], task: Task, source: Source) -> tuple[Item, ...]:
    """A random part, the same at every run, in the file's order: the first rows of a sorted file are all alike."""
    if source.limit is None or source.limit >= len(items):
        return tuple(items)
    kept = sorted(random.Random(_SPLIT_SEED).sample(range(len(items)), source.limit))  # noqa: S311
    limited = tuple(items[index] for index in kept)
    check_classes(source.data, limited, task)
    return limited
