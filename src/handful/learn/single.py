"""Channel scoring and kNN prompting as a folder: one prompt, and what was read of the examples that it doesn't show.

Saved as JSON and safetensors like any classifier (saved.py); the folder names its model.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from handful.backend import Backend
from handful.errors import InvalidInputError, TaskError
from handful.learn.channel import ChannelPredictor
from handful.learn.choice import Choice
from handful.learn.heads import NeighboursHead
from handful.learn.named import Ready
from handful.learn.predictor import Predictor
from handful.learn.reading import Reader
from handful.learn.representation import DistributionEmbedder, RepresentationPredictor
from handful.learn.saved import ARRAYS_FILE, JSON_FILE, Arrays, check_model, contents_of, model_entry
from handful.task.task import Task

FORMAT = "handful-reading-1"


@dataclass(frozen=True, slots=True)
class StoredSingle:
    """What was read from a folder, before it is joined with its model. `head` None: channel scoring."""

    content: dict[str, Any]
    task: Task
    head: NeighboursHead | None

    def bind(self, model: Backend) -> Predictor:
        """The reading on its model. InvalidParameterError for another one."""
        check_model(self.content["model"], model)
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
    elif isinstance(predictor, ChannelPredictor):
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
        head = None if content["reading"] == "channel" else _head(arrays, task, int(content["k"]))
    except (KeyError, TypeError, ValueError, TaskError) as error:
        raise InvalidInputError(f"The classifier in {folder} is damaged: {error!r}") from None
    return StoredSingle(content, task, head)


def _head(arrays: Arrays, task: Task, k: int) -> NeighboursHead:
    rows, classes = arrays["rows"], arrays["classes"]
    num_labels = len(task.labels)
    fits = rows.shape == (len(classes), num_labels) and 0 < k <= len(classes)
    if not fits or not np.isin(classes, np.arange(num_labels)).all():
        raise ValueError("its arrays don't fit its task")
    return NeighboursHead(rows, classes, num_labels, k, "kl")
