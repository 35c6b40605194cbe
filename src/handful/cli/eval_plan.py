"""From the options of `handful eval` to tasks, a grid of settings, a source of rows, and the run's identity."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from handful.types import Device, Precision

if TYPE_CHECKING:
    from handful.evals.cells import Grid
    from handful.evals.journal import Run
    from handful.evals.lm_eval import Loaded
    from handful.evals.sets import Data, Source
    from handful.task.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """What was asked for on the command line."""

    data: Path | None
    train: Path | None
    text_column: str | None
    label_column: str | None
    label_names: str | None
    shots: str | None
    seeds: int
    orders: int
    predictor: str | None
    variants: list[str]
    models: list[str]
    limit: int | None
    output: Path | None
    overwrite: bool
    precision: Precision | None
    device: Device | None
    token: str | None
    quiet: bool


def wordings_of(task: "Task", paths: list[str]) -> "dict[str, Task]":
    """Wording's name -> task. All must ask the same: the same variables and labels."""
    from handful.errors import TaskError
    from handful.evals.lm_eval import load_task

    tasks = {task.name: task}
    for path in paths:
        other = load_task(Path(path)).task
        if other.name in tasks:
            raise TaskError(f"Two tasks are named `{other.name}`.", fix=f"Give the one in {path} another `name`.")
        if other.variables != task.variables or set(other.labels) != set(task.labels):
            problem = f"{path} is no other wording of `{task.name}`: its variables or labels differ."
            raise TaskError(problem, fix="Change only the description and the templates.")
        tasks[other.name] = other
    return tasks


def grid_of(task: "Task", tasks: "dict[str, Task]", asked: EvalOptions) -> "Grid":
    """What is combined. Raises `InvalidParameterError` for a list that can't be read or a predictor there isn't."""
    from handful.cli.eval_options import listed
    from handful.config import settings
    from handful.errors import InvalidParameterError
    from handful.evals.askers import check_predictors
    from handful.evals.cells import Grid

    shots = None if asked.shots is None else listed("--shots", asked.shots, int)
    if shots is not None and min(shots) < 0:
        raise InvalidParameterError("--shots", "must be whole numbers from 0.")
    if shots is None and asked.train is not None:
        raise InvalidParameterError("--train", "needs --shots: how many examples to draw from it.")
    usual = "task" if task.is_closed else "generate"
    predictors = listed("--predictor", asked.predictor or usual, str)
    check_predictors(predictors, task)
    return Grid(
        models=tuple(asked.models or [task.model or settings().model]),
        templates=tuple(tasks),
        predictors=predictors,
        shots=shots,
        num_sets=asked.seeds,
        num_orders=asked.orders,
    )


def source_of(loaded: "Loaded", asked: EvalOptions) -> "Source":
    """The files and how they are read; what the task's own file says of columns stands in for options left out."""
    from handful.cli.eval_options import columns_of, listed, required
    from handful.evals.sets import Source

    label_column = asked.label_column or loaded.label_column
    columns = columns_of(asked.text_column, label_column, asked.label_names)
    return Source(
        data=required("--data", asked.data, "the labelled rows to ask"),
        train=asked.train,
        columns=replace(columns, names=columns.names or loaded.label_names),
        max_shots=0 if asked.shots is None else max(listed("--shots", asked.shots, int)),
        limit=asked.limit,
    )


def run_of(tasks: "dict[str, Task]", source: "Source", grid: "Grid", data: "Data", asked: EvalOptions) -> "Run":
    """What the records depend on, and with what they were made."""
    from handful.config import settings
    from handful.evals.cells import COORDINATES
    from handful.evals.journal import Run
    from handful.evals.origin import command_line, fingerprint, versions

    task = next(iter(tasks.values()))
    plan = {
        "task": task.to_dict(),
        "tasks": [other.to_dict() for other in tasks.values()],
        "labels": list(task.labels),
        "data": fingerprint(source.data),
        "train": None if source.train is None else fingerprint(source.train),
        "text_column": source.columns.text,
        "label_column": source.columns.label,
        "label_names": dict(source.columns.names),
        "shots": grid.shots,
        "seeds": grid.num_sets,
        "orders": grid.num_orders,
        "predictor": grid.predictors,
        "model": grid.models,
        "limit": source.limit,
        "precision": asked.precision or settings().precision,
        "num_queries": len(data.queries),
        "num_leaked": data.num_leaked,
    }
    context = {"versions": versions(), "command": command_line(sys.argv[1:])}
    return Run(kind="eval", coordinates=COORDINATES, plan=plan, context=context)
