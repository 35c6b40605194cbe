"""A progress bar on standard error, for people only: it is never there when the stream is no terminal."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO


@contextlib.contextmanager
def show_progress(stream: BinaryIO | None, *, is_wanted: bool) -> Iterator[Callable[[int], None]]:
    """Gives a function to be called with the number of rows done. A file's progress is counted in bytes read."""
    if not is_wanted:
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.fields[rows]} rows"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    total = _size(stream)
    # Results go to standard output meanwhile; rich would take them over to the bar's stream.
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        bar = progress.add_task("rows", total=total, rows=0)
        num_rows = 0

        def advance(num_more: int) -> None:
            nonlocal num_rows
            num_rows += num_more
            position = stream.tell() if stream is not None and total is not None else 0
            progress.update(bar, completed=position, rows=num_rows)

        yield advance


def _ignore(num_rows: int) -> None:
    """Progress that nobody watches."""
    del num_rows


def _size(stream: BinaryIO | None) -> int | None:
    """The size of a file in bytes; None for a pipe, whose end isn't known."""
    if stream is None:
        return None
    status = os.fstat(stream.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None
