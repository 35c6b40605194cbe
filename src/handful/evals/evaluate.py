"""Asking the queries in every cell and writing what was answered; figures and tables come later, from the records."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from handful.backend import Backend
from handful.errors import InvalidInputError, PromptTooLongError, TaskError
from handful.evals.askers import Asker, Fields, asking
from handful.evals.cells import Cell, Grid
from handful.evals.data import Item
from handful.evals.journal import Journal
from handful.evals.sets import Data, draw_set
from handful.learn.named import NOTHING, Provided
from handful.task.task import Task

OpenModel = Callable[[str], Backend]


@dataclass(frozen=True, slots=True)
class Opened:
    """What an evaluation asks: models, each opened by its name when it is its turn, and what some readings need."""

    model: OpenModel
    provided: Provided = NOTHING


# Queries that are asked and written together: enough to fill the engine's steps.
BATCH_SIZE = 64
# Unlabelled texts that a calibration is told what the domain looks like with.
_NUM_TEXTS = 64


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an evaluation stands, after each batch. `num_asked` were asked in this process, in `seconds`."""

    cell: Mapping[str, Any]
    num_done: int
    num_total: int
    num_asked: int
    seconds: float

    @property
    def queries_per_s(self) -> float:
        """The rate of this process so far."""
        return self.num_asked / self.seconds if self.seconds else 0.0


Watch = Callable[[Progress], None]


@dataclass(slots=True)
class Recorder:
    """Writes the answers of one cell after the other into a journal, and says how far it is."""

    journal: Journal
    queries: Sequence[Item]
    num_cells: int
    watch: Watch
    provided: Provided = NOTHING
    num_asked: int = 0
    seconds: float = 0.0

    def is_finished(self, cell: Mapping[str, Any]) -> bool:
        """Whether nothing of the cell is left to do."""
        return self.journal.run.key(cell) in self.journal.finished_cells

    def ask(self, cell: Mapping[str, Any], asker: Asker, facts: Mapping[str, Any]) -> None:
        """Ask what the cell still lacks, a batch at a time; then note the cell with its `facts` as finished."""
        start = self.journal.num_done[self.journal.run.key(cell)]
        before_asked, before_s = self.num_asked, self.seconds
        for first in range(start, len(self.queries), BATCH_SIZE):
            batch = self.queries[first : first + BATCH_SIZE]
            began = time.perf_counter()
            answers = asker.answer([item.inputs for item in batch])
            self.seconds += time.perf_counter() - began
            self.num_asked += len(batch)
            self.journal.append(
                _record(cell, first + i, item, answer)
                for i, (item, answer) in enumerate(zip(batch, answers, strict=True))
            )
            self._tell(cell)
        shown = asker.prompt(self.queries[0].inputs)
        timed = {"num_timed": self.num_asked - before_asked, "seconds": round(self.seconds - before_s, 4)}
        self.journal.finish({**cell, **facts, "note": asker.note, "prompt": shown, **timed})

    def leave_out(self, cell: Mapping[str, Any], reason: str) -> None:
        """Note that a cell can't be asked."""
        self.journal.finish({**cell, "left_out": reason})
        self._tell(cell)

    def _tell(self, cell: Mapping[str, Any]) -> None:
        num_done = sum(self.journal.num_done.values())
        num_left_out = sum(not self.journal.num_done[key] for key in self.journal.finished_cells)
        num_total = (self.num_cells - num_left_out) * len(self.queries)
        self.watch(Progress(cell, num_done, num_total, self.num_asked, self.seconds))


def evaluate(tasks: Mapping[str, Task], data: Data, grid: Grid, opened: Opened, journal: Journal, watch: Watch) -> None:
    """Ask every cell of the grid that the journal lacks. `tasks`: template -> task, all with the same labels.

    A model is opened only where it has something left to answer. A cell whose predictor can't work with so few examples
    is left out and says why. Raises what the backend raises.
    """
    recorder = Recorder(journal, data.queries, grid.num_cells, watch, provided=opened.provided)
    for model in grid.models:
        left = [cell for cell in _cells(tasks, grid, model) if not recorder.is_finished(cell.to_dict())]
        if not left:
            continue
        backend = opened.model(model)
        try:
            for cell in left:
                _ask_cell(cell, tasks[cell.template], data, grid, backend, recorder)
        finally:
            backend.close()


def _cells(tasks: Mapping[str, Task], grid: Grid, model: str) -> Iterator[Cell]:
    num_own = {len(task.examples) for task in tasks.values()}
    if grid.shots is None and len(num_own) > 1:
        fix = "Give --shots, so that all wordings get the same examples."
        raise TaskError("The tasks have different numbers of examples.", fix=fix)
    return grid.cells(model, max(num_own))


def _ask_cell(cell: Cell, task: Task, data: Data, grid: Grid, backend: Backend, recorder: Recorder) -> None:
    drawn: list[Item] = []
    if grid.shots is not None:
        drawn = draw_set(data.pool, task, cell.shots, cell.set, cell.order)
        task = task.with_examples(item.example for item in drawn)
    texts = [item.inputs for item in (data.pool or data.queries)[:_NUM_TEXTS]]
    with ExitStack() as stack:
        try:
            asker = stack.enter_context(
                asking(task, backend, cell.predictor, seed=cell.set, texts=texts, provided=recorder.provided)
            )
        except (InvalidInputError, PromptTooLongError) as error:
            recorder.leave_out(cell.to_dict(), str(error))
            return
        recorder.ask(cell.to_dict(), asker, {"examples": [item.place for item in drawn]})


def _record(cell: Mapping[str, Any], number: int, item: Item, answer: Fields) -> dict[str, Any]:
    return {**cell, "item": number, "input": item.shown, "expected": item.expected, **answer}
