"""What a schema found wrong with a request, as short sentences that name the field and never repeat its value."""

import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from handful.errors import InvalidInputError

MAX_PROBLEMS = 10
_MAX_NAME = 60
_AROUND = frozenset({"parameters", "generate_parameters", "options"})
_TYPE = re.compile(r"(str|int|float|bool|dict|list|tuple)(\[.*\])?", re.DOTALL)

Model = TypeVar("Model", bound=BaseModel)


class InvalidRequestError(InvalidInputError):
    """A request body doesn't fit its schema. `problems` has one sentence for each thing to change.

    `parameter` is the parameter that all of them are about, or "" where they are about several or about an input.
    """

    def __init__(self, problems: list[str], parameter: str = "") -> None:
        super().__init__(" ".join(problems))
        self.problems, self.parameter = problems, parameter


def validate(schema: type[Model], value: object) -> Model:
    """Check `value` against a schema; raises InvalidRequestError with at most `MAX_PROBLEMS` sentences."""
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        raise InvalidRequestError(describe(error, schema), _parameter(error)) from None


def describe(error: ValidationError, schema: type[BaseModel]) -> list[str]:
    """One sentence for each problem: "Error in `parameters.top_k`: input should be a valid integer"."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = (_sentence(problem["type"], problem["loc"], problem["msg"], schema) for problem in found[:MAX_PROBLEMS])
    sentences = list(dict.fromkeys(told))
    if len(found) > MAX_PROBLEMS:
        sentences.append(f"And {len(found) - MAX_PROBLEMS} more problems.")
    return sentences


def _parameter(error: ValidationError) -> str:
    """The one parameter that doesn't fit, under the name that a value out of its range is told under; or ""."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    names = {_parameter_at(problem["loc"]) for problem in found}
    return names.pop() if len(names) == 1 else ""


def _parameter_at(location: tuple[int | str, ...]) -> str:
    if not location or location[0] == "inputs":
        return ""
    inner = [part for part in location if part not in _AROUND] or location[-1:]
    return str(inner[0])[:_MAX_NAME]


def _sentence(kind: str, location: tuple[int | str, ...], message: str, schema: type[BaseModel]) -> str:
    path = ".".join(str(part)[:_MAX_NAME] for part in location if not _is_type(part)) or "body"
    if kind == "model_type":  # whose message has the name of a class
        return f"Error in `{path}`: should be an object"
    if kind == "missing":
        return f"Error in `{path}`: field required"
    if kind == "extra_forbidden":
        return f"Error in `{path}`: unknown key. {_hint(location, schema)}".rstrip()
    return f"Error in `{path}`: {message[:1].lower()}{message[1:]}"


def _is_type(part: int | str) -> bool:
    """Whether a part of a location says which type of several was tried, and no place in the body."""
    return isinstance(part, str) and _TYPE.fullmatch(part) is not None


def _hint(location: tuple[int | str, ...], schema: type[BaseModel]) -> str:
    """Where a key that isn't known here belongs, or which keys are known here, where that can be told."""
    key, here = location[-1], _schema_at(schema, location[:-1])
    if here is None:
        return ""
    for name in here.model_fields:
        inner = _schema_at(here, (name,))
        if inner is not None and key in inner.model_fields:
            return f"It belongs under `{name}`."
    usable = [name for name, field in here.model_fields.items() if not (field.description or "").startswith("Refused:")]
    return "Known here: " + ", ".join(f"`{name}`" for name in usable) + "." if usable else "Leave it out."


def _schema_at(schema: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The schema of the object at a location; None where a list or a choice of types stands on the way."""
    for part in location:
        field = schema.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        schema = annotation
    return schema
