"""`handful sweep`: a task under every combination of generation parameters, and what came out of each."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.eval_options import (
    DataOption,
    DeviceOption,
    FromOption,
    JsonOption,
    LabelColumnOption,
    LimitOption,
    OutputOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    TaskArgument,
    TextColumnOption,
)
from handful.cli.option_groups import grouped
from handful.cli.remote import TokenOption

if TYPE_CHECKING:
    from handful.evals.journal import Run
    from handful.evals.sweep import Axes
    from handful.task.task import Task

TemperatureOption = Annotated[str | None, typer.Option(help="A list: 0,0.5,1. Left out: the task's own.")]
LengthOption = Annotated[str | None, typer.Option("--max-new-tokens", help="A list: 8,16. Left out: the task's own.")]
EndOption = Annotated[
    list[str] | None, typer.Option("--end-sequence", help=r"What ends an answer; may be repeated. \n is a line break.")
]
ModelOption = Annotated[str | None, typer.Option("--model", "-m", help="A name, Hub id, folder, .gguf file or URL.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Makes sampled answers the same at every run.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What was asked for on the command line."""

    data: DataOption = None
    text_column: TextColumnOption = None
    label_column: LabelColumnOption = None
    temperature: TemperatureOption = None
    max_new_tokens: LengthOption = None
    end_sequence: EndOption = None
    seed: SeedOption = 0
    model: ModelOption = None
    limit: LimitOption = None
    output: OutputOption = None
    overwrite: OverwriteOption = False
    precision: PrecisionOption = None
    device: DeviceOption = None
    token: TokenOption = None
    from_folder: FromOption = None
    json: JsonOption = False
    quiet: QuietOption = False


@grouped
def sweep(context: typer.Context, task: TaskArgument = None, *, asked: SweepOptions) -> None:
    """Try generation parameters on a task that is answered in free text: a grid with scores and samples.

    Every combination of two lists:

        handful sweep translation.yaml --data pairs.csv --temperature 0,0.5,1 --max-new-tokens 8,16 --output grid

    End sequences, and the report once more from the records alone:

        handful sweep translation.yaml --data pairs.csv --end-sequence '###' --end-sequence '\\n' --output ends

        handful sweep --from grid

    If it is interrupted, the same command continues.
    """
    from handful.cli.eval_options import refuse_with_from

    if task is None and asked.from_folder is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    if asked.from_folder is not None:
        refuse_with_from(context)
    _show(asked.from_folder or _sweep_task(str(task), asked), asked)


def _axes(asked: SweepOptions) -> "Axes":
    from handful.cli.eval_options import listed
    from handful.evals.sweep import Axes

    return Axes(
        temperatures=() if asked.temperature is None else listed("--temperature", asked.temperature, float),
        max_new_tokens=() if asked.max_new_tokens is None else listed("--max-new-tokens", asked.max_new_tokens, int),
        end_sequences=tuple(end.replace("\\n", "\n") for end in asked.end_sequence or []),
        seed=asked.seed,
    )


def _sweep_task(task_path: str, asked: SweepOptions) -> Path:
    """Ask what the records lack; the folder of the records."""
    from handful.cli.eval_options import columns_of, opener, required
    from handful.cli.eval_progress import watch_evaluation
    from handful.cli.output import tell
    from handful.config import settings
    from handful.evals import plots
    from handful.evals.journal import Journal
    from handful.evals.sets import Source, load_data
    from handful.evals.sweep import sweep as ask_all
    from handful.task.task import Task

    output = required("--output", asked.output, "the folder for records and report")
    data, axes = required("--data", asked.data, "the rows to ask"), _axes(asked)
    task = Task.load(task_path)
    axes.settings(task)  # refuses what can't be swept before the data are read
    plots.check_plots()
    columns = columns_of(asked.text_column, asked.label_column, None)
    queries = load_data(Source(data=data, columns=columns, limit=asked.limit), task).queries
    model = asked.model or task.model or settings().model
    run = _run(task, (model, data, axes), asked)
    with Journal(output, run, overwrite=asked.overwrite) as journal:
        num_there = sum(journal.num_done.values())
        if num_there and not asked.quiet:
            tell(f"{output}: {num_there} records are there already.")
        try:
            with watch_evaluation(is_wanted=not asked.quiet and sys.stderr.isatty()) as (watch, _):
                open_model = opener(asked.precision, asked.device, asked.token, is_quiet=asked.quiet)
                ask_all(task, queries, axes, partial(open_model, model), journal, watch)
        except KeyboardInterrupt:
            tell(f"interrupted: {sum(journal.num_done.values())} records are kept; the same command continues.")
            raise
    return output


def _run(task: "Task", what: "tuple[str, Path, Axes]", asked: SweepOptions) -> "Run":
    from dataclasses import asdict

    from handful.config import settings
    from handful.evals.journal import Run
    from handful.evals.origin import command_line, fingerprint, versions
    from handful.evals.sweep import COORDINATES

    model, data, axes = what
    plan = {
        "task": task.to_dict(),
        "data": fingerprint(data),
        "text_column": asked.text_column,
        "label_column": asked.label_column,
        "axes": asdict(axes),
        "model": model,
        "limit": asked.limit,
        "precision": asked.precision or settings().precision,
    }
    context = {"versions": versions(), "command": command_line(sys.argv[1:])}
    return Run(kind="sweep", coordinates=COORDINATES, plan=plan, context=context)


def _show(folder: Path, asked: SweepOptions) -> None:
    """Print and write what the records say."""
    from handful.cli.output import harmless, json_line, tell
    from handful.evals.journal import read_run
    from handful.evals.sweep_report import render_sweep, sweep_json, sweep_table
    from handful.evals.tables import text_of

    rows = render_sweep(folder)
    if asked.json:
        print(json_line(sweep_json(read_run(folder), rows)), end="", flush=True)
    else:
        print(harmless(text_of(sweep_table(rows))), end="", flush=True)
    if not asked.quiet:
        tell(f"{folder / 'report.html'}: tables, heat maps, samples.")
