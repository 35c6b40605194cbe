"""Rows of a data file: CSV, TSV, JSON lines, a JSON list, Parquet, or a folder that the `datasets` library saved.

CSV as spreadsheets write it; TSV without quotes (a tab is a border, a line is a row: IANA text/tab-separated-values).
A row is a mapping from column to whatever the file holds there: text is checked later, where its column is known.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.errors import InvalidInputError, NotFoundError
from handful.evals import arrow
from handful.task.problem import join_words

_KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
}
MAX_CELL_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """One row and where it stands ("line 3")."""

    place: str
    cells: dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """All rows of a file. Raises NotFoundError, and InvalidInputError naming the file, the line and a way out."""
    if path.is_dir():
        return [Row(f"row {number}", cells) for number, cells in enumerate(arrow.folder_rows(path), start=1)]
    kind = _KINDS.get(path.suffix.lower())
    if not path.exists():
        raise NotFoundError(f"There is no data file {path}.", fix="Give the path of a file or a saved data set.")
    if kind is None:
        fix = f"Files that are read end in {join_words(_KINDS)}; a folder must be a saved data set."
        raise InvalidInputError(f"{path} has no extension that is known.", fix=fix)
    if kind == "parquet":
        return [Row(f"row {number}", cells) for number, cells in enumerate(arrow.parquet_rows(path), start=1)]
    text = _read_text(path)
    if kind == "json":
        return list(_json_rows(path, text))
    return list(_jsonl_rows(path, text) if kind == "jsonl" else _table_rows(path, text, is_csv=kind == "csv"))


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"The data file {path} can't be read: {error.strerror}.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidInputError(f"{path}, line {line}: not UTF-8 text.", fix="Save the file as UTF-8.") from None


def _table_rows(path: Path, text: str, *, is_csv: bool) -> Iterator[Row]:
    csv.field_size_limit(MAX_CELL_BYTES)
    options: dict[str, Any] = {"strict": True} if is_csv else {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    reader = csv.reader(_lines(text), **options)
    header: list[str] = []
    while True:
        place = f"line {reader.line_num + 1}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            kind = "CSV" if is_csv else "TSV"
            raise InvalidInputError(f"{path}, {place}: not {kind}: {error}.", fix=_QUOTES) from None
        if cells is None:
            return
        if not header:
            header = _header(path, cells)
        elif len(cells) == len(header):
            yield Row(place, dict(zip(header, cells, strict=True)))
        elif cells:
            problem = f"{path}, {place}: {len(cells)} cells where the header has {len(header)}."
            raise InvalidInputError(problem, fix=_QUOTES if is_csv else "Take tabs out of the texts.")


_QUOTES = 'Put a text that holds a comma, a quote or a line break in quotes, and write "" for a quote in it.'


def _lines(text: str) -> Iterator[str]:
    """Lines with their ends, cut at line feeds alone: a form feed in a text is no row's end."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _header(path: Path, cells: list[str]) -> list[str]:
    header = [name.strip() for name in cells]
    for name in header:
        if header.count(name) > 1:
            raise InvalidInputError(f"{path} has two columns `{name}`.", fix="Rename one.")
    return header


def _jsonl_rows(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(_lines(text), start=1):
        if line.strip():
            yield Row(f"line {number}", _json_object(path, f"line {number}", _parse(path, f"line {number}", line)))


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    found = _parse(path, "the file", text) if text.strip() else []
    if not isinstance(found, list):
        raise InvalidInputError(f"{path} must hold a list of objects.", fix="Or write an object a line, as .jsonl.")
    for number, value in enumerate(found, start=1):
        yield Row(f"row {number}", _json_object(path, f"row {number}", value))


def _parse(path: Path, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "it can't be read"
        raise InvalidInputError(f"{path}, {place}: not JSON: {reason}.") from None


def _json_object(path: Path, place: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        fix = 'For example: {"text": "...", "label": "..."}'
        raise InvalidInputError(f"{path}, {place}: not a JSON object.", fix=fix)
    return value
