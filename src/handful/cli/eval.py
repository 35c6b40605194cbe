"""`handful eval`: how right a task is, by number of examples and predictor, with intervals, figures and a report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from handful.cli.eval_options import TaskArgument
from handful.cli.eval_plan import EvalOptions, grid_of, run_of, source_of, wordings_of
from handful.cli.option_groups import grouped

if TYPE_CHECKING:
    from handful.evals.summary import Summary


@grouped
def evaluate(context: typer.Context, task: TaskArgument = None, *, asked: EvalOptions) -> None:
    """Measure a task on labelled data: accuracy, F1, log loss and calibration by number of examples.

    The task as it stands:

        handful eval sentiment.yaml --data reviews.csv --output measured

    How many examples are worth it, and whether calibrating helps; example sets are drawn five times:

        handful eval sentiment.yaml --data reviews.csv --shots 0,2,4,8 --predictor plain,task,auto --output curve

    Whether tuning prompts pays, with 64 examples a label; each example set takes some minutes:

        handful eval sentiment.yaml --data reviews.csv --shots 128 --seeds 1 --predictor auto,tuned --output tuned

    In continuous integration, and the report once more from the records alone:

        handful eval sentiment.yaml --data reviews.csv --output measured --fail-under 0.8

        handful eval --from curve

    If it is interrupted, the same command continues.
    """
    from handful.cli.eval_options import refuse_with_from

    if task is None and asked.from_folder is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    _check_fail_under(asked.fail_under)
    if asked.from_folder is not None:
        refuse_with_from(context)
    folder = asked.from_folder or _evaluate_task(str(task), asked)
    if not _show(folder, asked):
        raise typer.Exit(1)


def _check_fail_under(share: float | None) -> None:
    from handful.errors import InvalidParameterError

    if share is not None and not 0.0 <= share <= 1.0:
        raise InvalidParameterError("--fail-under", f"is a share from 0 to 1, not {share:g}.", fix="Write 0.8 for 80%.")


def _evaluate_task(task_path: str, asked: EvalOptions) -> Path:
    """Ask what the records lack; the folder of the records."""
    from handful.cli.eval_options import encoder_name, open_encoder, opener, prompt_epochs, provided, required
    from handful.cli.eval_progress import watch_evaluation
    from handful.cli.output import tell
    from handful.evals import plots
    from handful.evals.evaluate import Opened
    from handful.evals.evaluate import evaluate as ask_all
    from handful.evals.journal import Journal
    from handful.evals.lm_eval import load_task
    from handful.evals.sets import load_data

    loaded = load_task(Path(task_path))
    tasks = wordings_of(loaded.task, asked.variant or [])
    grid, source = grid_of(loaded.task, tasks, asked), source_of(loaded, asked)
    output = required("--output", asked.output, "the folder for records and report")
    plots.check_plots()
    epochs = prompt_epochs(grid.predictors, asked.prompt_epochs, grid.models)
    found = load_data(source, loaded.task)
    encoder = open_encoder(encoder_name(grid.predictors, asked.encoder), asked.device)
    run = run_of(tasks, source, grid, found, asked)
    with Journal(output, run, overwrite=asked.overwrite) as journal:
        num_there = sum(journal.num_done.values())
        if num_there and not asked.quiet:
            tell(f"{output}: {num_there} records are there already.")
        try:
            with watch_evaluation(is_wanted=not asked.quiet and sys.stderr.isatty()) as (watch, advance):
                open_model = opener(asked.precision, asked.device, asked.token, is_quiet=asked.quiet)
                ask_all(tasks, found, grid, Opened(open_model, provided(encoder, epochs, advance)), journal, watch)
        except KeyboardInterrupt:
            tell(f"interrupted: {sum(journal.num_done.values())} records are kept; the same command continues.")
            raise
    return output


def _show(folder: Path, asked: EvalOptions) -> bool:
    """Print and write what the records say; whether it is good enough."""
    from handful.cli.output import harmless, json_line, tell
    from handful.evals.journal import read_run
    from handful.evals.report import render, summary_json
    from handful.evals.tables import result_table, text_of

    report = render(folder)
    summary = report.summary
    if asked.json:
        print(json_line(summary_json(read_run(folder), summary)), end="", flush=True)
    else:
        print(harmless(text_of(result_table(summary))), *map(harmless, summary.remarks), sep="\n", flush=True)
    if not asked.quiet:
        tell(f"{report.page}: tables, figures, worst mistakes.")
    return _is_good_enough(summary, asked.fail_under)


def _is_good_enough(summary: "Summary", fail_under: float | None) -> bool:
    from handful.cli.output import tell
    from handful.evals.intervals import ROUNDING
    from handful.evals.summary import metric_name

    if summary.num_errors:
        tell(f"error: {summary.num_errors} queries could not be answered; their records say why.")
    reached = summary.best.metrics[summary.metric].mean
    if fail_under is not None and reached < fail_under - ROUNDING:
        tell(f"error: the best {metric_name(summary.metric)} is {reached:.4f}, below {fail_under:g}.")
        return False
    return summary.num_errors == 0
