"""The request of OpenAI's `POST /v1/completions`, and what it asks of a model.

    {"model": "default", "prompt": "text", "max_tokens": 16}

`prompt` is a text, a list of texts, token ids, or a list of lists of them. `max_tokens` is 16 when unset, as OpenAI's;
0 generates nothing, which is for `echo` with `logprobs`. huggingface.js asks for its text generation here, with the
fields of the Inference API at the top: those are honoured too (`return_full_text` begins the text with the prompt,
`details` adds the Inference API's details to each choice).
"""

from typing import Any

from pydantic import ConfigDict, Field, JsonValue

from handful.errors import InvalidParameterError
from handful.protocol.fields import null_is_unset
from handful.protocol.openai_fields import (
    STRICT,
    Prompts,
    SamplingFields,
    prompts_of,
    refuse,
    renamed,
    sampling_parameters,
)
from handful.protocol.payload import parse_request
from handful.protocol.problems import validate
from handful.types import GenerationParameters, Prompt

DEFAULT_MAX_TOKENS = 16
_REFUSED = {
    "suffix": "isn't supported: a causal model can't look ahead.",
    "user": "isn't supported: callers are told apart by their API tokens.",
    "watermark": "isn't supported.",
    "truncate": "isn't supported: nothing of a prompt is cut silently.",
    "grammar": "isn't supported.",
    "adapter_id": "isn't supported.",
    "top_n_tokens": "isn't supported here: use `logprobs`.",
    "decoder_input_details": "isn't supported here: use `echo` and `logprobs`.",
}
_EXAMPLE: dict[str, JsonValue] = {
    "model": "default",
    "prompt": "English: bread\nFrench:",
    "max_tokens": 8,
    "temperature": 0,
    "stop": "\n",
}


class CompletionRequest(SamplingFields):
    """`POST /v1/completions`."""

    model_config = ConfigDict(**STRICT, json_schema_extra={"examples": [_EXAMPLE]})

    prompt: Prompts = Field(description="A text or several, or the token ids of one or several.")
    max_tokens: int = Field(default=DEFAULT_MAX_TOKENS, description="Most tokens to generate.")
    best_of: int | None = Field(default=None, description="Texts to draw; the `n` most probable are returned.")
    echo: bool = Field(default=False, description="Begin the text with the prompt.")
    logprobs: int | None = Field(default=None, description="Log-probabilities, and those of so many best alternatives.")
    return_full_text: bool = Field(default=False, description="Another name of `echo`.")
    details: bool = Field(default=False, description="Add the Inference API's `details` to each choice.")
    suffix: Any = Field(default=None, description="Refused: a causal model can't look ahead.")
    watermark: Any = Field(default=None, description="Refused: not supported.")
    truncate: Any = Field(default=None, description="Refused: nothing of a prompt is cut silently.")
    grammar: Any = Field(default=None, description="Refused: not supported.")
    adapter_id: Any = Field(default=None, description="Refused: not supported.")
    top_n_tokens: Any = Field(default=None, description="Refused: use logprobs.")
    decoder_input_details: Any = Field(default=None, description="Refused: use echo and logprobs.")

    @classmethod
    def from_body(cls, body: bytes) -> "CompletionRequest":
        """Parse and check a body. Raises InvalidInputError (or InvalidParameterError) naming what to change."""
        request = validate(cls, null_is_unset(parse_request(body)))
        refuse(request, _REFUSED)
        request.check_stream_options()
        if request.stream:
            request.check_streamable()
        return request

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts, none of them empty (InvalidInputError)."""
        return prompts_of(self.prompt, "prompt")

    @property
    def begins_with_prompt(self) -> bool:
        """Whether the answered text starts with the prompt."""
        return self.echo or self.return_full_text

    def check_streamable(self) -> None:
        """Refuse what a stream can't carry: the choice among several texts, and what is known of a prompt's tokens."""
        if self.best_of is not None and self.best_of > self.n:
            raise InvalidParameterError("best_of", "can't be streamed: the best is known at the end.")
        if self.details:
            raise InvalidParameterError("details", "can't be streamed here.", fix="Use `logprobs`.")
        name = "echo" if self.echo else "return_full_text"
        if self.begins_with_prompt and self.logprobs is not None:
            raise InvalidParameterError(name, "can't be streamed with `logprobs`.")
        if self.begins_with_prompt and not all(isinstance(prompt, str) for prompt in self.prompts):
            raise InvalidParameterError(name, "of token ids can't be streamed.", fix="Send texts.")

    def generation_parameters(self) -> GenerationParameters:
        """What is asked of the model. Raises InvalidParameterError under the name that the client used."""
        wants_tokens = self.details and self.logprobs is None
        try:
            return sampling_parameters(
                self,
                max_new_tokens=self.max_tokens,
                best_of=self.best_of,
                logprobs=0 if wants_tokens else self.logprobs,
                echo=self.begins_with_prompt,
            )
        except InvalidParameterError as error:
            raise renamed(error, {"max_new_tokens": "max_tokens"}) from None
