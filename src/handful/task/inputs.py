"""From what a caller gives as input to a value for every variable, or one clear error."""

from collections.abc import Mapping

from handful.errors import InvalidInputError
from handful.task.problem import did_you_mean, join_words
from handful.task.task import Task

Input = str | Mapping[str, str]


def values_of(task: Task, given: object) -> dict[str, str]:
    """`given` as the values of the task's variables. Raises `InvalidInputError` naming what is missing or wrong.

    A plain text is the value of a task's only variable; a mapping has one value for each.
    """
    names = task.variables
    if isinstance(given, str) and len(names) == 1:
        return {names[0]: _check(given, "input")}
    if isinstance(given, str):
        fix = f"Give a mapping with {join_words(names)}."
        raise InvalidInputError(f"The task `{task.name}` needs {len(names)} values and got one text.", fix=fix)
    if not isinstance(given, Mapping):
        raise InvalidInputError(f"The input must be text, not {type(given).__name__}.")
    for name in given:
        if name not in names:
            fix = f"{did_you_mean(str(name), names)} The task has {join_words(names)}.".strip()
            raise InvalidInputError(f"The task `{task.name}` has no variable `{name}`.", fix=fix)
    for name in names:
        if name not in given:
            raise InvalidInputError(f"The input has no value for `{name}`.")
    return {name: _check(given[name], name) for name in names}


def _check(value: object, name: str) -> str:
    shown = "input" if name == "input" else f"value of `{name}`"
    if not isinstance(value, str):
        raise InvalidInputError(f"The {shown} must be text, not {type(value).__name__}.")
    if not value.strip():
        raise InvalidInputError(f"The {shown} is empty.", fix="Give some text.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"The {shown} holds half a surrogate pair, which is no character.") from None
    return value
