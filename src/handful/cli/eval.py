"""`handful eval`: how right a task is, by number of examples and predictor, with intervals, figures and a report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.eval_options import (
    DataOption,
    DeviceOption,
    FromOption,
    JsonOption,
    LabelColumnOption,
    LabelNamesOption,
    LimitOption,
    OutputOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    TaskArgument,
    TextColumnOption,
)
from handful.cli.eval_plan import EvalOptions, grid_of, run_of, source_of, wordings_of
from handful.cli.remote import TokenOption

if TYPE_CHECKING:
    from handful.evals.summary import Summary

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
        help="A list of readings: task (as `run` answers), plain, contextual, domain, batch, channel, auto, ..."
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


def evaluate(
    context: typer.Context,
    task: TaskArgument = None,
    *,
    data: DataOption = None,
    train: TrainOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    label_names: LabelNamesOption = None,
    shots: ShotsOption = None,
    seeds: SeedsOption = 5,
    orders: OrdersOption = 1,
    predictor: PredictorOption = None,
    variant: VariantOption = None,
    model: ModelsOption = None,
    limit: LimitOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    token: TokenOption = None,
    fail_under: FailOption = None,
    from_folder: FromOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a task on labelled data: accuracy, F1, log loss and calibration by number of examples.

    The task as it stands:

        handful eval sentiment.yaml --data reviews.csv --output measured

    How many examples are worth it, and whether calibrating helps; example sets are drawn five times:

        handful eval sentiment.yaml --data reviews.csv --shots 0,2,4,8 --predictor plain,task,auto --output curve

    In continuous integration, and the report once more from the records alone:

        handful eval sentiment.yaml --data reviews.csv --output measured --fail-under 0.8

        handful eval --from curve

    If it is interrupted, the same command continues.
    """
    from handful.cli.eval_options import refuse_with_from

    if task is None and from_folder is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    _check_fail_under(fail_under)
    if from_folder is not None:
        refuse_with_from(context)
        folder = from_folder
    else:
        folder = _evaluate_task(
            str(task),
            EvalOptions(
                data=data,
                train=train,
                text_column=text_column,
                label_column=label_column,
                label_names=label_names,
                shots=shots,
                seeds=seeds,
                orders=orders,
                predictor=predictor,
                variants=variant or [],
                models=model or [],
                limit=limit,
                output=output,
                overwrite=overwrite,
                precision=precision,
                device=device,
                token=token,
                quiet=quiet,
            ),
        )
    if not _show(folder, fail_under, as_json=json, is_quiet=quiet):
        raise typer.Exit(1)


def _check_fail_under(share: float | None) -> None:
    from handful.errors import InvalidParameterError

    if share is not None and not 0.0 <= share <= 1.0:
        raise InvalidParameterError("--fail-under", f"is a share from 0 to 1, not {share:g}.", fix="Write 0.8 for 80%.")


def _evaluate_task(task_path: str, asked: EvalOptions) -> Path:
    """Ask what the records lack; the folder of the records."""
    from handful.cli.eval_options import opener, required
    from handful.cli.eval_progress import watch_evaluation
    from handful.cli.output import tell
    from handful.evals import plots
    from handful.evals.evaluate import evaluate as ask_all
    from handful.evals.journal import Journal
    from handful.evals.lm_eval import load_task
    from handful.evals.sets import load_data

    loaded = load_task(Path(task_path))
    tasks = wordings_of(loaded.task, asked.variants)
    grid, source = grid_of(loaded.task, tasks, asked), source_of(loaded, asked)
    output = required("--output", asked.output, "the folder for records and report")
    plots.check_plots()
    found = load_data(source, loaded.task)
    run = run_of(tasks, source, grid, found, asked)
    with Journal(output, run, overwrite=asked.overwrite) as journal:
        num_there = sum(journal.num_done.values())
        if num_there and not asked.quiet:
            tell(f"{output}: {num_there} records are there already.")
        try:
            with watch_evaluation(is_wanted=not asked.quiet and sys.stderr.isatty()) as watch:
                open_model = opener(asked.precision, asked.device, asked.token, is_quiet=asked.quiet)
                ask_all(tasks, found, grid, open_model, journal, watch)
        except KeyboardInterrupt:
            tell(f"interrupted: {sum(journal.num_done.values())} records are kept; the same command continues.")
            raise
    return output


def _show(folder: Path, fail_under: float | None, *, as_json: bool, is_quiet: bool) -> bool:
    """Print and write what the records say; whether it is good enough."""
    from handful.cli.output import harmless, json_line, tell
    from handful.evals.journal import read_run
    from handful.evals.report import render, summary_json
    from handful.evals.tables import result_table, text_of

    report = render(folder)
    summary = report.summary
    if as_json:
        print(json_line(summary_json(read_run(folder), summary)), end="", flush=True)
    else:
        print(harmless(text_of(result_table(summary))), *map(harmless, summary.remarks), sep="\n", flush=True)
    if not is_quiet:
        tell(f"{report.page}: tables, figures, worst mistakes.")
    return _is_good_enough(summary, fail_under)


def _is_good_enough(summary: "Summary", fail_under: float | None) -> bool:
    from handful.cli.output import tell
    from handful.evals.summary import metric_name

    if summary.num_errors:
        tell(f"error: {summary.num_errors} queries could not be answered; their records say why.")
    reached = summary.best.metrics[summary.metric].mean
    if fail_under is not None and reached < fail_under:
        tell(f"error: the best {metric_name(summary.metric)} is {reached:.4f}, below {fail_under:g}.")
        return False
    return summary.num_errors == 0
