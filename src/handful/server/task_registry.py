"""The tasks of a server: which there are, and on which model each runs."""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from handful.backend import AsyncBackend
from handful.errors import HandfulError, InvalidInputError, NotFoundError
from handful.protocol.names import check_name
from handful.task.fit import Fitter
from handful.task.render import prefix
from handful.task.task import Task

_log = logging.getLogger("handful.server")


@dataclass(frozen=True, slots=True)
class ServedTask:
    """A task and the served name of its model."""

    task: Task
    model: str


class TaskRegistry:
    """Tasks by name, in the order in which they were given."""

    def __init__(self, tasks: Iterable[ServedTask] = ()) -> None:
        self._tasks: dict[str, ServedTask] = {}
        self._fitters: dict[str, Fitter] = {}
        for served in tasks:
            check_name("task", served.task.name)
            if served.task.name in self._tasks:
                raise InvalidInputError(f"Two tasks are named {served.task.name!r}.", fix="Rename one of them.")
            self._tasks[served.task.name] = served

    def __iter__(self) -> Iterator[ServedTask]:
        return iter(self._tasks.values())

    def get(self, name: str) -> ServedTask:
        """A task by its name. Raises NotFoundError."""
        served = self._tasks.get(name)
        if served is None:
            there = ", ".join(self._tasks) or "none; start it with --task FILE"
            raise NotFoundError(f"Task {name[:200]} does not exist.", fix=f"This server has: {there}.")
        return served

    def fitter(self, served: ServedTask, backend: AsyncBackend) -> Fitter:
        """The one fitter of a served task: it remembers the token count of the task's prefix."""
        name = served.task.name
        if name not in self._fitters:
            self._fitters[name] = Fitter(served.task, backend.info.context_length)
        return self._fitters[name]

    async def pin(self, model: str, backend: AsyncBackend) -> None:
        """Let a model that has loaded compute and keep the prefixes of its tasks, so the first query is fast too."""
        for served in self:
            text = prefix(served.task)
            if served.model != model or not text:
                continue
            try:
                await backend.pin(text)
            except HandfulError as error:  # such a task still answers: with fewer examples, or as its error says
                kind = type(error).__name__
                _log.warning(json.dumps({"event": "not pinned", "task": served.task.name, "kind": kind}))
