"""Task files: reading them with errors that name file and line, writing them as a person would."""

import difflib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from handful.errors import NotFoundError, TaskError
from handful.task.problem import KeyPath, TaskProblem
from handful.task.task_yaml import Lines, dump_yaml, parse_yaml

MAX_FILE_BYTES = 1024 * 1024
_SUFFIXES = (".yaml", ".yml", ".json")

T = TypeVar("T")


def load(path: Path, make: Callable[[object], T]) -> T:
    """Read the file at `path` and `make` a task of it. Raises `NotFoundError` and `TaskError`."""
    text = _read_text(path)
    try:
        data, lines = parse_yaml(text)
    except TaskProblem as error:
        raise TaskError(f"{path}, {error.message}", fix=error.fix) from None
    except yaml.YAMLError as error:
        raise _not_yaml(path, error) from None
    if isinstance(data, dict):
        data.setdefault("name", path.stem)
    try:
        return make(data)
    except TaskProblem as error:
        line = _line_of(error.path, lines)
        raise TaskError(f"{path}, line {line}: {error.message}", fix=error.fix) from None


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"There is no task file {path}.", fix=_nearby(path)) from None
    except (OSError, ValueError) as error:  # a folder, no permission, a name the system can't have
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"The task file {path} can't be read: {reason}.", fix="Give a task file's path.") from None
    if len(content) > MAX_FILE_BYTES:
        raise TaskError(f"{path} is larger than {MAX_FILE_BYTES // 1024} KiB, the most a task file has.")
    try:
        return content.decode("utf-8-sig")  # some editors put a byte-order mark at the start
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TaskError(f"{path}, line {line}: not UTF-8 text.", fix="Save the file as UTF-8.") from None


def _nearby(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix in _SUFFIXES]
    except (OSError, ValueError):
        names = []
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"Did you mean {path.parent / near[0]}?" if near else "Give the path of a YAML file."


def _not_yaml(path: Path, error: yaml.YAMLError) -> TaskError:
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark is not None else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
    fix = 'Put text that holds ": " or starts with { or [ in quotes, and indent with spaces.'
    return TaskError(f"{path}{line}: not YAML: {problem}.", fix=fix)


def _line_of(path: KeyPath, lines: Lines) -> int:
    """The line of the key, or of the nearest key around it that is in the file."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def save(path: Path, data: Mapping[str, Any]) -> None:
    """Write `data` as YAML. The file is whole or untouched: it is written beside `path` and renamed."""
    text = dump_yaml(data)
    if len(text.encode()) > MAX_FILE_BYTES:
        raise TaskError(f"The task takes more than {MAX_FILE_BYTES // 1024} KiB, the most a task file has.")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
