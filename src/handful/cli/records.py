"""Output files that can be continued: records are appended in the order of the input, and a rerun goes on behind the
last whole one.

Beside FILE stands FILE.run.json with what the records depend on (task, model, precision, input). A rerun with anything
else is refused by name. A record that was being written when the run was killed is cut off. One run at a time writes
a file (it is locked).
"""

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from handful.cli.inputs import Given
from handful.cli.output import SCHEMA, Record
from handful.cli.record_formats import Finished, RecordFormat
from handful.errors import InvalidInputError, NotFoundError, UserError

_OVERWRITE = "Choose another --output, or start over with --overwrite."


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the records of a file depend on. Two runs with equal identities write the same records."""

    task: str
    task_fingerprint: str
    model: str
    precision: str
    input: str


class RecordFile:
    """An output file, open for appending behind its whole records. A context manager; `close` lets go of the lock."""

    def __init__(self, path: Path, layout: RecordFormat, identity: Identity, *, overwrite: bool) -> None:
        self.path = path
        self._format = layout
        self._file = _open_locked(path)
        try:
            if overwrite:
                self._file.truncate(0)
            has_records = os.fstat(self._file.fileno()).st_size > 0
            if has_records:
                _check_identity(path, identity)
            else:
                _write_sidecar(path, identity)
        except OSError as error:
            self.close()
            raise _unwritable(path, error) from None
        except BaseException:
            self._file.close()
            raise

    def finished(self) -> Iterator[Finished]:
        """The whole records in the file, in order. Once exhausted, what is behind the last is cut off."""
        self._file.seek(0)
        end = 0
        for record in self._format.read(self._file):
            if record.input is not None:
                yield record
            end = record.end
        self._file.truncate(end)
        self._file.seek(end)

    def holds(self, record: Finished, given: Given) -> bool:
        """Whether a finished record answers the input `given`."""
        return record.input == self._format.as_read(given)

    def append(self, records: Iterable[Record]) -> None:
        """Write records behind the last one and hand them to the system, so that they survive this process.

        Raises UserError where the system takes no more: the records that are whole stay, a rerun goes on behind them.
        """
        content = b"".join(self._format.encode(record) for record in records)
        if self._file.tell() == 0:
            content = self._format.header() + content
        try:
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            problem = f"The output {self.path} can't be written: {error.strerror}."
            raise UserError(problem, fix="Make room; then the same command continues.") from None

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # what couldn't be written was told of, and is tried once more here
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open_locked(path: Path) -> BinaryIO:
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b")
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UserError(
            f"The output {path} is no ordinary file.", fix="Leave --output out to write to standard output."
        )
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UserError(f"Another run is writing {path}.", fix="Wait for it, or choose another --output.") from None
    return file


def _unwritable(path: Path, error: OSError | ValueError) -> NotFoundError:
    reason = getattr(error, "strerror", None) or str(error)
    return NotFoundError(f"The output {path} can't be written: {reason}.", fix="Choose another --output.")


def sidecar_path(path: Path) -> Path:
    """The file that says what the records of `path` depend on."""
    return path.with_name(path.name + ".run.json")


def _write_sidecar(path: Path, identity: Identity) -> None:
    target = sidecar_path(path)
    draft = target.with_name(target.name + ".part")
    draft.write_text(json.dumps({"schema": SCHEMA, **asdict(identity)}, indent=1) + "\n", encoding="utf-8")
    draft.replace(target)


def _check_identity(path: Path, identity: Identity) -> None:
    """Raise `InvalidInputError` unless the file's records were written by a run like this one."""
    try:
        found = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, Mapping) or found.get("schema") != SCHEMA:
        problem = f"{path} exists and isn't the output of a run that can be continued."
        raise InvalidInputError(problem, fix=_OVERWRITE)
    wanted = asdict(identity)
    if found.get("task") == wanted["task"] and found.get("task_fingerprint") != wanted["task_fingerprint"]:
        raise InvalidInputError(f"{path} was written with another version of the task.", fix=_OVERWRITE)
    for key in ("task", "model", "precision", "input"):
        if found.get(key) != wanted[key]:
            told = "" if key == "input" else f" ({found.get(key)}, not {wanted[key]})"
            raise InvalidInputError(f"{path} was written with another {key}{told}.", fix=_OVERWRITE)
