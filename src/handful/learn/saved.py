"""A fitted classifier as a folder: `classifier.json` says what it is, `arrays.safetensors` holds its numbers.

Nothing in it is executed when it is read, and the model isn't in it: the folder names the model that it needs.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from handful.backend import Backend
from handful.errors import InvalidInputError, InvalidParameterError, NotFoundError
from handful.learn.choice import Choice
from handful.learn.ensemble import EnsemblePredictor, Member
from handful.learn.evidence import Verdict
from handful.learn.heads import LinearHead
from handful.learn.ngrams import Encoder
from handful.learn.reading import Layers, Reader
from handful.learn.recipe import Fitted
from handful.learn.tuned import save_weights, with_saved_weights
from handful.task.task import Task
from handful.types import ModelInfo, TunedPrefix

FORMAT = "handful-classifier-1"
JSON_FILE, ARRAYS_FILE = "classifier.json", "arrays.safetensors"
LABELS_FILE = "labels.jsonl"
"""What `handful distill` writes first: the texts with the prompt's labels, from which a rerun goes on."""

Arrays = dict[str, NDArray[Any]]
Labelled = tuple[str, Any]
"""A text and its class."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a folder holds. `parameters` are the estimator's, without the model; `examples` what it learned from, where
    that is known."""

    parameters: dict[str, Any]
    classes: NDArray[Any]
    predictor: EnsemblePredictor
    choice: Choice
    examples: tuple[Labelled, ...] | None = None


def save(folder: Path, what: Saved) -> None:
    """Write the folder, which may be there already. InvalidInputError for classes that JSON doesn't hold."""
    members = what.predictor.members
    arrays: Arrays = {}
    for index, member in enumerate(members):
        arrays |= {f"{index}.{name}": np.ascontiguousarray(value) for name, value in _arrays_of(member.fitted).items()}
        if (prefix := member.reader.prefix) is not None:
            arrays |= {f"{index}.prefix_keys": prefix.keys, f"{index}.prefix_values": prefix.values}
    info = members[0].reader.backend.info
    classes = what.classes.tolist()
    if not all(isinstance(one, str | int | float | bool) for one in classes):
        raise InvalidInputError("Only classes that are text, numbers or true and false can be saved.")
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "model": model_entry(info),
        "encoder": getattr(what.predictor.encoder, "name", ""),
        "is_encoder_tuned": save_weights(folder, what.predictor.encoder),
        "parameters": what.parameters,
        "classes": classes,
        "sharpness": what.predictor.sharpness,
        "members": [
            {
                "task": member.reader.task.to_dict(),
                "score_weight": member.fitted.score_weight,
                "synonyms": {label: list(words) for label, words in member.reader.synonyms.items()},
                "layers": list(member.reader.layers),
            }
            for member in members
        ],
        "choice": what.choice.to_dict(),
    } | ({} if what.examples is None else {"examples": what.examples})
    save_file(arrays, folder / ARRAYS_FILE)
    (folder / JSON_FILE).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Stored:
    """What was read from a folder, before it is joined with its model."""

    folder: Path
    content: dict[str, Any]
    arrays: Arrays

    def bind(self, model: Backend, encoder: Encoder | None = None) -> Saved:
        """The classifier on its model, and on its encoder where it has one (`needs_encoder`).

        InvalidParameterError for another model or none of the encoder, InvalidInputError for damaged files.
        """
        try:
            self.check_model(model)
            self._check_encoder(encoder)
            if encoder is not None and self.needs_encoder and self.content.get("is_encoder_tuned", False):
                encoder = with_saved_weights(encoder, self.folder)
            return _read(self.content, self.arrays, model, encoder)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InvalidInputError(f"The classifier in {self.folder} is damaged: {error!r}") from None

    def check_model(self, model: Backend) -> None:
        """InvalidParameterError for another model than the one that it was fitted with."""
        check_model(self.content["model"], model)

    @property
    def needs_encoder(self) -> bool:
        """Whether a head reads an encoder's vectors."""
        return "0.encoder_weights" in self.arrays

    @property
    def encoder_name(self) -> str:
        """The encoder that it needs; empty where that has no name, or none is needed."""
        return str(self.content.get("encoder", ""))

    def _check_encoder(self, encoder: Encoder | None) -> None:
        if not self.needs_encoder:
            return
        wanted, name = self.content["encoder"], getattr(encoder, "name", "")
        fix = f"Load {wanted or 'the one that it was fitted with'}."
        if encoder is None:
            raise InvalidParameterError("encoder", "is needed: the classifier was fitted with one.", fix=fix)
        if wanted and name and wanted != name:
            raise InvalidParameterError("encoder", f"is {name!r}; the classifier was fitted with {wanted!r}.", fix=fix)
        given, dim = encoder.embed(["a"]).shape[1], len(self.arrays["0.encoder_weights"])
        if given != dim:
            raise InvalidParameterError("encoder", f"gives {given} numbers a text; it takes {dim}.", fix=fix)


def read(folder: Path) -> Stored:
    """Read a folder that `save` wrote. Raises NotFoundError, InvalidInputError."""
    return Stored(folder, *contents_of(folder, FORMAT))


def contents_of(folder: Path, *formats: str) -> tuple[dict[str, Any], Arrays]:
    """The JSON and the arrays of a classifier's folder of one of these formats.

    Raises NotFoundError, InvalidInputError.
    """
    try:
        content = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
        arrays = load_file(folder / ARRAYS_FILE)
    except FileNotFoundError as error:
        raise _missing(folder, Path(error.filename).name) from None
    except (ValueError, SafetensorError) as error:
        raise InvalidInputError(f"The classifier in {folder} is damaged: {error}") from None
    if not isinstance(content, dict) or content.get("format") not in formats:
        raise InvalidInputError(f"{folder / JSON_FILE} is no classifier that can be read here ({', '.join(formats)}).")
    return content, arrays


def is_unfinished(folder: Path) -> bool:
    """Whether `handful distill` labelled texts there, or began to, and hasn't made a classifier of them."""
    return (folder / LABELS_FILE).is_file() and not (folder / JSON_FILE).exists()


def _missing(folder: Path, name: str) -> NotFoundError:
    if not is_unfinished(folder):
        return NotFoundError(f"There is no saved classifier in {folder}: {name} is missing.")
    problem = f"There is no saved classifier in {folder}: its distillation wasn't finished."
    fix = f"Run the same `handful distill` with --output {folder} again: it goes on from the labels that are there."
    return NotFoundError(problem, fix=fix)


def load(folder: Path, model: Backend, encoder: Encoder | None = None) -> Saved:
    """Read a folder and join it with its model. Raises NotFoundError, InvalidInputError, InvalidParameterError."""
    return read(folder).bind(model, encoder)


def _read(content: dict[str, Any], arrays: Arrays, model: Backend, encoder: Encoder | None) -> Saved:
    members = tuple(_member(entry, index, arrays, model) for index, entry in enumerate(content["members"]))
    choice = dict(content["choice"])
    choice["expected"] = Verdict(**choice["expected"])
    choice["verdicts"] = tuple(Verdict(**verdict) for verdict in choice["verdicts"])
    for name in ("confidences", "is_right"):
        choice[name] = tuple(choice.get(name, ()))
    predictor = EnsemblePredictor(members, float(content["sharpness"]), encoder)
    examples = None
    if (given := content.get("examples")) is not None:
        examples = tuple((str(text), known) for text, known in given)
    return Saved(content["parameters"], np.array(content["classes"]), predictor, Choice(**choice), examples)


def _member(entry: dict[str, Any], index: int, arrays: Arrays, model: Backend) -> Member:
    heads = [
        LinearHead(arrays[f"{index}.{name}weights"], arrays[f"{index}.{name}head_bias"])
        if f"{index}.{name}weights" in arrays
        else None
        for name in ("", "encoder_")
    ]
    fitted = Fitted(float(entry["score_weight"]), arrays[f"{index}.bias"], *heads)
    task, prefix = Task.from_dict(entry["task"]), _prefix(arrays, index)
    reader = Reader(task, model, entry.get("synonyms", {}), _layers(entry), prefix)
    return Member(reader, fitted)


def _prefix(arrays: Arrays, index: int) -> TunedPrefix | None:
    if f"{index}.prefix_keys" not in arrays:
        return None
    prefix = TunedPrefix(arrays[f"{index}.prefix_keys"], arrays[f"{index}.prefix_values"])
    if prefix.keys.ndim != 4 or prefix.keys.shape != prefix.values.shape:
        raise ValueError("the keys and values of its tuned prompt don't fit each other")
    return prefix


def _layers(entry: dict[str, Any]) -> Layers:
    layers = entry.get("layers", [None])  # the first versions don't tell: they read behind the last norm
    if not isinstance(layers, list) or not layers:
        raise TypeError("its layers are no list")
    if not all(layer is None or (type(layer) is int and layer > 0) for layer in layers):
        raise TypeError("its layers are no numbers from 1")
    return tuple(layers)


def _arrays_of(fitted: Fitted) -> Arrays:
    arrays: Arrays = {"bias": fitted.bias}
    for name, head in (("", fitted.head), ("encoder_", fitted.encoder_head)):
        if head is None:
            continue
        if not isinstance(head, LinearHead):
            raise InvalidInputError(f"A classifier with a {type(head).__name__} can't be saved yet.")
        arrays |= {f"{name}weights": head.weights, f"{name}head_bias": head.bias}
    return arrays


def model_entry(info: ModelInfo) -> dict[str, Any]:
    """What a folder says of its model, for `check_model`."""
    return {"name": info.name, "revision": info.revision, "hidden_size": info.hidden_size}


def check_model(wanted: dict[str, Any], model: Backend) -> None:
    """Raise InvalidParameterError unless `model` is the one that a folder names."""
    given = model_entry(model.info)
    info = model.info
    # The name may differ (a folder here, a Hub id there); where both know a revision, that decides.
    key = "revision" if wanted["revision"] and info.revision else "name"
    for name in (key, "hidden_size"):
        if wanted[name] != given[name]:
            problem = f"has {name} {given[name]!r}; the classifier was fitted with {wanted[name]!r}."
            raise InvalidParameterError("model", problem, fix=f"Load {wanted['name']!r}.")
