"""What `handful run` answers with: a task file, or the folder of a saved classifier."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from handful.backend import Backend
from handful.cli.inputs import Row
from handful.cli.output import Record
from handful.cli.run_loop import answer_rows, record_error
from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError
from handful.learn.encoded import NamedEncoder
from handful.learn.folder import Classifier, load_classifier
from handful.task.inputs import Input, values_of
from handful.task.task import Task
from handful.types import Calibration, Device


@dataclass(frozen=True, slots=True)
class Subject:
    """A task, and the classifier that answers it where there is one."""

    task: Task
    classifier: Classifier | None = None

    @property
    def fingerprint(self) -> str:
        """Equal for what gives equal answers."""
        return self.task.fingerprint if self.classifier is None else self.classifier.fingerprint

    @property
    def asks_a_model(self) -> bool:
        """Whether a language model is needed: a classifier may read an encoder's vectors alone."""
        return self.classifier is None or self.task.model is not None

    def answer(self, backend: Backend | None, rows: Iterable[Row], batch_size: int) -> Iterator[list[Record]]:
        """The records of `rows`, in lists of up to `batch_size`. `backend` None where no model is asked."""
        asked = cast(Backend, backend)
        if self.classifier is None:
            return answer_rows(self.task, asked, rows, batch_size)
        return _classify(self.classifier, asked, rows, batch_size)


def load_subject(path: str, calibration: Calibration | None, device: Device | None) -> Subject:
    """The task file or the folder at `path`. Raises what reading them raises, and InvalidParameterError."""
    if not _is_folder(path):
        task = Task.load(path)
        return Subject(task if calibration is None else task.replace(calibration=calibration))
    if calibration is not None:
        problem = "is for task files: how a saved classifier reads its labels was decided when it was fitted."
        raise InvalidParameterError("--calibration", problem, fix="Leave it out.")

    def encoder(name: str) -> NamedEncoder:
        from handful.local.encoder import load_encoder

        return load_encoder(name, device=device)

    found = load_classifier(Path(path), Path(path).resolve().name, encoder)
    return Subject(found.task, found)


def _is_folder(path: str) -> bool:
    with contextlib.suppress(OSError, ValueError):  # a name the system can't have is told of where it is read
        return Path(path).is_dir()
    return False


def _classify(classifier: Classifier, backend: Backend, rows: Iterable[Row], batch_size: int) -> Iterator[list[Record]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, batch_size)):
        checked = [(row, _problem_of(classifier.task, row)) for row in batch]
        answers = iter(_answers(classifier, backend, [row.given for row, problem in checked if not problem]))
        yield [record_error(row, problem) if problem else _record(row, next(answers)) for row, problem in checked]


def _problem_of(task: Task, row: Row) -> str:
    if row.problem:
        return row.problem
    try:
        values_of(task, row.given)
    except InvalidInputError as error:
        return str(error)
    return ""


def _answers(classifier: Classifier, backend: Backend, inputs: Sequence[Input]) -> list[Record | str]:
    """The batch at once; where one of its inputs is refused, one at a time, its problem in its place."""
    try:
        return list(classifier.answers(backend, inputs))
    except (InvalidInputError, PromptTooLongError) as error:
        if len(inputs) == 1:
            return [str(error)]
        return [answer for given in inputs for answer in _answers(classifier, backend, [given])]


def _record(row: Row, answer: Record | str) -> Record:
    return record_error(row, answer) if isinstance(answer, str) else answer
