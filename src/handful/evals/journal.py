"""The records of a run in a folder, made so that a run that is killed goes on where it stopped.

    run.json       what was asked, once: a rerun that asks anything else is refused by name
    records.jsonl  one line a prediction, in the order of the cells and queries
    cells.jsonl    one line a finished cell: its examples, a prompt, a note, its time

A cell is one setting that all queries are asked in (predictor, examples, order ...). A line that was being written
when the run was killed is cut off. One run at a time writes a folder (it is locked). Figures and tables are made from
these files alone.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from handful.errors import InvalidInputError, NotFoundError, UserError
from handful.task.problem import join_words

SCHEMA = 1
_FRESH = "Choose another --output, or start over with --overwrite."

Record = Mapping[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was asked and with what. Two runs with equal `plan` (and `kind`) write the same records.

    kind      "eval" or "sweep"
    plan      plain values: tasks, data, settings
    coordinates  the keys of a record that make its cell
    context   versions, the command: told in the report, not compared
    """

    kind: str
    coordinates: tuple[str, ...]
    plan: Mapping[str, Any]
    context: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "coordinates": list(self.coordinates),
            "plan": dict(self.plan),
            "context": dict(self.context),
        }

    def key(self, record: Record) -> Key:
        """The cell that a record belongs to."""
        return tuple(record[name] for name in self.coordinates)


class Journal:
    """The files of one run, open for appending. A context manager."""

    def __init__(self, folder: Path, run: Run, *, overwrite: bool = False) -> None:
        self.folder = folder
        self.run = run
        self._records = _open_locked(folder)
        try:
            if overwrite or not (folder / "run.json").exists():
                self._start()
            else:
                _check_same(folder, run)
            self.num_done: Counter[Key] = Counter(run.key(record) for record in _whole_lines(self._records))
            self._cells = (folder / "cells.jsonl").open("r+b" if (folder / "cells.jsonl").exists() else "w+b")
            self.finished_cells: set[Key] = {run.key(record) for record in _whole_lines(self._cells)}
        except BaseException:
            self._records.close()
            raise

    def append(self, records: Iterable[Record]) -> None:
        """Write records behind the last one and hand them to the system, so that they survive this process."""
        written = list(records)
        self._records.write(b"".join(_line(record) for record in written))
        self._records.flush()
        self.num_done.update(self.run.key(record) for record in written)

    def finish(self, cell: Record) -> None:
        """Note that a cell is complete, with what is told of it."""
        self._cells.write(_line(cell))
        self._cells.flush()
        self.finished_cells.add(self.run.key(cell))

    def close(self) -> None:
        """Close the files."""
        self._cells.close()
        self._records.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        if os.fstat(self._records.fileno()).st_size and not (self.folder / "run.json").exists():
            raise InvalidInputError(f"{self.folder} holds records of something else.", fix="Choose another --output.")
        self._records.truncate(0)
        (self.folder / "cells.jsonl").write_bytes(b"")
        write_whole(self.folder / "run.json", json.dumps(self.run.to_dict(), indent=1, ensure_ascii=False) + "\n")


@dataclass(frozen=True, slots=True)
class Written:
    """A run as it lies on disk."""

    run: Run
    records: tuple[dict[str, Any], ...]
    cells: tuple[dict[str, Any], ...]


def read_run(folder: Path) -> Written:
    """What a run wrote so far. Raises NotFoundError and InvalidInputError for folders that hold none."""
    run = _read_manifest(folder)
    with (folder / "records.jsonl").open("rb") as records:
        found = tuple(_lines(records))
    cells = folder / "cells.jsonl"
    if not cells.exists():
        return Written(run, found, ())
    with cells.open("rb") as file:
        return Written(run, found, tuple(_lines(file)))


def check_kind(written: Written, kind: str, folder: Path) -> None:
    """Raise `InvalidInputError` unless a run is of the kind that is read."""
    if written.run.kind != kind:
        fix = f"Write: handful {written.run.kind} --from {folder}"
        raise InvalidInputError(f"{folder} holds the records of `handful {written.run.kind}`.", fix=fix)


def write_whole(path: Path, text: str) -> None:
    """Write a file that is whole or untouched."""
    draft = path.with_name(path.name + ".part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _line(record: Record) -> bytes:
    return (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _open_locked(folder: Path) -> BinaryIO:
    path = folder / "records.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b")
    except OSError as error:
        problem = f"The output {folder} can't be written: {error.strerror}."
        raise NotFoundError(problem, fix="Choose a folder with --output.") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UserError(f"Another run is writing {folder}.", fix="Wait for it, or choose another --output.") from None
    return file


def _whole_lines(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """The records of a file; once they are exhausted, what is behind the last is cut off."""
    file.seek(0)
    end = 0
    for line in file:
        if not line.endswith(b"\n"):
            break
        yield _parsed(line)
        end += len(line)
    file.truncate(end)
    file.seek(end)


def _lines(file: BinaryIO) -> Iterator[dict[str, Any]]:
    return (_parsed(line) for line in file if line.endswith(b"\n"))


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidInputError("A record of the run can't be read back, so it can't be used.", fix=_FRESH)
    return found


def _read_manifest(folder: Path) -> Run:
    path = folder / "run.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise InvalidInputError(f"{path} was written by another version of handful.", fix=_FRESH)
        return Run(
            kind=found["kind"],
            coordinates=tuple(found["coordinates"]),
            plan=dict(found["plan"]),
            context=dict(found["context"]),
        )
    except OSError:
        fix = "Give the folder that --output named."
        raise NotFoundError(f"{folder} holds no evaluation: there is no run.json.", fix=fix) from None
    except (ValueError, KeyError, TypeError):
        raise InvalidInputError(f"{path} can't be read.", fix=_FRESH) from None


def _check_same(folder: Path, run: Run) -> None:
    there = _read_manifest(folder)
    if there.kind != run.kind:
        raise InvalidInputError(f"{folder} holds the records of another command ({there.kind}).", fix=_FRESH)
    wanted = json.loads(json.dumps(run.plan))
    others = [name for name in wanted | dict(there.plan) if there.plan.get(name) != wanted.get(name)]
    if others:
        raise InvalidInputError(f"{folder} was written with another {join_words(others)}.", fix=_FRESH)
