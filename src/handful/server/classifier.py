"""A saved classifier as a served task: the request and the answer of a prompt task, another way to the answer.

The folder is read and tried when the server starts, so a damaged one is told then. Its predictor runs in a thread of
its own; what that asks of the model runs side by side with everything else.
"""

import asyncio
import contextvars
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from handful.backend import AsyncBackend
from handful.learn import folder as folders
from handful.learn.folder import Classifier, LoadEncoder
from handful.protocol.tasks import Query
from handful.server.blocking_backend import BlockingBackend

MAX_AT_ONCE = 32
_threads = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="handful-classifier")


class ServedClassifier(Classifier):
    """A classifier's folder in memory, asked from an event loop."""

    __slots__ = ()

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
    found = folders.load_classifier(folder, name, load_encoder)
    return ServedClassifier(found.task, found.classes, found.bind, found.choice, found.fingerprint)
