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
from handful.learn.auto import Choice
from handful.learn.ensemble import EnsemblePredictor, Member
from handful.learn.evidence import Verdict
from handful.learn.heads import LinearHead
from handful.learn.reading import Reader
from handful.learn.recipe import Fitted
from handful.task.task import Task

FORMAT = "handful-classifier-1"
_JSON, _ARRAYS = "classifier.json", "arrays.safetensors"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Saved:
    """What a folder holds. `parameters` are the estimator's, without the model."""

    parameters: dict[str, Any]
    classes: NDArray[Any]
    predictor: EnsemblePredictor
    choice: Choice


def save(folder: Path, what: Saved) -> None:
    """Write the folder, which may be there already. InvalidInputError for classes that JSON doesn't hold."""
    members = what.predictor.members
    arrays: Arrays = {}
    for index, member in enumerate(members):
        arrays |= {f"{index}.{name}": np.ascontiguousarray(value) for name, value in _arrays_of(member.fitted).items()}
    info = members[0].reader.backend.info
    classes = what.classes.tolist()
    if not all(isinstance(one, str | int | float | bool) for one in classes):
        raise InvalidInputError("Only classes that are text, numbers or true and false can be saved.")
    content = {
        "format": FORMAT,
        "model": {"name": info.name, "revision": info.revision, "hidden_size": info.hidden_size},
        "parameters": what.parameters,
        "classes": classes,
        "sharpness": what.predictor.sharpness,
        "members": [
            {"task": member.reader.task.to_dict(), "score_weight": member.fitted.score_weight} for member in members
        ],
        "choice": what.choice.to_dict(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(arrays, folder / _ARRAYS)
    (folder / _JSON).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def load(folder: Path, model: Backend) -> Saved:
    """Read a folder that `save` wrote. Raises NotFoundError, InvalidInputError, InvalidParameterError."""
    try:
        content = json.loads((folder / _JSON).read_text(encoding="utf-8"))
        arrays = load_file(folder / _ARRAYS)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"There is no saved classifier in {folder}: {Path(error.filename).name} is missing."
        ) from None
    except (ValueError, SafetensorError) as error:
        raise InvalidInputError(f"The classifier in {folder} is damaged: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InvalidInputError(f"{folder / _JSON} is no classifier that this version reads ({FORMAT}).")
    try:
        _check_model(content["model"], model)
        return _read(content, arrays, model)
    except (KeyError, TypeError) as error:
        raise InvalidInputError(f"The classifier in {folder} is damaged: {error!r}") from None


def _read(content: dict[str, Any], arrays: Arrays, model: Backend) -> Saved:
    members = tuple(_member(entry, index, arrays, model) for index, entry in enumerate(content["members"]))
    choice = dict(content["choice"])
    choice["expected"] = Verdict(**choice["expected"])
    choice["verdicts"] = tuple(Verdict(**verdict) for verdict in choice["verdicts"])
    predictor = EnsemblePredictor(members, float(content["sharpness"]))
    return Saved(content["parameters"], np.array(content["classes"]), predictor, Choice(**choice))


def _member(entry: dict[str, Any], index: int, arrays: Arrays, model: Backend) -> Member:
    head = None
    if f"{index}.weights" in arrays:
        head = LinearHead(arrays[f"{index}.weights"], arrays[f"{index}.head_bias"])
    fitted = Fitted(float(entry["score_weight"]), arrays[f"{index}.bias"], head)
    return Member(Reader(Task.from_dict(entry["task"]), model), fitted)


def _arrays_of(fitted: Fitted) -> Arrays:
    if fitted.head is None:
        return {"bias": fitted.bias}
    if not isinstance(fitted.head, LinearHead):
        raise InvalidInputError(f"A classifier with a {type(fitted.head).__name__} can't be saved yet.")
    return {"bias": fitted.bias, "weights": fitted.head.weights, "head_bias": fitted.head.bias}


def _check_model(wanted: dict[str, Any], model: Backend) -> None:
    info = model.info
    given = {"name": info.name, "revision": info.revision, "hidden_size": info.hidden_size}
    # The name may differ (a folder here, a Hub id there); where both know a revision, that decides.
    key = "revision" if wanted["revision"] and info.revision else "name"
    for name in (key, "hidden_size"):
        if wanted[name] != given[name]:
            problem = f"has {name} {given[name]!r}; the classifier was fitted with {wanted[name]!r}."
            raise InvalidParameterError("model", problem, fix=f"Load {wanted['name']!r}.")
