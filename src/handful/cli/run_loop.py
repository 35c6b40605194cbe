"""The work of `handful run`: rows in, records out, in order, a batch at a time, in constant memory."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from handful.backend import Backend
from handful.cli.inputs import Row
from handful.cli.output import Record
from handful.cli.records import RecordFile
from handful.errors import InvalidInputError
from handful.task.fit import Fitter
from handful.task.predict import Prediction, predict_each
from handful.task.render import prefix
from handful.task.task import Task


@dataclass(slots=True)
class Tally:
    """What has been written so far. `num_short` predictions were made without up to `max_dropped` examples."""

    num_records: int = 0
    num_errors: int = 0
    num_short: int = 0
    max_dropped: int = 0

    def add(self, record: Record) -> None:
        """Count one record."""
        self.num_records += 1
        self.num_errors += "error" in record
        dropped = record.get("dropped_examples", 0)
        self.num_short += dropped > 0
        self.max_dropped = max(self.max_dropped, dropped)


def answer_rows(task: Task, backend: Backend, rows: Iterable[Row], batch_size: int) -> Iterator[list[Record]]:
    """The records of `rows`, in lists of up to `batch_size`, each list computed as one batch."""
    fitter = Fitter(task, backend.info.context_length)
    with_prefix = prefix(task)
    if with_prefix and backend.count_tokens(with_prefix) < backend.info.context_length:
        backend.pin(with_prefix)
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, batch_size)):
        yield answer_batch(fitter, backend, batch)


def answer_batch(fitter: Fitter, backend: Backend, batch: list[Row]) -> list[Record]:
    """One record for each row, in order; a bad row's record says what is wrong with it."""
    good = [row for row in batch if not row.problem]
    outcomes = iter(predict_each(fitter, backend, [row.given for row in good]))
    return [record_error(row, row.problem) if row.problem else _record(row, next(outcomes)) for row in batch]


def _record(row: Row, outcome: Prediction | Exception) -> Record:
    return outcome.to_dict() if isinstance(outcome, Prediction) else record_error(row, str(outcome))


def record_error(row: Row, problem: str) -> Record:
    """The record of a row that couldn't be answered."""
    told = problem if problem.startswith(row.place) else f"{row.place}: {problem}"
    return {"input": row.given, "prediction": None, "error": told}


def skip_finished(records: RecordFile, rows: Iterator[Row], tally: Tally) -> None:
    """Pass over the rows that `records` already answers. Raises `InvalidInputError` where they don't match."""
    for number, record in enumerate(records.finished(), start=1):
        row = next(rows, None)
        if row is None or not records.holds(record, row.given):
            where = "the input has fewer rows" if row is None else f"the input has something else on {row.place}"
            raise InvalidInputError(
                f"{records.path} doesn't belong to this input: its record {number} answers another row ({where}).",
                fix="Choose another --output, or start over with --overwrite.",
            )
        tally.num_records += 1
        tally.num_errors += record.is_error


def input_identity(texts: list[str], path: Path | None) -> str:
    """What the input is, for a later run to compare: the SHA-256 of a file or of texts; a pipe has none."""
    if path is not None:
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    if texts:
        return "sha256:" + hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).hexdigest()
    return "standard input"
