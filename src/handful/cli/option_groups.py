"""Options as one frozen value: a command takes a dataclass whose fields are what typer would take as parameters.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Options:
        limit: Annotated[int | None, typer.Option(min=1, help="...")] = None

    @grouped
    def command(task: TaskArgument, *, asked: Options) -> None: ...

Typer reads a function's signature, so `grouped` shows it one with every field as a parameter of its own, and makes the
dataclass of what typer passes. A field's name is its option's, as a parameter's is.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

Command = Callable[..., None]


def grouped(command: Command) -> Command:
    """`command` as typer is to see it: each parameter that is a dataclass as its fields."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    groups = {name: hints[name] for name in signature.parameters if dataclasses.is_dataclass(hints[name])}
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        one = [parameter.replace(annotation=hints[name])]
        parameters += _parameters(groups[name]) if name in groups else one

    @functools.wraps(command)
    def call(**given: Any) -> None:
        made = {name: group(**_taken(group, given)) for name, group in groups.items()}
        command(**given, **made)

    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call


def _taken(group: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of `group`, taken out of what was given."""
    return {field.name: given.pop(field.name) for field in dataclasses.fields(group)}


def _parameters(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )
