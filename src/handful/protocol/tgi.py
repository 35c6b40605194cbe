"""What TGI's routes take and answer, where they differ from the Inference API's `POST /models/{model}`.

* `/` and `/v1` answer with a list and begin the text with the prompt, unless `return_full_text` is false.
* `/generate` takes one text, answers with one object and leaves the prompt out; `/generate_stream` streams the same.
* `/tokenize` answers with tokens and where they stand in the text.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from handful.errors import InvalidInputError, InvalidParameterError
from handful.protocol.backend_answers import described
from handful.protocol.fields import null_is_unset
from handful.protocol.payload import parse_request
from handful.protocol.problems import validate
from handful.protocol.text_generation import TextGenerationRequest
from handful.types import MAX_COMPLETIONS, MAX_STOP_SEQUENCES, MAX_TOP_LOGPROBS, ModelInfo, TextSpan

_EXAMPLE: dict[str, JsonValue] = {"inputs": "A text."}


def generate_request(body: bytes, *, stream: bool) -> TextGenerationRequest:
    """The body of `/generate` or `/generate_stream`. Raises InvalidInputError naming what to change."""
    asked = TextGenerationRequest.from_body(body)
    if not isinstance(asked.inputs, str):
        raise InvalidInputError("`inputs` must be one text here.", fix="Send one request for each text, or use POST /.")
    if asked.parameters.num_return_sequences > 1:
        raise InvalidParameterError("num_return_sequences", "must be 1 here.", fix="Use POST /.")
    if "stream" in asked.model_fields_set and asked.stream is not stream:
        other = "/generate" if stream else "/generate_stream"
        raise InvalidParameterError("stream", f"is the affair of the route: that is {other}.")
    if "return_full_text" not in asked.parameters.model_fields_set:
        parameters = asked.parameters.model_copy(update={"return_full_text": False})
        asked = asked.model_copy(update={"parameters": parameters})
    if not stream:
        return asked
    asked = asked.model_copy(update={"stream": True})
    asked.check_streamable()
    return asked


class TokenizeRequest(BaseModel):
    """`POST /tokenize`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

    inputs: str = Field(description="The text.")
    add_special_tokens: bool = Field(default=True, description="Also what the tokenizer adds at a text's start.")
    model: str | None = Field(default=None, description="A served model. Unset: the first served.")

    @classmethod
    def from_body(cls, body: bytes) -> "TokenizeRequest":
        """Parse and check a body. Raises InvalidInputError naming what to change."""
        return validate(cls, null_is_unset(parse_request(body)))


def tokenized(spans: tuple[TextSpan, ...]) -> list[dict[str, Any]]:
    """The body of `/tokenize`'s answer: tokens in their order, with the characters `[start, stop)` they stand for."""
    return [{"id": span.id, "text": span.text, "start": span.start, "stop": span.stop} for span in spans]


def info_answer(
    info: ModelInfo, name: str, version: str, limits: dict[str, int], task: str = "text-generation"
) -> dict[str, Any]:
    """The body of `/info`'s answer; `limits` are those of the server, `handful` is its `ModelInfo`.

    A model that doesn't generate text has no limits of tokens in it.
    """
    tokens = {"max_input_tokens": info.context_length - 1, "max_total_tokens": info.context_length}
    return {
        "model_id": name,
        "model_sha": info.revision or None,
        "model_dtype": info.precision,
        "model_device_type": info.device,
        "model_pipeline_tag": task,
        "max_best_of": MAX_COMPLETIONS,
        "max_stop_sequences": MAX_STOP_SEQUENCES,
        "max_top_n_tokens": MAX_TOP_LOGPROBS,
        **(tokens if info.context_length else {}),
        **limits,
        "router": "handful",
        "version": version,
        "sha": None,
        "docker_label": None,
        "handful": described(info, name),
    }
