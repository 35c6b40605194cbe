"""A progress bar for work that takes minutes: on a terminal's standard error, or in a notebook, and nowhere else."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def show_steps(title: str, *, is_wanted: bool) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to be told the steps done, and of how many."""
    if not is_wanted:
        yield _ignore
        return
    from rich.console import Console  # here: it takes a while to import
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield _ignore
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        bar = progress.add_task(title, total=None)

        def advance(num_done: int, num_steps: int) -> None:
            progress.update(bar, completed=num_done, total=num_steps)

        yield advance


def _ignore(num_done: int, num_steps: int) -> None:
    """Progress that nobody watches."""
    del num_done, num_steps
