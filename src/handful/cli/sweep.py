"""`handful sweep`: a task under every combination of generation parameters, and what came out of each."""

import sys
from dataclasses import dataclass
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
from handful.cli.remote import TokenOption
from handful.types import Device, Precision

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

    axes: "Axes"
    data: Path
    text_column: str | None
    label_column: str | None
    model: str | None
    limit: int | None
    output: Path
    overwrite: bool
    precision: Precision | None
    device: Device | None
    token: str | None
    quiet: bool


def sweep(
    context: typer.Context,
    task: TaskArgument = None,
    *,
    data: DataOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    temperature: TemperatureOption = None,
    max_new_tokens: LengthOption = None,
    end_sequence: EndOption = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    limit: LimitOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    token: TokenOption = None,
    from_folder: FromOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Try generation parameters on a task that is answered in free text: a grid with scores and samples.

        handful sweep translation.yaml --data pairs.csv --temperature 0,0.5,1 --max-new-tokens 8,16 --output grid

    End sequences, and the report once more from the records alone:

        handful sweep translation.yaml --data pairs.csv --end-sequence '###' --end-sequence '\\n' --output ends

        handful sweep --from grid

    If it is interrupted, the same command continues.
    """
    from handful.cli.eval_options import refuse_with_from, required

    if task is None and from_folder is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    if from_folder is not None:
        refuse_with_from(context)
        folder = from_folder
    else:
        folder = required("--output", output, "the folder for records and report")
        options = SweepOptions(
            axes=_axes(temperature, max_new_tokens, end_sequence or [], seed),
            data=required("--data", data, "the rows to ask"),
            text_column=text_column,
            label_column=label_column,
            model=model,
            limit=limit,
            output=folder,
            overwrite=overwrite,
            precision=precision,
            device=device,
            token=token,
            quiet=quiet,
        )
        _sweep_task(str(task), options)
    _show(folder, as_json=json, is_quiet=quiet)


def _axes(temperature: str | None, lengths: str | None, ends: list[str], seed: int) -> "Axes":
    from handful.cli.eval_options import listed
    from handful.evals.sweep import Axes

    return Axes(
        temperatures=() if temperature is None else listed("--temperature", temperature, float),
        max_new_tokens=() if lengths is None else listed("--max-new-tokens", lengths, int),
        end_sequences=tuple(end.replace("\\n", "\n") for end in ends),
        seed=seed,
    )


def _sweep_task(task_path: str, asked: SweepOptions) -> None:
    """Ask what the records lack."""
    from handful.cli.eval_options import columns_of, opener
    from handful.cli.eval_progress import watch_evaluation
    from handful.cli.output import tell
    from handful.config import settings
    from handful.evals import plots
    from handful.evals.journal import Journal
    from handful.evals.sets import Source, load_data
    from handful.evals.sweep import sweep as ask_all
    from handful.task.task import Task

    task = Task.load(task_path)
    asked.axes.settings(task)  # refuses what can't be swept before the data are read
    plots.check_plots()
    columns = columns_of(asked.text_column, asked.label_column, None)
    queries = load_data(Source(data=asked.data, columns=columns, limit=asked.limit), task).queries
    model = asked.model or task.model or settings().model
    with Journal(asked.output, _run(task, model, asked), overwrite=asked.overwrite) as journal:
        num_there = sum(journal.num_done.values())
        if num_there and not asked.quiet:
            tell(f"{asked.output}: {num_there} records are there already.")
        try:
            with watch_evaluation(is_wanted=not asked.quiet and sys.stderr.isatty()) as watch:
                open_model = opener(asked.precision, asked.device, asked.token, is_quiet=asked.quiet)
                ask_all(task, queries, asked.axes, model, open_model, journal, watch)
        except KeyboardInterrupt:
            tell(f"interrupted: {sum(journal.num_done.values())} records are kept; the same command continues.")
            raise


def _run(task: "Task", model: str, asked: SweepOptions) -> "Run":
    from dataclasses import asdict

    from handful.config import settings
    from handful.evals.journal import Run
    from handful.evals.origin import command_line, fingerprint, versions
    from handful.evals.sweep import COORDINATES

    plan = {
        "task": task.to_dict(),
        "data": fingerprint(asked.data),
        "text_column": asked.text_column,
        "label_column": asked.label_column,
        "axes": asdict(asked.axes),
        "model": model,
        "limit": asked.limit,
        "precision": asked.precision or settings().precision,
    }
    context = {"versions": versions(), "command": command_line(sys.argv[1:])}
    return Run(kind="sweep", coordinates=COORDINATES, plan=plan, context=context)


def _show(folder: Path, *, as_json: bool, is_quiet: bool) -> None:
    """Print and write what the records say."""
    from handful.cli.output import harmless, json_line, tell
    from handful.evals.journal import read_run
    from handful.evals.sweep_report import render_sweep, sweep_json, sweep_table
    from handful.evals.tables import text_of

    rows = render_sweep(folder)
    if as_json:
        print(json_line(sweep_json(read_run(folder), rows)), end="", flush=True)
    else:
        print(harmless(text_of(sweep_table(rows))), end="", flush=True)
    if not is_quiet:
        tell(f"{folder / 'report.html'}: tables, heat maps, samples.")
