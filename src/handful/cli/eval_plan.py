"""From the options of `handful eval` to tasks, a grid of settings, a source of rows, and the run's identity."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.eval_options import (
    DataOption,
    DeviceOption,
    EncoderOption,
    FromOption,
    JsonOption,
    LabelColumnOption,
    LabelNamesOption,
    LimitOption,
    OutputOption,
    OverwriteOption,
    PrecisionOption,
    PromptEpochsOption,
    QuietOption,
    TextColumnOption,
)
from handful.cli.remote import TokenOption

if TYPE_CHECKING:
    from handful.evals.cells import Grid
    from handful.evals.journal import Run
    from handful.evals.lm_eval import Loaded
    from handful.evals.sets import Data, Source
    from handful.task.task import Task


TrainOption = Annotated[
    Path | None, typer.Option(help="Rows that examples are drawn from. Else a part of --data is set aside for them.")
]
ShotsOption = Annotated[
    str | None, typer.Option(help="Numbers of examples: 0,1,2,4,8,16. Left out: the task's own examples as they are.")
]
SeedsOption = Annotated[int, typer.Option(min=1, max=1000, help="Example sets drawn for each number of examples.")]
OrdersOption = Annotated[int, typer.Option(min=1, max=1000, help="Orders that each example set is shown in.")]
PredictorOption = Annotated[
    str | None,
    typer.Option(
        help="A list of readings: task (as `run` answers), plain, contextual, domain, batch, channel, knn, nearest, "
        "encoder, auto, tuned, ..."
    ),
]
VariantOption = Annotated[
    list[str] | None, typer.Option(help="Another wording of the task, as a task file; may be repeated.")
]
ModelsOption = Annotated[
    list[str] | None, typer.Option("--model", "-m", help="A name, Hub id, folder, .gguf file or URL; may be repeated.")
]
FailOption = Annotated[
    float | None, typer.Option(help="Exit with 1 if the best row's accuracy (or exact match) is below this share.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """What was asked for on the command line."""

    data: DataOption = None
    train: TrainOption = None
    text_column: TextColumnOption = None
    label_column: LabelColumnOption = None
    label_names: LabelNamesOption = None
    shots: ShotsOption = None
    seeds: SeedsOption = 5
    orders: OrdersOption = 1
    predictor: PredictorOption = None
    encoder: EncoderOption = None
    prompt_epochs: PromptEpochsOption = None
    variant: VariantOption = None
    model: ModelsOption = None
    limit: LimitOption = None
    output: OutputOption = None
    overwrite: OverwriteOption = False
    precision: PrecisionOption = None
    device: DeviceOption = None
    token: TokenOption = None
    fail_under: FailOption = None
    from_folder: FromOption = None
    json: JsonOption = False
    quiet: QuietOption = False


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
    from handful.cli.usage import WrongUsageError
    from handful.config import settings
    from handful.errors import InvalidParameterError
    from handful.evals.askers import check_predictors
    from handful.evals.cells import Grid

    shots = None if asked.shots is None else listed("--shots", asked.shots, int)
    if shots is not None and min(shots) < 0:
        raise InvalidParameterError("--shots", "must be whole numbers from 0.")
    if shots is None and asked.train is not None:
        raise WrongUsageError("--train", "needs --shots: how many examples to draw from it.")
    usual = "task" if task.is_closed else "generate"
    predictors = listed("--predictor", asked.predictor or usual, str)
    check_predictors(predictors, task)
    return Grid(
        models=tuple(asked.model or [task.model or settings().model]),
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
    from handful.cli.eval_options import encoder_name, prompt_epochs
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
    if (encoder := encoder_name(grid.predictors, asked.encoder)) is not None:
        plan["encoder"] = encoder
    if (epochs := prompt_epochs(grid.predictors, asked.prompt_epochs, grid.models)) is not None:
        plan["prompt_epochs"] = epochs
    context = {"versions": versions(), "command": command_line(sys.argv[1:])}
    return Run(kind="eval", coordinates=COORDINATES, plan=plan, context=context)
