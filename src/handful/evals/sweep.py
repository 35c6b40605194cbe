"""Every combination of generation parameters over the same queries."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from handful.backend import Backend
from handful.errors import InvalidParameterError, TaskError
from handful.evals.askers import asking
from handful.evals.data import Item
from handful.evals.evaluate import Recorder, Watch
from handful.evals.journal import Journal
from handful.task.task import Task

MAX_CELLS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One combination. `end_sequence` is what ends an answer."""

    temperature: float
    max_new_tokens: int
    end_sequence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


COORDINATES = tuple(field.name for field in fields(Setting))


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The values that are combined; an empty tuple takes the task's own. `seed` makes sampling reproducible."""

    temperatures: tuple[float, ...] = ()
    max_new_tokens: tuple[int, ...] = ()
    end_sequences: tuple[str, ...] = ()
    seed: int = 0

    def settings(self, task: Task) -> list[Setting]:
        """All combinations. Raises TaskError for a task that isn't answered in free text, InvalidParameterError."""
        if task.is_closed:
            problem = (
                f"The task `{task.name}` has labels: they are scored, so no generation parameter changes anything."
            )
            raise TaskError(problem, fix="Sweep a task without labels, or use `handful eval`.")
        own = task.generation
        if not self.end_sequences and len(own.stop) > 1:
            fix = "Name those to compare with --end-sequence."
            raise InvalidParameterError("--end-sequence", "is needed: the task has several end sequences.", fix=fix)
        axes = (
            self.temperatures or (own.temperature,),
            self.max_new_tokens or (own.max_new_tokens,),
            self.end_sequences or own.stop,
        )
        for name, values in zip(COORDINATES, axes, strict=True):
            if len(set(values)) < len(values):
                raise InvalidParameterError(name, "names a value twice.")
        found = [
            Setting(temperature=temperature, max_new_tokens=length, end_sequence=end)
            for end, length, temperature in itertools.product(axes[2], axes[1], axes[0])
        ]
        if len(found) > MAX_CELLS:
            raise InvalidParameterError("sweep", f"has {len(found)} combinations; at most {MAX_CELLS} are made.")
        for setting in found:
            self.applied(setting, task)  # refuses what is out of range before anything is asked
        return found

    def applied(self, setting: Setting, task: Task) -> Task:
        """The task under a setting."""
        parameters = dataclasses.replace(
            task.parameters,
            temperature=setting.temperature,
            max_new_tokens=setting.max_new_tokens,
            stop=(setting.end_sequence,),
            seed=self.seed if setting.temperature else None,
        )
        return task.replace(parameters=parameters)


def sweep(
    task: Task, queries: Sequence[Item], axes: Axes, open_model: Callable[[], Backend], journal: Journal, watch: Watch
) -> None:
    """Ask every setting that the journal lacks. The prompts are the same in all, so their prefix is computed once."""
    settings = axes.settings(task)
    recorder = Recorder(journal, queries, len(settings), watch)
    left = [setting for setting in settings if not recorder.is_finished(setting.to_dict())]
    if not left:
        return
    backend = open_model()
    try:
        for setting in left:
            _ask(setting, axes.applied(setting, task), backend, recorder)
    finally:
        backend.close()


def _ask(setting: Setting, task: Task, backend: Backend, recorder: Recorder) -> None:
    with asking(task, backend, "generate", seed=0, texts=()) as asker:
        recorder.ask(setting.to_dict(), asker, {})
