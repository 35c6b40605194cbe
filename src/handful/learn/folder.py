"""A classifier's folder, whichever way it answers: written by `FewShotClassifier.save`, `handful distill` and
`handful tune`, answered from by `handful run` and `handful serve`."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from handful.backend import Backend
from handful.errors import InvalidInputError
from handful.learn import encoded, near, saved, single
from handful.learn.choice import Choice
from handful.learn.encoded import EncodedPredictor, NamedEncoder
from handful.learn.ensemble import EnsemblePredictor
from handful.learn.evidence import Verdict
from handful.learn.named import Ready
from handful.learn.predictor import Predictor, TextPredictor, most_probable_labels
from handful.learn.reading_names import NAMES, work_of
from handful.learn.tuned import ENCODER_FILE
from handful.task.inputs import Input
from handful.task.task import Task
from handful.types import ModelInfo

LoadEncoder = Callable[[str], NamedEncoder]


@dataclass(frozen=True, slots=True)
class Classifier:
    """A folder in memory.

    task         says how its inputs look, and names its model where it needs one (None: it asks only an encoder)
    bind         its predictor on its model; for a task of free text, what writes its answers
    choice       what was chosen when it was fitted, and what accuracy to expect
    fingerprint  SHA-256 over the folder's files: equal for equal classifiers
    """

    task: Task
    classes: tuple[str, ...]
    bind: Callable[[Backend], Predictor | TextPredictor]
    choice: dict[str, Any]
    fingerprint: str = ""

    def answers(self, backend: Backend, inputs: Sequence[Input]) -> list[dict[str, Any]]:
        """A record for each input, as a task gives it. Raises InvalidInputError, PromptTooLongError."""
        reading = self.bind(backend)
        if isinstance(reading, TextPredictor):
            return [found.to_dict() for found in reading.predictions(inputs)]
        rows = reading.probabilities(inputs)
        labels = most_probable_labels(self.classes, rows)
        return [
            self._answer(given, label, row) for given, label, row in zip(inputs, labels, rows.tolist(), strict=True)
        ]

    def _answer(self, given: Input, label: str, row: list[float]) -> dict[str, Any]:
        least = self.task.abstain_below
        told = {} if least is None else {"abstained": max(row) < least}
        probabilities = dict(zip(self.classes, row, strict=True))
        return {"input": given, "prediction": label, **told, "probabilities": probabilities}

    def described(self) -> dict[str, Any]:
        """What was chosen when it was fitted, and what accuracy to expect."""
        told = {name: self.choice[name] for name in ("recipe", "expected")}
        return {"classes": list(self.classes)} | told


def load_classifier(folder: Path, name: str, load_encoder: LoadEncoder) -> Classifier:
    """Read a folder as the task `name`, its encoder too where it has one; what is damaged is told now.

    Raises NotFoundError, InvalidInputError, and what `load_encoder` raises.
    """
    content, _ = saved.contents_of(folder, saved.FORMAT, encoded.FORMAT, single.FORMAT)
    load = {saved.FORMAT: _fitted, single.FORMAT: _single, encoded.FORMAT: _encoded}[content["format"]]
    return load(folder, name, load_encoder)


def save_ready(folder: Path, ready: Ready, backend: Backend, expected: Verdict) -> None:
    """Write a reading that was fitted. `expected`: how right it was on rows that it had not seen."""
    task = ready.shown
    if ready.choice is not None:
        choice = replace(ready.choice, expected=expected)
    else:
        choice = Choice(
            recipe=ready.name,
            reason="It was searched for.",
            expected=expected,
            verdicts=(expected,),
            num_prompts=1,
            num_shown=near.num_shown(task) if ready.name in near.NAMES else len(task.examples),
            num_passes=work_of(ready.name, task, 0).a_query if ready.name in NAMES else 1,
        )
    if isinstance(ready.predictor, EncodedPredictor):
        return encoded.save_encoded(folder, ready.predictor, choice)
    if not isinstance(ready.predictor, EnsemblePredictor):
        return single.save_single(folder, ready, backend, choice)
    parameters = {name: getattr(task, name) for name in ("input", "output", "description", "separator")}
    return saved.save(folder, saved.Saved(parameters, np.array(task.labels), ready.predictor, choice))


def _fitted(folder: Path, name: str, load_encoder: LoadEncoder) -> Classifier:
    stored = saved.read(folder)
    if stored.needs_encoder and not stored.encoder_name:
        problem = f"The classifier in {folder} reads an encoder without a name, so none can be loaded for it."
        raise InvalidInputError(problem, fix="Fit it with an encoder of `load_encoder`.")
    encoder = load_encoder(stored.encoder_name) if stored.needs_encoder else None
    try:
        wanted, choice = stored.content["model"], stored.content["choice"]
        found = stored.bind(cast(Backend, _NotLoaded(_info_of(wanted))), encoder)
        task = found.predictor.members[0].reader.task.replace(name=name, model=wanted["name"])
        _ = choice["recipe"], choice["expected"]
    except (KeyError, TypeError, IndexError) as error:
        raise InvalidInputError(f"The classifier in {folder} is damaged: {error!r}") from None

    def bind(backend: Backend) -> Predictor:
        stored.check_model(backend)
        return found.predictor.on(backend)

    classes = tuple(str(one) for one in found.classes.tolist())
    return Classifier(task, classes, bind, choice, _fingerprint(folder))


def _single(folder: Path, name: str, load_encoder: LoadEncoder) -> Classifier:
    stored = single.read_single(folder)
    task = stored.task.replace(name=name, model=stored.content["model"]["name"])
    if stored.shows_nearest:  # its examples are no prompt's
        task = task.with_examples(())
    bind = stored.binder(load_encoder)
    return Classifier(task, task.labels, bind, stored.content["choice"], _fingerprint(folder))


def _encoded(folder: Path, name: str, load_encoder: LoadEncoder) -> Classifier:
    stored = encoded.read_encoded(folder)
    predictor = stored.bind(load_encoder(stored.encoder_name))
    task = stored.task.replace(name=name, model=None)
    return Classifier(task, task.labels, lambda _: predictor, stored.content["choice"], _fingerprint(folder))


def _fingerprint(folder: Path) -> str:
    found = [folder / name for name in (saved.JSON_FILE, saved.ARRAYS_FILE, ENCODER_FILE) if (folder / name).exists()]
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in found)).hexdigest()


@dataclass(frozen=True, slots=True)
class _NotLoaded:
    """A model that is only named yet: enough to try whether a folder's parts fit together."""

    info: ModelInfo


def _info_of(wanted: dict[str, Any]) -> ModelInfo:
    unknown = ModelInfo("", "", "", 0, 1 << 30, 0, 0, 0, "", "")
    return replace(unknown, name=wanted["name"], revision=wanted["revision"], hidden_size=wanted["hidden_size"])
