"""The progress of an evaluation on a terminal's standard error: what is asked, how much is done, how fast."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handful.evals.evaluate import Progress, Watch


@contextlib.contextmanager
def watch_evaluation(*, is_wanted: bool) -> Iterator["Watch"]:
    """Gives the function that an evaluation tells its progress to. Nothing is shown unless wanted."""
    if not is_wanted:
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.fields[cell]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} queries/s"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bars:
        bar = bars.add_task("queries", total=None, cell="", rate=0.0)

        def tell(progress: "Progress") -> None:
            cell = ", ".join(f"{name} {value}" for name, value in progress.cell.items())
            rate = progress.queries_per_s
            bars.update(bar, completed=progress.num_done, total=progress.num_total, cell=cell, rate=rate)

        yield tell


def _ignore(progress: "Progress") -> None:
    """Progress that nobody watches."""
    del progress
