"""A saved classifier as a served task: the request and the answer of a prompt task, another way to the answer.

The folder is read and tried when the server starts, so a damaged one is told then, and again when another one is saved
there (classifier_sync.py). Its predictor runs in a thread of
its own; what that asks of the model runs side by side with everything else.
"""

import asyncio
import contextvars
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.backend import AsyncBackend
from handful.learn import folder as folders
from handful.learn.folder import Classifier, LoadEncoder
from handful.learn.saved import ARRAYS_FILE, JSON_FILE
from handful.learn.tuned import ENCODER_FILE
from handful.protocol.tasks import Query
from handful.server.blocking_backend import BlockingBackend

MAX_AT_ONCE = 32
Stamp = tuple[tuple[int, int, int], ...]
"""Of each file: when it was last written, its size, its inode."""
_threads = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="handful-classifier")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a served classifier was read from, and can be read again."""

    folder: Path
    name: str
    load_encoder: LoadEncoder

    @property
    def stamp(self) -> Stamp:
        """Another one whenever something was written there."""
        return tuple(_stamp(self.folder / name) for name in (JSON_FILE, ARRAYS_FILE, ENCODER_FILE))

    def read(self) -> "ServedClassifier":
        """See `load_classifier`."""
        return load_classifier(self.folder, self.name, self.load_encoder)


@dataclass(frozen=True, slots=True)
class ServedClassifier(Classifier):
    """A classifier's folder in memory, asked from an event loop. `stamp` is the place's as it was before reading."""

    place: Place | None = None
    stamp: Stamp = ()

    async def predict(self, backend: AsyncBackend, queries: Sequence[Query]) -> list[dict[str, Any]]:
        """One prediction for each input, as a task answers it. Cancelling aborts what it asks of the model.

        Raises as a prompt task does.
        """
        blocking = BlockingBackend(backend, asyncio.get_running_loop())
        context = contextvars.copy_context()
        working = _threads.submit(context.run, self.answers, blocking, queries)
        try:
            return await asyncio.wrap_future(working)
        finally:
            blocking.abort()


def load_classifier(folder: Path, name: str, load_encoder: LoadEncoder) -> ServedClassifier:
    """Read a folder to be served as the task `name`, its encoder too where it has one.

    Raises NotFoundError, InvalidInputError, and what `load_encoder` raises.
    """
    place = Place(folder, name, load_encoder)
    stamp = place.stamp
    found = folders.load_classifier(folder, name, load_encoder)
    return ServedClassifier(found.task, found.classes, found.bind, found.choice, found.fingerprint, place, stamp)


def _stamp(path: Path) -> tuple[int, int, int]:
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return 0, 0, 0
