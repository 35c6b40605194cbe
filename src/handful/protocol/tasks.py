"""The request and answer of a task: queries in, predictions out, always a list in the order of the inputs.

POST /tasks/{name}   {"inputs": "text" | {"field": "text"} | [either, ...]}
[{"prediction": "positive", "probabilities": {"positive": 0.93, "negative": 0.07}}]

With `"stream": true` one input is answered with server-sent events, pieces of the answer's text; the last one also has
the whole prediction.

data: {"text": " Où est"}
data: {"text": "", "prediction": {"prediction": "Où est la gare ?", ...}}
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

from handful.errors import InvalidInputError
from handful.protocol.fields import MAX_TEXTS, null_is_unset
from handful.protocol.payload import parse_request
from handful.protocol.problems import validate
from handful.protocol.text_generation import TextGenerationOptions
from handful.types import FinishReason

Query = str | dict[str, str]
MAX_QUERY_FIELDS = 64
_EXAMPLE: dict[str, JsonValue] = {"inputs": ["I liked it.", {"text": "Too long."}]}


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode("utf-8") or True)
    except UnicodeEncodeError:
        return False


def _is_query(value: object) -> bool:
    if not isinstance(value, dict):
        return _is_text(value)
    return 0 < len(value) <= MAX_QUERY_FIELDS and all(_is_text(part) for item in value.items() for part in item)


def _check_queries(value: object) -> object:
    queries = value if isinstance(value, list) else [value]
    if len(queries) > MAX_TEXTS:
        raise PydanticCustomError("queries", "takes at most {limit} inputs", {"limit": MAX_TEXTS})
    if not all(map(_is_query, queries)):
        raise PydanticCustomError("queries", "should be a text, an object of texts, or a list of them")
    return value


class TaskRequest(BaseModel):
    """`POST /tasks/{name}`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

    inputs: Annotated[str | dict[str, str] | list[str | dict[str, str]], BeforeValidator(_check_queries)] = Field(
        description="A text, an object with the task's input fields, or a list of either."
    )
    options: Annotated[TextGenerationOptions, BeforeValidator(null_is_unset)] = TextGenerationOptions()
    stream: bool = Field(default=False, description="Answer one input with server-sent events.")

    @classmethod
    def from_body(cls, body: bytes) -> "TaskRequest":
        """Parse and check a body. Raises InvalidInputError naming what to change."""
        request = validate(cls, null_is_unset(parse_request(body)))
        if not request.queries:
            raise InvalidInputError("`inputs` is an empty list.", fix="Send at least one text.")
        if request.stream and isinstance(request.inputs, list):
            raise InvalidInputError("A stream takes one input, no list.", fix="Send one request for each input.")
        return request

    @property
    def queries(self) -> tuple[Query, ...]:
        """The inputs, always as a tuple."""
        return tuple(self.inputs) if isinstance(self.inputs, list) else (self.inputs,)

    @property
    def num_characters(self) -> int:
        """Characters of all texts together."""
        return sum(count_characters(query) for query in self.queries)


class WirePrediction(BaseModel):
    """One prediction of an answer, as `handful.task.predict.Prediction.to_dict` writes it."""

    model_config = ConfigDict(frozen=True)

    input: Query
    prediction: str
    abstained: bool | None = None
    probabilities: dict[str, float] | None = None
    completion: str | None = None
    finish_reason: FinishReason | None = None
    num_prompt_tokens: int = 0
    dropped_examples: int = 0


def count_characters(value: Any) -> int:
    """Characters of a text, or of all texts in an object or list."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(count_characters(part) for part in value.values())
    return sum(count_characters(part) for part in value) if isinstance(value, list | tuple) else 0
