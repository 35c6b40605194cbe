"""The progress of an evaluation on a terminal's standard error: what is asked, how much is done, how fast."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from handful.evals.evaluate import Progress, Watch
    from handful.learn.tuned import Progress as Steps


@contextlib.contextmanager
def watch_evaluation(*, is_wanted: bool) -> Iterator[tuple["Watch", "Steps"]]:
    """Gives the function that an evaluation tells its progress to, and the one for the steps of tuning, which have a
    bar of their own while they last. Nothing is shown unless wanted."""
    if not is_wanted:
        yield _ignore, ignore_steps
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.fields[cell]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bars:
        bar = bars.add_task("queries", total=None, cell="", rate="0.0 queries/s")

        def tell(progress: "Progress") -> None:
            cell = ", ".join(f"{name} {value}" for name, value in progress.cell.items())
            rate = f"{progress.queries_per_s:.1f} queries/s"
            bars.update(bar, completed=progress.num_done, total=progress.num_total, cell=cell, rate=rate)

        yield tell, steps_of_tuning(bars, cell="tuning prompts", rate="")


def steps_of_tuning(bars: "Bars", **fields: Any) -> "Steps":
    """What is told the steps of tuning, and shows them among other bars until they are done."""
    own: list[TaskID] = []

    def advance(num_done: int, num_steps: int) -> None:
        if not own:
            own.append(bars.add_task("tuning prompts", total=None, **fields))
        bars.update(own[0], completed=num_done, total=num_steps)
        if num_done == num_steps:
            bars.remove_task(own.pop())

    return advance


def ignore_steps(num_done: int, num_steps: int) -> None:
    """Steps that nobody watches."""
    del num_done, num_steps


def _ignore(progress: "Progress") -> None:
    """Progress that nobody watches."""
    del progress
