"""A classifier on an encoder's vectors: once it has learned, no language model is asked any more.

Saved as JSON and safetensors like any classifier (saved.py); the folder names its encoder.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from handful.errors import InvalidInputError, InvalidParameterError, TaskError
from handful.learn.choice import Choice
from handful.learn.heads import LinearHead
from handful.learn.ngrams import texts_to_compare
from handful.learn.predictor import Predictor
from handful.learn.probability import Matrix, normalise
from handful.learn.saved import ARRAYS_FILE, JSON_FILE, Arrays, contents_of
from handful.learn.tuned import save_weights, with_saved_weights
from handful.task.inputs import Input
from handful.task.task import Task

FORMAT = "handful-encoder-classifier-1"


class NamedEncoder(Protocol):
    """An encoder that can be found again, as `handful.local.load_encoder` gives one."""

    name: str
    revision: str

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[len(texts), dim]`. Raises InvalidInputError, PromptTooLongError."""
        ...


@dataclass(frozen=True, slots=True)
class EncodedPredictor(Predictor):
    """A linear head on the vectors of an input's texts. `task` says which texts those are, and the labels."""

    task: Task
    encoder: NamedEncoder
    head: LinearHead

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's labels."""
        return self.task.labels

    def probabilities(self, inputs: Sequence[Input]) -> Matrix:
        """See `Predictor.probabilities`."""
        if not len(inputs):
            return np.zeros((0, len(self.labels)))
        return normalise(self.head.log_probabilities(encoded(self.task, self.encoder, inputs)))


def encoded(task: Task, encoder: NamedEncoder, inputs: Sequence[Input]) -> Matrix:
    """The vectors of inputs: `[n, dim]`."""
    return encoder.embed(texts_to_compare(task, inputs)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class StoredEncoded:
    """What was read from a folder, before it is joined with its encoder."""

    folder: Path
    content: dict[str, Any]
    task: Task
    head: LinearHead

    @property
    def encoder_name(self) -> str:
        """The encoder that it needs."""
        return str(self.content["encoder"]["name"])

    def bind(self, encoder: NamedEncoder) -> EncodedPredictor:
        """The classifier on its encoder. InvalidParameterError for another one."""
        wanted = self.content["encoder"]
        key = "revision" if wanted["revision"] and encoder.revision else "name"
        for name in (key, "dim"):
            given = getattr(encoder, name)
            if wanted[name] != given:
                problem = f"has {name} {given!r}; the classifier was fitted with {wanted[name]!r}."
                raise InvalidParameterError("encoder", problem, fix=f"Load {wanted['name']!r}.")
        if wanted.get("is_tuned", False):
            encoder = with_saved_weights(encoder, self.folder)
        return EncodedPredictor(self.task, encoder, self.head)


def save_encoded(folder: Path, predictor: EncodedPredictor, choice: Choice) -> None:
    """Write the folder, which may be there already; the encoder isn't in it."""
    encoder, head = predictor.encoder, predictor.head
    folder.mkdir(parents=True, exist_ok=True)
    is_tuned = save_weights(folder, encoder)
    content = {
        "format": FORMAT,
        "encoder": {"name": encoder.name, "revision": encoder.revision, "dim": encoder.dim, "is_tuned": is_tuned},
        "task": predictor.task.with_examples(()).to_dict(),
        "choice": choice.to_dict(),
    }
    arrays: Arrays = {"weights": np.ascontiguousarray(head.weights), "head_bias": np.ascontiguousarray(head.bias)}
    save_file(arrays, folder / ARRAYS_FILE)
    (folder / JSON_FILE).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_encoded(folder: Path) -> StoredEncoded:
    """Read a folder that `save_encoded` wrote. Raises NotFoundError, InvalidInputError."""
    content, arrays = contents_of(folder, FORMAT)
    try:
        task = Task.from_dict(content["task"])
        head = LinearHead(arrays["weights"], arrays["head_bias"])
        wanted = {name: content["encoder"][name] for name in ("name", "revision", "dim")}
        _ = content["choice"]["recipe"], content["choice"]["expected"]
    except (KeyError, TypeError, TaskError) as error:
        raise InvalidInputError(f"The classifier in {folder} is damaged: {error!r}") from None
    if head.weights.shape != (wanted["dim"], len(task.labels)) or head.bias.shape != (len(task.labels),):
        raise InvalidInputError(f"The classifier in {folder} is damaged: its arrays don't fit its task.")
    return StoredEncoded(folder, content, task, head)
