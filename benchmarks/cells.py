"""Measuring cell by cell into a file of records, one line each, so that a run can be cut off and continued."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import handful
from handful.backend import Backend

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = dict[str, Any]
AnyCell = TypeVar("AnyCell", bound="DataclassInstance")


def read_records(path: Path) -> list[Record]:
    """What has been measured already."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def measured(
    cells: Sequence[AnyCell], measure: Callable[[AnyCell, Backend], Record], arguments: argparse.Namespace
) -> list[Record]:
    """The records of these cells, each written to `arguments.records` as soon as it is there.

    The model, `arguments.model` in `arguments.precision`, is loaded only where there is a cell.
    """
    if not cells:
        return []
    model = handful.load(arguments.model, precision=arguments.precision)
    found = []
    for cell in cells:
        record = {**asdict(cell), **measure(cell, model)}
        record |= {"model": model.info.name, "precision": model.info.precision}
        print(json.dumps(record), flush=True)
        found.append(record)
        with arguments.records.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    return found
