"""Everything that can be wrong with a task, found without a model. Each check raises `TaskProblem` at one key."""

import dataclasses
import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args

from handful.task.problem import KeyPath, TaskProblem, did_you_mean, join_words
from handful.task.template import parse_template
from handful.types import MAX_STOP_CHARACTERS, Calibration, GenerationParameters

if TYPE_CHECKING:
    from handful.task.task import Example, Task

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)
MAX_LABELS = 1_000
MAX_EXAMPLES = 10_000

# What a task may say about generation. The rest belongs to a call (`n`, `logprobs`, `echo`), not to a task, whose
# answer is one text; `logit_bias` names token ids, which differ from model to model.
TASK_PARAMETERS = (
    "max_new_tokens",
    "min_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "max_time",
    "stop",
)


def check_task(task: "Task") -> None:
    """Raise `TaskProblem` for the first thing that is wrong with `task`."""
    _check_texts(task)
    _check_templates(task)
    _check_separator(task)
    _check_labels(task)
    _check_calibration(task)
    _check_abstaining(task)
    _check_parameters(task)
    _check_examples(task)


def check_text(value: object, path: KeyPath) -> str:
    """`value`, if it is text that UTF-8 can hold."""
    if not isinstance(value, str):
        fix = 'Put it in quotes, as in "1".' if isinstance(value, int | float) else ""
        raise TaskProblem(path, f"must be text, not {_kind(value)}.", fix=fix)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TaskProblem(path, "holds half a surrogate pair, which is no character.") from None
    return value


def _kind(value: object) -> str:
    kinds = {"dict": "a mapping", "list": "a list", "bool": "true or false", "int": "a number", "float": "a number"}
    return "empty" if value is None else kinds.get(type(value).__name__, type(value).__name__)


def _check_texts(task: "Task") -> None:
    for key in ("name", "description", "input", "output", "separator"):
        check_text(getattr(task, key), (key,))
    for key in ("model", "version"):
        if getattr(task, key) is not None and not check_text(getattr(task, key), (key,)).strip():
            raise TaskProblem((key,), "is empty.", fix="Leave the key out to leave it open.")
    if not NAME_PATTERN.fullmatch(task.name):
        fix = "A name has up to 64 letters, digits, dots, hyphens and underscores, and starts with a letter or digit."
        raise TaskProblem(("name",), f"can't be {task.name!r}.", fix=fix)


def _check_templates(task: "Task") -> None:
    inputs = parse_template(task.input, ("input",)).variables
    if not inputs:
        raise TaskProblem(("input",), "has no place for the query.", fix='Write a variable, as in "Review: {text}".')
    if "output" in inputs:
        raise TaskProblem(("input",), "can't use {output}: an example's answer has that name.", fix="Rename it.")
    pieces = parse_template(task.output, ("output",)).pieces
    if [name for _, name in pieces if name is not None] != ["output"]:
        fix = 'Write {output} once and no other variable, as in "Sentiment: {output}".'
        raise TaskProblem(("output",), "must hold the variable {output}.", fix=fix)


def _check_separator(task: "Task") -> None:
    if "\n" not in task.separator:
        fix = f'Write separator: "\\n{task.separator.strip() or "###"}\\n" (in double quotes).'
        raise TaskProblem(("separator",), "must hold a line break, or examples run into each other.", fix=fix)
    if len(default_stop(task)) > MAX_STOP_CHARACTERS:
        problem = f"is longer than {MAX_STOP_CHARACTERS} characters, the most an end sequence has."
        raise TaskProblem(("separator",), problem)


def _check_labels(task: "Task") -> None:
    if not isinstance(task.labels, tuple):
        raise TaskProblem(("labels",), f"must be a tuple, not {_kind(task.labels)}.")
    if len(task.labels) == 1:
        raise TaskProblem(("labels",), "holds one label: there is nothing to choose.", fix="Give at least two.")
    if len(task.labels) > MAX_LABELS:
        raise TaskProblem(("labels",), f"holds {len(task.labels)} labels; at most {MAX_LABELS} are read.")
    seen: dict[str, int] = {}
    for index, label in enumerate(task.labels):
        path: KeyPath = ("labels", index)
        if not check_text(label, path).strip():
            raise TaskProblem(path, "is empty.")
        if label != label.strip() or len(label.splitlines()) > 1:
            fix = "The output template holds the space before it."
            raise TaskProblem(path, f"must be one line without spaces around it, not {label!r}.", fix=fix)
        if label in seen:
            raise TaskProblem(path, f"{label!r} is there already as label {seen[label] + 1}.", fix="Remove one.")
        seen[label] = index
    _check_endings(task)


def _check_endings(task: "Task") -> None:
    """With the text that follows an output appended, no label may begin another (see `render.continuations`)."""
    from handful.task.render import continuations  # here, because rendering is written for tasks that are sound

    ended = sorted(continuations(task))
    for first, second in itertools.pairwise(ended):
        if second.startswith(first):
            problem = f"{first.strip()!r} and {second.strip()!r} can't be told apart by what follows an output."
            raise TaskProblem(("labels",), problem, fix="Let `output` end right behind {output}.")


def _check_calibration(task: "Task") -> None:
    if task.calibration not in CALIBRATIONS:
        fix = f"{did_you_mean(str(task.calibration), CALIBRATIONS)} Write {join_words(CALIBRATIONS)}.".strip()
        raise TaskProblem(("calibration",), f"can't be {task.calibration!r}.", fix=fix)
    if task.calibration != "auto" and not task.labels:
        raise TaskProblem(("calibration",), "has no effect: a task without labels has no probabilities.")


def _check_abstaining(task: "Task") -> None:
    least = task.abstain_below
    if least is None:
        return
    if isinstance(least, bool) or not isinstance(least, int | float) or not 0 < least <= 1:
        fix = "Write a number above 0 and up to 1, such as 0.8."
        raise TaskProblem(("abstain_below",), f"must be a probability, not {least!r}.", fix=fix)
    if not task.labels:
        raise TaskProblem(("abstain_below",), "has no effect: a task without labels has no probabilities.")


def _check_parameters(task: "Task") -> None:
    given, plain = task.parameters, GenerationParameters()
    if not isinstance(given, GenerationParameters):
        raise TaskProblem(("parameters",), f"must be GenerationParameters, not {_kind(given)}.")
    changed = [f.name for f in dataclasses.fields(given) if getattr(given, f.name) != getattr(plain, f.name)]
    if changed and task.labels:
        fix = "Remove `parameters`, or remove `labels` to let the model write freely."
        raise TaskProblem(("parameters", changed[0]), "has no effect: labels are scored, not generated.", fix=fix)
    for key in changed:
        if key not in TASK_PARAMETERS:
            raise TaskProblem(("parameters", key), "belongs to a call, not to a task.", fix="Set it where you predict.")
    for stop in given.stop:
        check_text(stop, ("parameters", "stop"))


def _check_examples(task: "Task") -> None:
    if not isinstance(task.examples, tuple):
        raise TaskProblem(("examples",), f"must be a tuple, not {_kind(task.examples)}.")
    if len(task.examples) > MAX_EXAMPLES:
        raise TaskProblem(("examples",), f"holds {len(task.examples)} examples; at most {MAX_EXAMPLES} are read.")
    variables = parse_template(task.input).variables
    for index, example in enumerate(task.examples):
        _check_example_inputs(example, variables, ("examples", index))
        output = check_text(example.output, ("examples", index, "output"))
        if not output.strip():
            raise TaskProblem(("examples", index, "output"), "is empty: it shows the model to answer nothing.")
        _check_example_output(task, output, ("examples", index, "output"))


def _check_example_inputs(example: "Example", variables: tuple[str, ...], path: KeyPath) -> None:
    if not isinstance(getattr(example, "inputs", None), Mapping):
        raise TaskProblem(path, "must be an Example with a mapping of inputs.", fix='Example({"text": "..."}, "label")')
    for name in variables:
        if name not in example.inputs:
            raise TaskProblem((*path, name), "is missing, and the input template needs it.")
    for name, value in example.inputs.items():
        if name not in variables:
            fix = f"{did_you_mean(str(name), variables)} The template has {join_words(variables)}.".strip()
            raise TaskProblem((*path, str(name)), "is no variable of the input template.", fix=fix)
        if not check_text(value, (*path, name)).strip():
            raise TaskProblem((*path, name), "is empty.")


def _check_example_output(task: "Task", output: str, path: KeyPath) -> None:
    if task.labels:
        if output not in task.labels:
            fix = did_you_mean(output, task.labels) or f"The labels are {join_words(task.labels[:20])}."
            raise TaskProblem(path, f"{output!r} is none of the labels.", fix=fix)
        return
    for stop in task.parameters.stop or (default_stop(task),):
        if stop in output.strip():
            fix = "Choose another separator or stop."
            raise TaskProblem(path, f"holds the end sequence {stop!r}: the model could never write it.", fix=fix)


def default_stop(task: "Task") -> str:
    """The end sequence of a task that names none; see `Task.generation`."""
    _, behind = parse_template(task.output.strip("\n")).around("output")
    return behind.strip() or task.separator.strip() or task.separator
