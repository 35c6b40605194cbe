"""Folders that are made once: built beside their place, synced, then renamed into it, under a lock.

Invariant: a folder under its final name is whole. A process killed at any time leaves at most a `.partial` folder,
which the next one to build removes; two processes that want the same folder build it once.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handful.errors import UserError
from handful.model.gguf_convert import write_json

MARKER = "handful.json"


def made_folder(folder: Path, made_from: dict[str, Any], make: Callable[[Path], None]) -> Path:
    """`folder`, filled by `make(partial folder)` unless it is there already and was made from the same.

    `made_from` says what the folder is made from; it is stored in it, with the size of each file. Raises what `make`
    raises, and UserError when the disk is full or can't be written to.
    """
    if is_made(folder, made_from):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{folder.name}.lock"):
            if not is_made(folder, made_from):  # another process may have made it while this one waited
                _make(folder, made_from, make)
    except OSError as problem:
        raise disk_error(problem, folder.parent) from None
    return folder


def is_made(folder: Path, made_from: dict[str, Any]) -> bool:
    """Whether the folder was made from `made_from` and each of its files still has the size that it was given."""
    marker = read_marker(folder)
    if marker.get("made_from") != made_from or not isinstance(sizes := marker.get("file_bytes"), dict):
        return False
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def read_marker(folder: Path) -> dict[str, Any]:
    """What a made folder says about itself; empty for any other folder."""
    try:
        marker = json.loads((folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _make(folder: Path, made_from: dict[str, Any], make: Callable[[Path], None]) -> None:
    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        make(partial)
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        sizes = {path.relative_to(partial).as_posix(): path.stat().st_size for path in files}
        write_json(partial / MARKER, {"made_from": made_from, "file_bytes": sizes})
        _sync(partial)
        if folder.exists():  # made by another version, or damaged
            shutil.rmtree(folder)
        partial.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _sync(folder: Path) -> None:
    """Make the folder's entries survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, which dies with the process. The file stays: removing it would race."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def disk_error(problem: OSError, folder: Path) -> UserError:
    """What to tell a user whose disk is full or can't be written to."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"The disk of {folder} is full.", fix="Free some space, or set HANDFUL_HOME to another disk.")
    reason = problem.strerror or type(problem).__name__
    return UserError(f"{folder} can't be written to: {reason}.", fix="Set HANDFUL_HOME to a folder of your own.")
