"""What the requests of all language tasks share: body forms, options, and how inputs are read.

    {"inputs": ..., "parameters": {...}, "options": {...}}

Choices made once, here:

* The object that is the input may stand at the top of the body, without `inputs`, as older clients send it:
  `{"question": "...", "context": "..."}`.
* One input is answered with one answer, a list of inputs with a list of them. (Text classification nests either.)
* null means unset. An unknown key, or a known one that can't be honoured, is refused by its name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from handful.errors import InvalidInputError, InvalidParameterError
from handful.nlp_types import NlpTask
from handful.protocol.fields import MAX_TEXTS, as_tuple, null_is_unset
from handful.protocol.payload import parse_request
from handful.protocol.problems import validate
from handful.protocol.text_generation import GenerationOptions, TextGenerationOptions

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
Item = TypeVar("Item", bound=BaseModel)
_TRUNCATIONS = {"do_not_truncate": False, "longest_first": True, "only_first": True, "drop_rows_to_fit": True}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of a model: values of `handful.nlp_types`, and every text in them (for counts and limits).

    `items` share `options`; `is_alone` keeps them out of batches with other requests. `answers_each` is how many
    answers each item is multiplied to. `is_repeatable`: the same request always has the same answer.
    """

    task: NlpTask
    items: tuple[Any, ...]
    options: Any
    texts: tuple[str, ...]
    is_alone: bool = False
    answers_each: int = 1
    is_repeatable: bool = True

    @property
    def num_characters(self) -> int:
        """Characters of all texts together."""
        return sum(map(len, self.texts))


class NlpRequest(BaseModel, ABC):
    """A request of one task. Subclasses have `inputs` and `parameters`."""

    model_config = STRICT

    bare_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys of the object that is the input: where they stand at the top of a body without `inputs`."""

    options: Annotated[TextGenerationOptions, BeforeValidator(null_is_unset)] = TextGenerationOptions()
    model: str | None = Field(default=None, description="Must be the model of the route where it is given.")
    stream: bool = Field(default=False, description="Refused when true: these answers come whole.")

    @classmethod
    def from_body(cls, body: bytes) -> Self:
        """Parse and check a body. Raises InvalidInputError (or InvalidParameterError) naming what to change."""
        return cls.from_value(parse_request(body))

    @classmethod
    def from_value(cls, value: dict[str, object]) -> Self:
        """Check the value of a body."""
        request = validate(cls, null_is_unset(_with_inputs(value, cls.bare_keys)))
        if request.stream:
            raise InvalidParameterError("stream", "isn't supported for this task.", fix="Leave it out.")
        return request

    @abstractmethod
    def asked(self, task: NlpTask) -> Asked:
        """What is asked of the model. Raises InvalidParameterError, InvalidInputError."""

    @abstractmethod
    def answer(self, results: Sequence[Any]) -> Any:
        """The body of the answer: one result an item, in their order."""


def _with_inputs(value: dict[str, object], bare_keys: frozenset[str]) -> dict[str, object]:
    """A body whose input stands at its top, with `inputs` around it."""
    found = bare_keys & value.keys()
    if "inputs" in value or not found:
        return value
    rest = {key: part for key, part in value.items() if key not in bare_keys}
    return rest | {"inputs": {key: value[key] for key in found}}


class RequestOptions(BaseModel):
    """Of a body whose task isn't known yet, only how it may be waited for."""

    model_config = ConfigDict(strict=True, frozen=True)

    options: Annotated[GenerationOptions, BeforeValidator(null_is_unset)] = GenerationOptions()

    @classmethod
    def from_body(cls, body: bytes) -> Self:
        """The options of a body. Raises InvalidInputError."""
        return validate(cls, null_is_unset(parse_request(body)))


def is_list(value: object) -> bool:
    """Whether `inputs` was a list, which is answered with a list."""
    return isinstance(value, list | tuple)


def texts_of(inputs: str | list[str], name: str = "inputs") -> tuple[str, ...]:
    """The field `name`, a text or several, none of them empty. Raises InvalidInputError."""
    texts = as_tuple(inputs)
    if not texts or not all(text.strip() for text in texts):
        raise InvalidInputError(f"`{name}` is empty.", fix="Send a text of at least one character.")
    return texts


def items_of(inputs: Item | list[Item]) -> tuple[Item, ...]:
    """`inputs` of objects, as a tuple. Raises InvalidInputError where there is none."""
    items = tuple(inputs) if isinstance(inputs, list) else (inputs,)
    if not items:
        raise InvalidInputError("`inputs` is an empty list.", fix="Send at least one input.")
    return items


def truncates(given: bool | str) -> bool:
    """Whether an input may be cut, by the names that Transformers has for it. Raises InvalidParameterError."""
    if isinstance(given, bool):
        return given
    if given not in _TRUNCATIONS:
        raise InvalidParameterError("truncation", f"must be true, false, or one of {', '.join(_TRUNCATIONS)}.")
    return _TRUNCATIONS[given]


def one_or_more(schema: type[Item]) -> BeforeValidator:
    """Reads an object or a list of objects, so that a problem's place has no detour: `inputs.context`."""

    def read(value: object) -> object:
        if not isinstance(value, list):
            return schema.model_validate(value)
        if len(value) > MAX_TEXTS:
            raise PydanticCustomError("items", "takes at most {limit} inputs", {"limit": MAX_TEXTS})
        return TypeAdapter(list[schema]).validate_python(value)  # type: ignore[valid-type]

    return BeforeValidator(read)


def for_each(inputs: object, results: Sequence[Any], told: Callable[[Any], Any]) -> Any:
    """The answer to one input, or the list of those to several."""
    answers = [told(result) for result in results]
    return answers if is_list(inputs) else answers[0]
