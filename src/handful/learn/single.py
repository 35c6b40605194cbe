"""Channel scoring, kNN prompting and nearest examples as a folder: a prompt and what was read of the examples that it
doesn't show, or the examples that each query's prompt is made of.

Saved as JSON and safetensors like any classifier (saved.py); the folder names its model.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from handful.backend import Backend
from handful.errors import InvalidInputError, TaskError
from handful.learn import near
from handful.learn.channel import ChannelPredictor
from handful.learn.choice import Choice
from handful.learn.encoded import NamedEncoder
from handful.learn.heads import NeighboursHead
from handful.learn.named import Ready
from handful.learn.predictor import Predictor, TextPredictor
from handful.learn.probability import Vector
from handful.learn.reading import Reader
from handful.learn.representation import DistributionEmbedder, RepresentationPredictor
from handful.learn.saved import ARRAYS_FILE, JSON_FILE, Arrays, check_model, contents_of, model_entry
from handful.learn.selecting import OwnText, SelectedText, SelectingPredictor
from handful.learn.selector import Selector
from handful.task.task import Task

FORMAT = "handful-reading-1"
_OWN_TEXT = "generate"


@dataclass(frozen=True, slots=True)
class StoredSingle:
    """What was read from a folder, before it is joined with its model.

    head  of kNN prompting; None for the others
    bias  that nearest examples of a task with labels are calibrated by; None for the others
    """

    content: dict[str, Any]
    task: Task
    head: NeighboursHead | None = None
    bias: Vector | None = None

    @property
    def shows_nearest(self) -> bool:
        """Whether each query is shown examples of its own."""
        return self.content["reading"] in near.NAMES

    def binder(self, load_encoder: Callable[[str], NamedEncoder]) -> Callable[[Backend], Predictor | TextPredictor]:
        """What joins the reading with its model, whose InvalidParameterError is for another one. An encoder, where it
        needs one, is loaded now, and what it says of the examples is kept."""
        if not self.shows_nearest:
            return self._on
        name = self.content["encoder"]
        selector = Selector(self.task, near.settings(self.task, load_encoder(name) if name else None))

        def bind(model: Backend) -> Predictor | TextPredictor:
            check_model(self.content["model"], model)
            return near.answering(selector, model, self.bias)

        return bind

    def _on(self, model: Backend) -> Predictor | TextPredictor:
        check_model(self.content["model"], model)
        if self.content["reading"] == _OWN_TEXT:
            return OwnText(self.task, model)
        if self.head is None:
            return ChannelPredictor(self.task, model)
        predictor = RepresentationPredictor(DistributionEmbedder(Reader(self.task, model)), self.task.labels)
        predictor.head = self.head
        return predictor


def save_single(folder: Path, ready: Ready, backend: Backend, choice: Choice) -> None:
    """Write the folder, which may be there already."""
    predictor = ready.predictor
    arrays: Arrays = {}
    content: dict[str, Any] = {"format": FORMAT, "model": model_entry(backend.info), "reading": ready.name}
    if isinstance(predictor, RepresentationPredictor) and isinstance(predictor.head, NeighboursHead):
        content |= {"task": ready.shown.to_dict(), "k": predictor.head.k}
        arrays = {"rows": np.ascontiguousarray(predictor.head.rows), "classes": predictor.head.classes}
    elif isinstance(predictor, SelectingPredictor | SelectedText):
        encoder = predictor.selector.settings.encoder
        content |= {"task": ready.shown.to_dict(), "encoder": getattr(encoder, "name", "")}
        if isinstance(predictor, SelectingPredictor) and predictor.bias is not None:
            arrays = {"bias": predictor.bias}
    elif isinstance(predictor, OwnText | ChannelPredictor):
        content |= {"task": predictor.task.to_dict()}
    else:
        raise InvalidInputError(f"The reading `{ready.name}` can't be saved yet.")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(arrays, folder / ARRAYS_FILE)
    text = json.dumps(content | {"choice": choice.to_dict()}, ensure_ascii=False, indent=1)
    (folder / JSON_FILE).write_text(text + "\n", encoding="utf-8")


def read_single(folder: Path) -> StoredSingle:
    """Read a folder that `save_single` wrote. Raises NotFoundError, InvalidInputError."""
    content, arrays = contents_of(folder, FORMAT)
    try:
        task = Task.from_dict(content["task"])
        _ = content["model"]["name"], content["choice"]["recipe"], content["choice"]["expected"]
        reading = content["reading"]
        if reading in near.NAMES:
            Selector(task, near.settings(task))  # which refuses a task without examples
            if not isinstance(content["encoder"], str):
                raise ValueError("its encoder is no name")
            return StoredSingle(content, task, bias=_bias(arrays, task))
        head = None if reading in ("channel", _OWN_TEXT) else _head(arrays, task, int(content["k"]))
    except (KeyError, TypeError, ValueError, TaskError) as error:
        raise InvalidInputError(f"The classifier in {folder} is damaged: {error!r}") from None
    return StoredSingle(content, task, head)


def _bias(arrays: Arrays, task: Task) -> Vector | None:
    bias = arrays.get("bias")
    if bias is not None and (bias.shape != (len(task.labels),) or not (bias > 0).all()):
        raise ValueError("its bias doesn't fit its task")
    return bias


def _head(arrays: Arrays, task: Task, k: int) -> NeighboursHead:
    rows, classes = arrays["rows"], arrays["classes"]
    num_labels = len(task.labels)
    fits = rows.shape == (len(classes), num_labels) and 0 < k <= len(classes)
    if not fits or not np.isin(classes, np.arange(num_labels)).all():
        raise ValueError("its arrays don't fit its task")
    return NeighboursHead(rows, classes, num_labels, k, "kl")
