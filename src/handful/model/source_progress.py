"""Progress of long work on files: a bar on stderr when that is a terminal, nothing otherwise."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

Advance = Callable[[int, int], None]


@contextmanager
def progress_bar(title: str, *, after_s: float = 0.0) -> Iterator[Advance]:
    """Gives `advance(bytes done, bytes in all)`. The bar goes away when the work is done, and comes only where it
    takes longer than `after_s`."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    begun = time.monotonic()
    with ExitStack() as stack:
        update = None if after_s else _begin(title, stack)

        def advance(done: int, total: int) -> None:
            nonlocal update
            if update is None and time.monotonic() - begun >= after_s:
                update = _begin(title, stack)
            if update is not None:
                update(done, total)

        yield advance


def _begin(title: str, stack: ExitStack) -> Advance:
    """Show the bar until the stack ends."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    progress = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
    task = progress.add_task(title, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)
