"""Serving a classifier as it was saved last: examples and classes that were added to it come without a restart.

Who writes a folder is another process, so it is read once nothing has moved since the look before. What is served goes
on until the new one is there; one that can't be read is told in the log, and the old one stays.
"""

import asyncio
import json
import logging
from dataclasses import replace

from handful.errors import BusyError, HandfulError, InvalidInputError
from handful.server.classifier import Place, ServedClassifier, Stamp
from handful.server.task_registry import ServedTask, TaskKey, TaskRegistry

_log = logging.getLogger("handful.server")


class ClassifierSync:
    """Looks at the folders when it is told to (store_sync.py). Belongs to one event loop."""

    def __init__(self, tasks: TaskRegistry) -> None:
        self._tasks = tasks
        self._seen: dict[TaskKey, Stamp] = {}
        self._unusable: dict[TaskKey, Stamp] = {}

    async def refresh(self) -> None:
        """Look once."""
        for served in self._tasks.everything():
            if served.classifier is not None and served.classifier.place is not None:
                await self._look_at(served, served.classifier, served.classifier.place)

    async def _look_at(self, served: ServedTask, current: ServedClassifier, place: Place) -> None:
        stamp = await asyncio.to_thread(lambda: place.stamp)
        before = self._seen.get(served.key)
        self._seen[served.key] = stamp
        if stamp in (current.stamp, self._unusable.get(served.key)) or stamp != before:
            return
        try:
            found = await asyncio.to_thread(place.read)
            _check(current, found)
        except HandfulError as error:
            self._unusable[served.key] = stamp
            _tell("classifier not renewed", served, str(error))
            return
        if found.stamp == stamp:  # nobody wrote while it was read
            await self._swap(served, found)

    async def _swap(self, served: ServedTask, found: ServedClassifier) -> None:
        renewed = replace(served, task=found.task, classifier=found, number=served.version + 1)
        try:
            await self._tasks.prepare(renewed)
        except BusyError:
            return  # the next look tries again
        self._tasks.put(renewed)
        await self._tasks.let_go(served)
        _tell("classifier renewed", served, f"{len(found.classes)} classes")


def _check(current: ServedClassifier, found: ServedClassifier) -> None:
    """Raise InvalidInputError for what can't take the place of what is served."""
    if found.task.model != current.task.model:
        problem = f"It needs the model {found.task.model}, and is served with {current.task.model}."
        raise InvalidInputError(problem, fix="Start the server again.")


def _tell(event: str, served: ServedTask, said: str) -> None:
    _log.warning(json.dumps({"event": event, "task": served.task.name, "said": said}))
