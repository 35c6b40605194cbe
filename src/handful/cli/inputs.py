"""Reading what is to be predicted: texts, or txt, CSV, TSV and JSONL, one row at a time in constant memory.

A bad row (not UTF-8, not JSON, a cell missing) is a `Row` with a `problem`: it is reported in its place and the rows
after it are read as usual. Only what spoils every row (no such column, an unknown format) is an error.
"""

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from handful.errors import InvalidInputError, InvalidParameterError
from handful.task.problem import did_you_mean, join_words

Format = Literal["txt", "csv", "tsv", "jsonl"]
Given = str | dict[str, str]

# A longer line is refused as a row, so one line without an end can't take all memory.
MAX_LINE_BYTES = 8 * 1024 * 1024
_EXTENSIONS: dict[str, Format] = {".txt": "txt", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_USUAL_NAMES = ("input", "text")


@dataclass(frozen=True, slots=True)
class Row:
    """One input and where it stands. With a `problem` there is nothing to predict; `given` shows what was there."""

    place: str
    given: Given
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    problem: str = ""


def choose_format(path: Path | None, asked: Format | None, variables: Sequence[str]) -> Format:
    """The format asked for, that of the file's extension, or what standard input is read as.

    Standard input is a text a line; for a task with several variables, which a line of text can't hold, JSON.
    """
    if asked:
        return asked
    if path is None:
        return "txt" if len(variables) == 1 else "jsonl"
    found = _EXTENSIONS.get(path.suffix.lower())
    if found is None:
        fix = f"Known are {join_words(_EXTENSIONS)}; for a file of another name add --format."
        raise InvalidParameterError("--input", f"has no extension that is known ({path.name}).", fix=fix)
    return found


def rows_from_texts(texts: Iterable[str], variables: Sequence[str]) -> Iterator[Row]:
    """Rows of the command's arguments. A task with several variables takes each as a JSON object."""
    for number, text in enumerate(texts, start=1):
        place = f"text {number}"
        if len(variables) == 1:
            yield Row(place, text) if _is_utf8(text) else Row(place, _shown(text), "is not UTF-8")
        else:
            yield _json_row(place, text, variables, None)


def read_rows(stream: BinaryIO, kind: Format, variables: Sequence[str], column: str | None) -> Iterator[Row]:
    """The rows of a stream. Raises `InvalidInputError` when no row can be read, or a CSV's columns don't fit."""
    if kind == "txt":
        if len(variables) > 1:
            fix = f"Give CSV or JSONL with {join_words(variables)}, or --format jsonl."
            raise InvalidInputError(f"A line of text can't hold the {len(variables)} values of this task.", fix=fix)
        if column is not None:
            raise InvalidParameterError("--column", "has no meaning for plain text.", fix="Use it with CSV or JSONL.")
        return (Row(f"line {line.number}", line.text.rstrip("\r\n"), line.problem) for line in _read_lines(stream))
    if column is not None and len(variables) > 1:
        fix = f"Name the columns {join_words(variables)}."
        raise InvalidParameterError("--column", f"names one column; this task needs {len(variables)}.", fix=fix)
    if kind == "jsonl":
        return _jsonl_rows(stream, variables, column)
    return _table_rows(stream, kind, variables, column)


def _read_lines(stream: BinaryIO) -> Iterator[_Line]:
    """Lines with their ends. One that isn't UTF-8 or is too long comes with a problem, as far as it can be shown."""
    number = 0
    while content := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # and UTF-32's: as PowerShell writes
                raise InvalidInputError("The input is UTF-16 text.", fix="Save the file as UTF-8.")
            content = content.removeprefix(codecs.BOM_UTF8)  # the mark of some editors
        if len(content) > MAX_LINE_BYTES:
            while not content.endswith(b"\n") and content:
                content = stream.readline(MAX_LINE_BYTES)
            yield _Line(number, "", f"line {number} is longer than {MAX_LINE_BYTES} bytes")
            continue
        try:
            yield _Line(number, content.decode())
        except UnicodeDecodeError as error:
            problem = f"line {number} is not UTF-8 (byte {error.start + 1} of the line)"
            yield _Line(number, content.decode(errors="replace"), problem)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(text: str) -> str:
    """Text from the command line with the bytes that weren't UTF-8 (surrogates, in Python) made visible."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _jsonl_rows(stream: BinaryIO, variables: Sequence[str], column: str | None) -> Iterator[Row]:
    for line in _read_lines(stream):
        if line.problem:
            yield Row(f"line {line.number}", line.text.rstrip("\r\n"), line.problem)
        elif line.text.strip():
            yield _json_row(f"line {line.number}", line.text.strip(), variables, column)


def _json_row(place: str, text: str, variables: Sequence[str], column: str | None) -> Row:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "it can't be read"
        return Row(place, _shown(text), f"is not JSON: {reason}")
    problem = f"has no text for {join_words(variables)}"
    if len(variables) == 1:
        if isinstance(value, dict):
            key = column or _find_column(tuple(value), variables[0])
            problem = f"has no key `{column or variables[0]}`"
            value = value.get(key) if key is not None else None
        if isinstance(value, str):
            return _checked(Row(place, value))
        return Row(place, _shown(text), problem if value is None else "must have text as its input")
    if isinstance(value, dict) and all(isinstance(value.get(name), str) for name in variables):
        return _checked(Row(place, {name: value[name] for name in variables}))
    return Row(place, _shown(text), problem)


def _checked(row: Row) -> Row:
    """The row, or one that says that JSON's escapes spelled half a surrogate pair, which no file can hold."""
    values = [row.given] if isinstance(row.given, str) else list(row.given.values())
    if all(_is_utf8(value) for value in values):
        return row
    return Row(row.place, "", "holds half a surrogate pair, which is no character")


def _find_column(columns: Sequence[str], variable: str) -> str | None:
    """The column of a task's only variable: the one of its name, a usual name, or the only one there is."""
    for name in (variable, *_USUAL_NAMES):
        if name in columns:
            return name
    return columns[0] if len(columns) == 1 else None


def _table_rows(stream: BinaryIO, kind: Format, variables: Sequence[str], column: str | None) -> Iterator[Row]:
    """CSV as spreadsheets write it; TSV without quotes (IANA text/tab-separated-values)."""
    import csv

    csv.field_size_limit(MAX_LINE_BYTES)
    bad_lines: list[str] = []
    options: dict[str, Any] = {"strict": True} if kind == "csv" else {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    reader = csv.reader(_table_lines(stream, bad_lines), **options)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        fix = "Save it with line feeds between rows, and close every quote."
        raise InvalidInputError(f"line 1: the {kind.upper()} header can't be read: {error}.", fix=fix) from None
    if bad_lines:
        raise InvalidInputError(f"The {kind.upper()} header: {bad_lines[0]}.", fix="Save the file as UTF-8.")
    if not header:
        return
    if kind == "csv":
        _check_commas(header, column)
    places = _places(header, variables, column, kind.upper())
    while True:
        place = f"line {reader.line_num + 1}"
        bad_lines.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(place, "", f"is not {kind.upper()}: {error}")
            continue
        if cells is None:
            return
        if cells:  # an empty line is no row
            yield _csv_row(place, cells, header, places, bad_lines)


def _check_commas(header: list[str], column: str | None) -> None:
    """Refuse what is one column only because it isn't commas that stand between the cells: all would be one text."""
    other = next((mark for mark in (";", "\t") if len(header) == 1 and mark in header[0]), None)
    if other is not None and column != header[0]:
        found, way = ("semicolons", "Save it with commas") if other == ";" else ("tabs", "Add --format tsv")
        fix = f"{way}; if it is one column, name it with --column."
        raise InvalidInputError(f"The CSV's header `{header[0]}` has {found} and no commas.", fix=fix)


def _table_lines(stream: BinaryIO, bad_lines: list[str]) -> Iterator[str]:
    for line in _read_lines(stream):
        if line.problem:
            bad_lines.append(line.problem)
        yield line.text or "\n"  # a line too long to be read: an empty one in its place keeps the line numbers


def _places(header: list[str], variables: Sequence[str], column: str | None, what: str) -> dict[str, int]:
    """Where in a row each variable's cell is."""
    there = f"The columns are {join_words(header)}."
    for name in header:
        if header.count(name) > 1:
            raise InvalidInputError(f"The {what} has two columns `{name}`.", fix="Rename one.")
    if len(variables) == 1:
        found = column or _find_column(header, variables[0])
        if found not in header:
            nearest = did_you_mean(found or variables[0], header)
            fix = f"{there} {nearest or 'Choose one with --column.'}"
            raise InvalidInputError(f"The {what} has no column `{found or variables[0]}`.", fix=fix)
        return {variables[0]: header.index(found)}
    for name in variables:
        if name not in header:
            fix = f"{there} {did_you_mean(name, header)}".strip()
            raise InvalidInputError(f"The {what} has no column `{name}`.", fix=fix)
    return {name: header.index(name) for name in variables}


def _csv_row(place: str, cells: list[str], header: list[str], places: Mapping[str, int], bad: list[str]) -> Row:
    values = {name: cells[index] if index < len(cells) else "" for name, index in places.items()}
    given: Any = values if len(values) > 1 else next(iter(values.values()))
    if bad:
        return Row(place, given, bad[0])
    if len(cells) != len(header):
        return Row(place, given, f"has {len(cells)} cells where the header has {len(header)}")
    return Row(place, given)
