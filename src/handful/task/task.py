"""A task: description, examples, where the query goes, and how the answer is got. A frozen value made of text.

Invariant: a `Task` that exists is sound. Whatever could go wrong with it without a model was checked when it was
made (`check.py`), so rendering and predicting never meet a malformed one.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from handful.task import check, schema, task_file
from handful.task.template import parse_template
from handful.types import Calibration, GenerationParameters

if TYPE_CHECKING:
    from handful.backend import Backend
    from handful.task.predict import Prediction

_GREEDY = GenerationParameters()


@dataclass(frozen=True, slots=True)
class Example:
    """One demonstration: a value for every variable of the input template, and the output they should give."""

    inputs: Mapping[str, str]
    output: str

    def __post_init__(self) -> None:
        if isinstance(self.inputs, Mapping):  # anything else is refused by name when a task takes the example
            object.__setattr__(self, "inputs", dict(self.inputs))  # the caller's dict may change, this one doesn't

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.inputs.items())), self.output))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a model is shown and how its answer is read.

    input        template of a query, with one or more `{variables}`
    output       template of an answer, with the one variable `{output}`; it stands on the line below the input
    separator    what ends every example; it must hold a line break
    labels       the closed set of answers; empty for a task that is answered in free text
    calibration  "auto" takes out of the labels' probabilities what the examples do to them (`calibration.py`), and
                 "contextual" and "domain" are its two halves; "none" leaves them as the model gives them
    abstain_below  closed tasks: a prediction that is less probable is marked as no answer; None marks none
    parameters   how free text is generated; `stop` left empty means `generation.stop`
    model        the model the task is meant for; None leaves it to the caller
    version      free text of the author's, carried along

    Raises `TaskError` naming the key, the problem and the way out.
    """

    name: str
    description: str = ""
    input: str = "Input: {input}"
    output: str = "Output: {output}"
    separator: str = "\n###\n"
    labels: tuple[str, ...] = ()
    calibration: Calibration = "auto"
    abstain_below: float | None = None
    examples: tuple[Example, ...] = ()
    parameters: GenerationParameters = _GREEDY
    model: str | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        check.check_task(self)

    @property
    def is_closed(self) -> bool:
        """Whether the answer is one of `labels` (scored) rather than free text (generated)."""
        return bool(self.labels)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of the input template, in the order they appear."""
        return parse_template(self.input).variables

    @property
    def generation(self) -> GenerationParameters:
        """The parameters with the end sequence filled in where the task names none.

        It is the text that follows an output in the prompt, without the whitespace around it (a model that writes
        " ###" or puts a space before the line break has ended all the same); whitespace alone is taken as it is.
        """
        if self.parameters.stop:
            return self.parameters
        return dataclasses.replace(self.parameters, stop=(check.default_stop(self),))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything in the task, as 64 hex digits: equal exactly for equal tasks."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """A task from plain values: a mapping as `to_dict` writes it. Raises `TaskError`."""
        return cls(**schema.fields_from_dict(data, Example))

    def to_dict(self) -> dict[str, Any]:
        """Plain values (strings, numbers, lists, dicts); what stands at its default is left out."""
        return schema.dict_from_task(self)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a task file (YAML, or JSON, which is YAML). A file without `name` is named after the file.

        Raises `NotFoundError`, and `TaskError` naming file, line, key, problem and way out.
        """
        return task_file.load(Path(path), cls.from_dict)

    def save(self, path: str | Path) -> None:
        """Write the task as YAML that a person would write; `Task.load` reads back an equal task."""
        task_file.save(Path(path), self.to_dict())

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked like any other task."""
        return dataclasses.replace(self, **changes)

    def with_examples(self, examples: Iterable[Example]) -> Self:
        """A copy with other examples."""
        return self.replace(examples=tuple(examples))

    def predict(self, model: "Backend", texts: Sequence[str | Mapping[str, str]]) -> "list[Prediction]":
        """One prediction for each text, in order; see `handful.task.predict.predict`."""
        from handful.task.predict import predict  # here, because predicting is written on top of tasks

        return predict(self, model, texts)
