"""`handful run`: predictions for texts, a file, or standard input."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from handful.cli.inputs import Format
from handful.cli.remote import TokenOption
from handful.types import Calibration, Device, Precision

if TYPE_CHECKING:
    from handful.backend import Backend
    from handful.cli.inputs import Row
    from handful.cli.output import Record
    from handful.cli.records import RecordFile
    from handful.cli.run_loop import Tally
    from handful.cli.subject import Subject
    from handful.task.task import Task

TaskArgument = Annotated[
    str | None, typer.Argument(metavar="TASK", help="A task file, or the folder of a saved classifier.")
]
TextsArgument = Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="The texts to predict.")]
InputOption = Annotated[
    Path | None, typer.Option("--input", "-i", help="A txt, CSV or JSONL file; - is standard input.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write there: CSV if it ends in .csv, else JSONL. Continues.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="A name, Hub id, folder, .gguf file, or URL of a served one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line (schema 1).")]
PrecisionOption = Annotated[
    Precision | None, typer.Option(help="float32 is exact; auto takes the fastest that is safe.")
]
DeviceOption = Annotated[Device | None, typer.Option(help="auto takes a GPU when there is one.")]
ColumnOption = Annotated[str | None, typer.Option(help="The CSV column or JSON key that holds the text.")]
FormatOption = Annotated[Format | None, typer.Option("--format", help="How to read the input, whatever its name.")]
CalibrationOption = Annotated[
    Calibration | None, typer.Option(help="auto is the default; none reads the labels as the model gives them.")
]
BatchOption = Annotated[int, typer.Option(min=1, max=4096, help="Rows computed together, and written together.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Start --output afresh.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks, only errors.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What was asked for on the command line."""

    texts: list[str]
    input: Path | None
    output: Path | None
    model: str | None
    token: str | None
    json: bool
    precision: Precision | None
    device: Device | None
    column: str | None
    format: Format | None
    calibration: Calibration | None
    batch_size: int
    overwrite: bool
    quiet: bool


def run(
    context: typer.Context,
    task: TaskArgument = None,
    texts: TextsArgument = None,
    *,
    input_file: InputOption = None,
    output: OutputOption = None,
    model: ModelOption = None,
    token: TokenOption = None,
    json: JsonOption = False,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    column: ColumnOption = None,
    input_format: FormatOption = None,
    calibration: CalibrationOption = None,
    batch_size: BatchOption = 64,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Predict with a task: texts in, labels with probabilities or free text out.

    Two texts:

        handful run examples/sentiment.yaml "What a joy." "I left early."

    A file with a text a line, to a file. If it is interrupted, the same command continues:

        handful run sentiment.yaml --input reviews.txt --output answers.jsonl

    With a model that `handful serve` has loaded:

        handful run topic.yaml --model http://127.0.0.1:8000/models/default "Rates rise again."

    A saved classifier, as `handful tune`, `handful distill` and `FewShotClassifier.save` write one:

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
    asked = RunOptions(
        texts=texts or [],
        input=input_file,
        output=output,
        model=model,
        token=token,
        json=json,
        precision=precision,
        device=device,
        column=column,
        format=input_format,
        calibration=calibration,
        batch_size=batch_size,
        overwrite=overwrite,
        quiet=quiet,
    )
    num_errors = run_task(task, asked)
    if num_errors:
        raise typer.Exit(1)


def run_task(task_path: str, asked: RunOptions) -> int:
    """Answer every row; the number of records that are errors."""
    from handful.cli.output import tell
    from handful.cli.run_loop import Tally
    from handful.cli.subject import load_subject
    from handful.task.review import repetitions

    _check_options(asked)
    subject = load_subject(task_path, asked.calibration, asked.device)
    _check_model_options(subject, asked)
    task = subject.task
    if not asked.quiet and subject.classifier is None:
        for found in repetitions(task.examples):
            tell(f"warning: {found}")
    tally = Tally()
    with contextlib.ExitStack() as stack:
        stream = _open_input(asked, stack)
        rows = _rows(task, asked, stream)
        records = _open_output(subject, asked, stack)
        try:
            _answer(subject, asked, _Streams(rows, stream, records), tally)
        except KeyboardInterrupt:
            if records is not None:
                tell(f"interrupted: {tally.num_records} records are kept; the same command continues.")
            raise
    _report(asked, tally)
    return tally.num_errors


@dataclass(frozen=True, slots=True)
class _Streams:
    rows: "Iterator[Row]"
    stream: BinaryIO | None
    records: "RecordFile | None"


def _answer(subject: "Subject", asked: RunOptions, streams: _Streams, tally: "Tally") -> None:
    import itertools

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
    write = _writer(asked, streams.records)
    with contextlib.ExitStack() as stack:
        backend = _load(subject, asked, stack)
        advance = stack.enter_context(show_progress(streams.stream, is_wanted=_wants_progress(asked)))
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
    name = _model_name(subject.task, asked)
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


def _check_options(asked: RunOptions) -> None:
    from handful.errors import InvalidParameterError

    if asked.texts and asked.input is not None:
        raise InvalidParameterError("--input", "and texts as arguments exclude each other.")
    for option, value in (("--column", asked.column), ("--format", asked.format)):
        if asked.texts and value is not None:
            raise InvalidParameterError(option, "is for files, not for texts as arguments.")
    source, target = _input_path(asked), asked.output
    if source is not None and target is not None and source.exists() and target.exists() and source.samefile(target):
        raise InvalidParameterError("--output", "is the input itself.", fix="Choose another file.")
    if asked.overwrite and asked.output is None:
        raise InvalidParameterError("--overwrite", "needs --output.")
    if asked.json and asked.output is not None and asked.output.suffix.lower() == ".csv":
        fix = "Name a .jsonl file, or leave --json out."
        raise InvalidParameterError("--json", "and an --output that ends in .csv exclude each other.", fix=fix)


def _check_model_options(subject: "Subject", asked: RunOptions) -> None:
    from handful.errors import InvalidParameterError

    if subject.asks_a_model:
        return
    for option, value in (("--model", asked.model), ("--precision", asked.precision), ("--token", asked.token)):
        if value is not None:
            raise InvalidParameterError(option, "has no effect: this classifier reads an encoder, and no model.")


def _model_name(task: "Task", asked: RunOptions) -> str:
    from handful.config import settings

    return asked.model or task.model or settings().model


def _open_input(asked: RunOptions, stack: contextlib.ExitStack) -> BinaryIO | None:
    """The stream of rows, or None when the texts are arguments."""
    from handful.errors import InvalidInputError, NotFoundError

    if asked.texts:
        return None
    if asked.input is not None and str(asked.input) != "-":
        try:
            return stack.enter_context(asked.input.open("rb"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NotFoundError(f"The input {asked.input} can't be read: {reason}.") from None
    if asked.input is None and sys.stdin.isatty():
        fix = 'Give texts ("..."), --input FILE, or pipe them in. `handful run --help` has examples.'
        raise InvalidInputError("There is nothing to predict.", fix=fix)
    return sys.stdin.buffer


def _rows(task: "Task", asked: RunOptions, stream: BinaryIO | None) -> "Iterator[Row]":
    from handful.cli.inputs import choose_format, read_rows, rows_from_texts

    if stream is None:
        return rows_from_texts(asked.texts, task.variables)
    kind = choose_format(_input_path(asked), asked.format, task.variables)
    return read_rows(stream, kind, task.variables, asked.column)


def _input_path(asked: RunOptions) -> Path | None:
    return None if asked.input is None or str(asked.input) == "-" else asked.input


def _open_output(subject: "Subject", asked: RunOptions, stack: contextlib.ExitStack) -> "RecordFile | None":
    from handful.cli.record_formats import CsvTable, JsonLines
    from handful.cli.records import Identity, RecordFile
    from handful.cli.run_loop import input_identity
    from handful.config import settings

    if asked.output is None:
        return None
    task = subject.task
    identity = Identity(
        task=task.name,
        task_fingerprint=subject.fingerprint,
        model=_model_name(task, asked),
        precision=asked.precision or settings().precision,
        input=input_identity(asked.texts, _input_path(asked)),
    )
    is_csv = asked.output.suffix.lower() == ".csv"
    layout = CsvTable(task.variables, task.labels, abstains=task.abstain_below is not None) if is_csv else JsonLines()
    return stack.enter_context(RecordFile(asked.output, layout, identity, overwrite=asked.overwrite))


def _writer(asked: RunOptions, records: "RecordFile | None") -> "Callable[[list[Record]], None]":
    from handful.cli.output import write_json, write_text

    if records is not None:
        return records.append
    return lambda batch: (write_json if asked.json else write_text)(batch, sys.stdout)


def _wants_progress(asked: RunOptions) -> bool:
    """On a terminal that doesn't get the results as well, unless it isn't wanted."""
    results_elsewhere = asked.output is not None or not sys.stdout.isatty()
    return not asked.quiet and not asked.texts and results_elsewhere and sys.stderr.isatty()


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
