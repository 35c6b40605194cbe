"""Where the rows of `handful run` come from, and where its records go."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from handful.cli.run_options import RunOptions

if TYPE_CHECKING:
    from handful.cli.inputs import Row
    from handful.cli.output import Record
    from handful.cli.records import RecordFile
    from handful.cli.subject import Subject
    from handful.task.task import Task


@dataclass(frozen=True, slots=True)
class Streams:
    """The rows, the stream that they are read from (None: arguments), the file of records (None: standard output)."""

    rows: "Iterator[Row]"
    stream: BinaryIO | None
    records: "RecordFile | None"


def open_streams(subject: "Subject", asked: RunOptions, stack: contextlib.ExitStack) -> Streams:
    """Open what is read and written, to be closed with `stack`. Raises what opening raises, all of it the user's."""
    stream = _open_input(asked, stack)
    return Streams(_rows(subject.task, asked, stream), stream, _open_output(subject, asked, stack))


def model_name(task: "Task", asked: RunOptions) -> str:
    """The model that is asked: of the command line, of the task, or else of the settings."""
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
        return rows_from_texts(asked.texts or [], task.variables)
    kind = choose_format(asked.input_path, asked.format, task.variables)
    return read_rows(stream, kind, task.variables, asked.column)


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
        model=model_name(task, asked),
        precision=asked.precision or settings().precision,
        input=input_identity(asked.texts or [], asked.input_path),
    )
    is_csv = asked.output.suffix.lower() == ".csv"
    layout = CsvTable(task.variables, task.labels, abstains=task.abstain_below is not None) if is_csv else JsonLines()
    return stack.enter_context(RecordFile(asked.output, layout, identity, overwrite=asked.overwrite))


def writer(asked: RunOptions, records: "RecordFile | None") -> "Callable[[list[Record]], None]":
    """What takes a batch of records: the file, or standard output."""
    from handful.cli.output import write_json, write_text

    if records is not None:
        return records.append
    return lambda batch: (write_json if asked.json else write_text)(batch, sys.stdout)


def wants_progress(asked: RunOptions) -> bool:
    """On a terminal that doesn't get the results as well, unless it isn't wanted."""
    results_elsewhere = asked.output is not None or not sys.stdout.isatty()
    return not asked.quiet and not asked.texts and results_elsewhere and sys.stderr.isatty()
