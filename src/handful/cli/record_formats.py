"""The two formats of output files: JSON lines, and CSV for spreadsheets. Both say where each whole record ends."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from handful.cli.inputs import Given
from handful.cli.output import Record, json_line
from handful.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Finished:
    """A whole record found in a file: its input (None for a header), whether it is an error, and its last byte + 1."""

    input: object
    is_error: bool
    end: int


class RecordFormat(Protocol):
    """How records become bytes and are found again."""

    def header(self) -> bytes:
        """What stands before the first record."""
        ...

    def encode(self, record: Record) -> bytes:
        """One record."""
        ...

    def as_read(self, given: Given) -> object:
        """The input of a record as `read` will give it back."""
        ...

    def read(self, file: BinaryIO) -> Iterator[Finished]:
        """The whole records of a file; what was cut off at its end is left out. Raises `InvalidInputError`."""
        ...


class JsonLines:
    """One JSON object a line."""

    def header(self) -> bytes:
        """Nothing."""
        return b""

    def encode(self, record: Record) -> bytes:
        """A line of JSON."""
        return json_line(record).encode()

    def as_read(self, given: Given) -> object:
        """The input itself."""
        return given

    def read(self, file: BinaryIO) -> Iterator[Finished]:
        """Whole lines. A line that isn't a record is an error: this program doesn't write such."""
        end = 0
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                record = json.loads(line)
                yield Finished(record["input"], "error" in record, end)
            except (ValueError, KeyError, TypeError):
                raise _damaged(number) from None


class CsvTable:
    """A header and a row for each record: inputs, prediction, and what else the task gives, an error last."""

    def __init__(self, variables: Sequence[str], labels: Sequence[str], *, abstains: bool = False) -> None:
        self._inputs = ["input"] if len(variables) == 1 else list(variables)
        self._labels = list(labels)
        self._may_abstain = ["abstained"] if abstains else []
        details = [f"probability of {label}" for label in labels] or ["completion", "finish_reason"]
        self._columns = [*self._inputs, "prediction", *self._may_abstain, *details, "error"]

    def header(self) -> bytes:
        """The names of the columns."""
        return _csv_line(self._columns)

    def encode(self, record: Record) -> bytes:
        """A row; a row with an error has empty cells for what wasn't predicted."""
        inputs = self._cells(record["input"])
        if self._labels:
            probabilities = record.get("probabilities") or {}
            details = [probabilities.get(label, "") for label in self._labels]
        else:
            details = [record.get("completion") or "", record.get("finish_reason") or ""]
        abstained = [str(record.get(name, "")).lower() for name in self._may_abstain]
        return _csv_line([*inputs, record["prediction"] or "", *abstained, *details, record.get("error", "")])

    def as_read(self, given: Given) -> object:
        """The input's cells by their columns."""
        return self._from_cells(self._cells(given))

    def _cells(self, given: Given) -> list[str]:
        """One cell for each variable; a row that couldn't be taken apart stands in the first."""
        if isinstance(given, str):
            return [given] + [""] * (len(self._inputs) - 1)
        return [given[name] for name in self._inputs]

    def _from_cells(self, cells: list[str]) -> object:
        return cells[0] if len(cells) == 1 else dict(zip(self._inputs, cells, strict=True))

    def read(self, file: BinaryIO) -> Iterator[Finished]:
        """Whole rows: a row ends at a line break outside quotes. The header is the first, without an input."""
        end, row, quotes = 0, b"", 0
        number = 0
        for line in file:
            row += line
            quotes += line.count(b'"')
            if not line.endswith(b"\n") or quotes % 2:
                continue
            number += 1
            end += len(row)
            yield self._finished(row, number, end)
            row, quotes = b"", 0

    def _finished(self, row: bytes, number: int, end: int) -> Finished:
        try:
            cells = next(csv.reader([row.decode()], strict=True))
        except (UnicodeDecodeError, csv.Error, StopIteration):
            raise _damaged(number) from None
        if len(cells) != len(self._columns) or (number == 1 and cells != self._columns):
            raise _damaged(number)
        if number == 1:
            return Finished(None, False, end)
        return Finished(self._from_cells(cells[: len(self._inputs)]), bool(cells[-1]), end)


def _csv_line(cells: Sequence[object]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()


def _damaged(number: int) -> InvalidInputError:
    problem = f"Record {number} of the output can't be read back, so the run can't be continued."
    return InvalidInputError(problem, fix="Choose another --output, or start over with --overwrite.")
