"""`handful run`: predictions for texts, a file, or standard input."""

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.option_groups import grouped
from handful.cli.run_options import RunOptions, check_options
from handful.cli.run_streams import Streams, model_name, open_streams, wants_progress, writer
from handful.types import Device, Precision

if TYPE_CHECKING:
    from handful.backend import Backend
    from handful.cli.run_loop import Tally
    from handful.cli.subject import Subject

TaskArgument = Annotated[
    str | None, typer.Argument(metavar="TASK", help="A task file, or the folder of a saved classifier.")
]


@grouped
def run(context: typer.Context, task: TaskArgument = None, *, asked: RunOptions) -> None:
    """Predict with a task: texts in, labels with probabilities or free text out.

    Two texts:

        handful run examples/sentiment.yaml "What a joy." "I left early."

    A file with a text a line, to a file. If it is interrupted, the same command continues:

        handful run sentiment.yaml --input reviews.txt --output answers.jsonl

    With a model that `handful serve` has loaded:

        handful run topic.yaml --model http://127.0.0.1:8000/models/default "Rates rise again."

    A saved classifier, as `handful fit`, `tune`, `distill` and `FewShotClassifier.save` write one:

        handful run sentiment/ "What a joy."

    A column of a CSV, or a pipe, and JSON for other programs:

        handful run topic.yaml --input news.csv --column headline

        cat reviews.txt | handful run sentiment.yaml --json | jq .prediction

    Put -- before texts that start with a hyphen. A row that can't be answered becomes a record with an error; the
    others are answered, and the exit code is 1.
    """
    if task is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
    num_errors = run_task(task, asked)
    if num_errors:
        raise typer.Exit(1)


def run_task(task_path: str, asked: RunOptions) -> int:
    """Answer every row; the number of records that are errors."""
    from handful.cli.output import tell
    from handful.cli.run_loop import Tally
    from handful.cli.subject import load_subject
    from handful.task.review import repetitions

    check_options(asked)
    subject = load_subject(task_path, asked.calibration, asked.device)
    _check_model_options(subject, asked)
    task = subject.task
    if not asked.quiet and subject.classifier is None:
        for found in repetitions(task.examples):
            tell(f"warning: {found}")
    tally = Tally()
    with contextlib.ExitStack() as stack:
        streams = open_streams(subject, asked, stack)
        try:
            _answer(subject, asked, streams, tally)
        except KeyboardInterrupt:
            if streams.records is not None:
                tell(f"interrupted: {tally.num_records} records are kept; the same command continues.")
            raise
    _report(asked, tally)
    return tally.num_errors


def _answer(subject: "Subject", asked: RunOptions, streams: Streams, tally: "Tally") -> None:
    import itertools

    from handful.cli.dropped import tell_of_dropped
    from handful.cli.output import tell
    from handful.cli.progress import show_progress
    from handful.cli.run_loop import skip_finished

    rows = streams.rows
    if streams.records is not None:
        skip_finished(streams.records, rows, tally)
        if tally.num_records and not asked.quiet:
            tell(f"{asked.output}: {tally.num_records} records are there already.")
    first = next(rows, None)
    if first is None:  # no model is loaded for nothing
        if not tally.num_records and not asked.quiet:
            tell("warning: there are no rows, so there is nothing to predict.")
        return
    write = writer(asked, streams.records)
    with contextlib.ExitStack() as stack:
        backend = _load(subject, asked, stack)
        stack.enter_context(tell_of_dropped(is_quiet=asked.quiet))
        advance = stack.enter_context(show_progress(streams.stream, is_wanted=wants_progress(asked)))
        for batch in subject.answer(backend, itertools.chain([first], rows), asked.batch_size):
            write(batch)
            for record in batch:
                tally.add(record)
            advance(len(batch))


def _load(subject: "Subject", asked: RunOptions, stack: contextlib.ExitStack) -> "Backend | None":
    """The model that is asked, closed at the end; None where none is."""
    from handful.cli.output import tell

    if not subject.asks_a_model:
        return None
    name = model_name(subject.task, asked)
    if not asked.quiet and sys.stderr.isatty():
        tell(f"loading {name} ...")
    backend = open_backend(name, precision=asked.precision, device=asked.device, token=asked.token)
    stack.callback(backend.close)
    return backend


def open_backend(
    name: str, *, precision: Precision | None, device: Device | None, token: str | None = None
) -> "Backend":
    """Load the model `name` into this process, or reach it where it is a URL. The one place where `run` gets it."""
    from handful.cli.remote import is_url, open_remote, refuse_token

    if is_url(name):
        return open_remote(name, token, precision=precision, device=device)
    from handful.local import load

    refuse_token(token)
    return load(name, precision=precision, device=device)


def _check_model_options(subject: "Subject", asked: RunOptions) -> None:
    from handful.errors import InvalidParameterError

    if subject.asks_a_model:
        return
    for option, value in (("--model", asked.model), ("--precision", asked.precision), ("--token", asked.token)):
        if value is not None:
            raise InvalidParameterError(option, "has no effect: this classifier reads an encoder, and no model.")


def _report(asked: RunOptions, tally: "Tally") -> None:
    """Remarks at the end: what was dropped, what failed, where the records are."""
    from handful.cli.output import tell

    if tally.num_short and not asked.quiet:
        tell(
            f"warning: {tally.num_short} predictions were made without up to {tally.max_dropped} of the examples, "
            "which didn't fit the model's context."
        )
    if tally.num_errors:
        tell(f"error: {tally.num_errors} of {tally.num_records} rows could not be answered; their records say why.")
    if asked.output is not None and not asked.quiet:
        tell(f"{asked.output}: {tally.num_records} records, complete.")
