"""Between a task and plain values (what YAML and JSON hold): shapes and names here, meaning in `check.py`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from handful.errors import InvalidParameterError
from handful.task.check import TASK_PARAMETERS, check_text
from handful.task.problem import KeyPath, TaskProblem, refuse_unknown
from handful.task.template import parse_template
from handful.types import GenerationParameters

if TYPE_CHECKING:
    from handful.task.task import Example, Task

TASK_KEYS = (
    "name",
    "version",
    "description",
    "model",
    "input",
    "output",
    "separator",
    "labels",
    "calibration",
    "abstain_below",
    "parameters",
    "examples",
)
_TEXT_KEYS = ("name", "version", "description", "model", "input", "output", "separator", "calibration")
_DEFAULT_INPUT = "Input: {input}"

MakeExample = Callable[[Mapping[str, str], str], "Example"]


def fields_from_dict(data: object, make_example: MakeExample) -> dict[str, Any]:
    """The keyword arguments of `Task` from plain values. Raises `TaskProblem` at the key that is wrong."""
    if not isinstance(data, Mapping):
        raise TaskProblem((), "A task is a mapping with keys such as `name`, `input`, `output` and `examples`.")
    refuse_unknown(data, TASK_KEYS)
    if "name" not in data:
        raise TaskProblem(("name",), "is missing.", fix="Give the task a short name.")
    fields: dict[str, Any] = {key: check_text(data[key], (key,)) for key in _TEXT_KEYS if key in data}
    if "labels" in data:
        fields["labels"] = _labels(data["labels"])
    if "abstain_below" in data:
        fields["abstain_below"] = _number(data["abstain_below"])
    if "parameters" in data:
        fields["parameters"] = _parameters(data["parameters"])
    if "examples" in data:
        variables = parse_template(fields.get("input", _DEFAULT_INPUT), ("input",)).variables
        examples = _list(data["examples"], ("examples",))
        fields["examples"] = tuple(_example(item, i, variables, make_example) for i, item in enumerate(examples))
    return fields


def _list(value: object, path: KeyPath) -> list[object]:
    if not isinstance(value, list | tuple):
        raise TaskProblem(path, "must be a list.", fix="In YAML each item stands on a line of its own behind a hyphen.")
    return list(value)


def _labels(value: object) -> tuple[str, ...]:
    labels = tuple(check_text(item, ("labels", index)) for index, item in enumerate(_list(value, ("labels",))))
    if not labels:
        raise TaskProblem(("labels",), "is empty.", fix="Give at least two labels, or leave the key out for free text.")
    return labels


def _number(value: object) -> object:
    """A number that a task file holds as text; what is none stays, to be refused where its meaning is checked."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _parameters(value: object) -> GenerationParameters:
    if not isinstance(value, Mapping):
        raise TaskProblem(("parameters",), "must be a mapping.", fix="For example: max_new_tokens: 25")
    refuse_unknown(value, TASK_PARAMETERS, ("parameters",))
    given = dict(value)
    if "stop" in given:
        stops = [given["stop"]] if isinstance(given["stop"], str) else _list(given["stop"], ("parameters", "stop"))
        given["stop"] = tuple(check_text(stop, ("parameters", "stop")) for stop in stops)
    try:
        return GenerationParameters(**given)
    except InvalidParameterError as error:
        raise TaskProblem(("parameters", error.parameter), error.problem, fix=error.fix) from None


def _example(item: object, index: int, variables: tuple[str, ...], make_example: MakeExample) -> "Example":
    path: KeyPath = ("examples", index)
    if not isinstance(item, Mapping):
        raise TaskProblem(path, f"must have the keys {', '.join(variables)} and output.")
    values = dict(item)
    if len(variables) == 1 and variables[0] not in values and "input" in values:
        values[variables[0]] = values.pop("input")  # with one variable there is no doubt which input is meant
    refuse_unknown(values, (*variables, "output"), path)
    for key in (*variables, "output"):
        if key not in values:
            raise TaskProblem((*path, key), "is missing.")
        check_text(values[key], (*path, key))
    return make_example({name: values[name] for name in variables}, values["output"])


def dict_from_task(task: "Task") -> dict[str, Any]:
    """Plain values in the order a person writes them; what stands at its default is left out (but the templates)."""
    plain: dict[str, Any] = {"name": task.name}
    for key in ("version", "description", "model"):
        if getattr(task, key):
            plain[key] = getattr(task, key)
    plain["input"], plain["output"] = task.input, task.output
    if task.separator != type(task).__dataclass_fields__["separator"].default:
        plain["separator"] = task.separator
    if task.labels:
        plain["labels"] = list(task.labels)
    if task.calibration != "auto":
        plain["calibration"] = task.calibration
    if task.abstain_below is not None:
        plain["abstain_below"] = task.abstain_below
    defaults = GenerationParameters()
    parameters = {
        field.name: getattr(task.parameters, field.name)
        for field in dataclasses.fields(defaults)
        if getattr(task.parameters, field.name) != getattr(defaults, field.name)
    }
    if "stop" in parameters:
        parameters["stop"] = list(parameters["stop"])
    if parameters:
        plain["parameters"] = parameters
    if task.examples:
        plain["examples"] = [{**example.inputs, "output": example.output} for example in task.examples]
    return plain
