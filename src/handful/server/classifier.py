"""A saved classifier as a served task: the request and the answer of a prompt task, another way to the answer.

The folder is read and tried when the server starts, so a damaged one is told then. Its predictor runs in a thread of
its own; what that asks of the model runs side by side with everything else.
"""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from handful.backend import AsyncBackend, Backend
from handful.errors import InvalidInputError
from handful.learn import encoded
from handful.learn.encoded import NamedEncoder, read_encoded
from handful.learn.predictor import Predictor
from handful.learn.saved import FORMAT, contents_of, read
from handful.protocol.tasks import Query
from handful.server.blocking_backend import BlockingBackend
from handful.task.task import Task
from handful.types import ModelInfo

LoadEncoder = Callable[[str], NamedEncoder]
MAX_AT_ONCE = 32
_threads = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="handful-classifier")


@dataclass(frozen=True, slots=True)
class ServedClassifier:
    """A classifier's folder in memory.

    task      says how its inputs look, and names its model where it needs one
    bind      its predictor on the server's model
    choice    what was chosen when it was fitted, and what accuracy to expect
    """

    task: Task
    classes: tuple[str, ...]
    bind: Callable[[Backend], Predictor]
    choice: dict[str, Any]

    async def predict(self, backend: AsyncBackend, queries: Sequence[Query]) -> list[dict[str, Any]]:
        """One prediction for each input, as a task answers it. Cancelling aborts what it asks of the model.

        Raises as a prompt task does.
        """
        blocking = BlockingBackend(backend, asyncio.get_running_loop())
        context = contextvars.copy_context()
        working = _threads.submit(context.run, self._predict, blocking, queries)
        try:
            return await asyncio.wrap_future(working)
        finally:
            blocking.abort()

    def _predict(self, backend: Backend, queries: Sequence[Query]) -> list[dict[str, Any]]:
        rows = self.bind(backend).probabilities(queries).tolist()
        return [self._answer(query, row) for query, row in zip(queries, rows, strict=True)]

    def _answer(self, query: Query, row: list[float]) -> dict[str, Any]:
        best = self.classes[max(range(len(row)), key=row.__getitem__)]
        return {"input": query, "prediction": best, "probabilities": dict(zip(self.classes, row, strict=True))}

    def described(self) -> dict[str, Any]:
        """What was chosen when it was fitted, and what accuracy to expect."""
        told = {name: self.choice[name] for name in ("recipe", "expected")}
        return {"classes": list(self.classes)} | told


def load_classifier(folder: Path, name: str, load_encoder: LoadEncoder) -> ServedClassifier:
    """Read a folder to be served as the task `name`, its encoder too where it has one.

    Raises NotFoundError, InvalidInputError, and what `load_encoder` raises.
    """
    content, _ = contents_of(folder, FORMAT, encoded.FORMAT)
    made = _on_encoder if content["format"] == encoded.FORMAT else _on_model
    return made(folder, name, load_encoder)


def _on_model(folder: Path, name: str, load_encoder: LoadEncoder) -> ServedClassifier:
    stored = read(folder)
    if stored.needs_encoder and not stored.encoder_name:
        problem = f"The classifier in {folder} reads an encoder without a name, so none can be loaded for it."
        raise InvalidInputError(problem, fix="Fit it with an encoder of `load_encoder`.")
    encoder = load_encoder(stored.encoder_name) if stored.needs_encoder else None
    try:
        wanted, choice = stored.content["model"], stored.content["choice"]
        saved = stored.bind(cast(Backend, _NotLoaded(_info_of(wanted))), encoder)
        task = saved.predictor.members[0].reader.task.replace(name=name, model=wanted["name"])
        _ = choice["recipe"], choice["expected"]
    except (KeyError, TypeError, IndexError) as error:
        raise InvalidInputError(f"The classifier in {folder} is damaged: {error!r}") from None
    classes = tuple(str(one) for one in saved.classes.tolist())

    def bind(backend: Backend) -> Predictor:
        stored.check_model(backend)
        return saved.predictor.on(backend)

    return ServedClassifier(task, classes, bind, choice)


def _on_encoder(folder: Path, name: str, load_encoder: LoadEncoder) -> ServedClassifier:
    stored = read_encoded(folder)
    predictor = stored.bind(load_encoder(stored.encoder_name))
    task = stored.task.replace(name=name, model=None)
    return ServedClassifier(task, task.labels, lambda _: predictor, stored.content["choice"])


@dataclass(frozen=True, slots=True)
class _NotLoaded:
    """A model that is only named yet: enough to try whether a folder's parts fit together."""

    info: ModelInfo


def _info_of(wanted: dict[str, Any]) -> ModelInfo:
    unknown = ModelInfo("", "", "", 0, 1 << 30, 0, 0, 0, "", "")
    return replace(unknown, name=wanted["name"], revision=wanted["revision"], hidden_size=wanted["hidden_size"])
