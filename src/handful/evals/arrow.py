"""Parquet files and folders saved by the `datasets` library (`save_to_disk`), read with pyarrow alone.

A label that such a folder holds as a number with names (`ClassLabel`) comes out as its name. Nothing in a folder is
executed: it is JSON and Arrow tables.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handful.errors import InvalidInputError
from handful.evals.extras import load
from handful.task.problem import join_words

_PURPOSE = "Reading Parquet and saved data sets"


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file."""
    arrow, parquet = load("pyarrow", _PURPOSE), load("pyarrow.parquet", _PURPOSE)
    try:
        table = parquet.ParquetFile(str(path)).read()
    except (OSError, arrow.ArrowException) as error:
        raise InvalidInputError(f"{path} is no Parquet file that can be read: {_first_line(error)}") from None
    yield from _named(table)


def folder_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a saved data set, in its files' order. Raises `InvalidInputError` for other folders."""
    splits = _json(folder / "dataset_dict.json")
    if splits is not None:
        names = [str(folder / name) for name in splits.get("splits", [])]
        raise InvalidInputError(f"{folder} holds several parts.", fix=f"Give one of {join_words(names)}.")
    state = _json(folder / "state.json")
    if state is None or not isinstance(state.get("_data_files"), list):
        fix = "Write one with `Dataset.save_to_disk`, or give a CSV, TSV, JSONL or Parquet file."
        raise InvalidInputError(f"{folder} is no saved data set: it has no state.json.", fix=fix)
    for file in state["_data_files"]:
        yield from _named(_table(folder, file))


def _table(folder: Path, file: Any) -> Any:
    arrow, ipc = load("pyarrow", _PURPOSE), load("pyarrow.ipc", _PURPOSE)
    name = file.get("filename") if isinstance(file, dict) else None
    if not isinstance(name, str) or Path(name).name != name:
        raise InvalidInputError(f"{folder / 'state.json'} names a file that isn't in the folder.")
    try:
        return ipc.open_stream(str(folder / name)).read_all()
    except (OSError, arrow.ArrowException) as error:
        raise InvalidInputError(f"{folder / name} can't be read: {_first_line(error)}") from None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise InvalidInputError(f"{path} can't be read as JSON.", fix="Save the data set again.") from None
    return found if isinstance(found, dict) else None


def _named(table: Any) -> Iterator[dict[str, Any]]:
    """The table's rows, with the names of labels in place of their numbers."""
    names = _label_names(table.schema)
    for row in table.to_pylist():
        for column, labels in names.items():
            code = row.get(column)
            if isinstance(code, int) and 0 <= code < len(labels):
                row[column] = labels[code]
        yield row


def _label_names(schema: Any) -> dict[str, list[str]]:
    """Column -> names, from what `datasets` keeps in an Arrow schema's metadata."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {
            name: [str(label) for label in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
