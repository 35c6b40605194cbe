"""The request of OpenAI's `POST /v1/chat/completions`, and what it asks of a model.

    {"model": "default", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100}

The model's own chat template makes one prompt of the messages. Content is a text or a list of text parts (joined by
line breaks). `max_tokens` (or `max_completion_tokens`) is what the context has left when unset, at most
`DEFAULT_MAX_TOKENS`. Tools, images, sounds and forced formats are refused by name.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from handful.errors import InvalidInputError, InvalidParameterError
from handful.protocol.fields import null_is_unset
from handful.protocol.openai_fields import STRICT, SamplingFields, refuse, renamed, sampling_parameters
from handful.protocol.payload import parse_request
from handful.protocol.problems import validate
from handful.types import GenerationParameters

DEFAULT_MAX_TOKENS = 1024
MAX_MESSAGES = 4096
MAX_CHAT_TOP_LOGPROBS = 20
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
_REFUSED = {
    "user": "isn't supported: callers are told apart by their API tokens.",
    "tools": "isn't supported.",
    "tool_choice": "isn't supported.",
    "tool_prompt": "isn't supported.",
    "functions": "isn't supported.",
    "function_call": "isn't supported.",
    "modalities": "isn't supported: answers are text.",
}
_EXAMPLE: dict[str, JsonValue] = {
    "model": "default",
    "messages": [{"role": "user", "content": "Name a colour."}],
    "max_tokens": 20,
    "temperature": 0,
}


class TextPart(BaseModel):
    """A part of a message's content."""

    model_config = STRICT

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message. The roles are OpenAI's; which of them a model takes, and where, its chat template decides."""

    model_config = STRICT

    role: Role = Field(description="Who says it.")
    content: str | list[TextPart] = Field(description="A text, or a list of text parts.")
    name: str | None = Field(default=None, max_length=64, description="For templates that tell speakers apart.")

    @property
    def text(self) -> str:
        """The content as one text."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)

    def as_template_sees_it(self) -> dict[str, str]:
        """The message as templates of the Hub expect it."""
        named = {} if self.name is None else {"name": self.name}
        return {"role": self.role, "content": self.text} | named


class ResponseFormat(BaseModel):
    """The form of the answer: text is the only one."""

    model_config = STRICT

    type: Literal["text"]


class ChatRequest(SamplingFields):
    """`POST /v1/chat/completions`."""

    model_config = ConfigDict(**STRICT, json_schema_extra={"examples": [_EXAMPLE]})

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES, description="The conversation so far.")
    max_tokens: int | None = Field(default=None, description="Most tokens to generate, from 1.")
    max_completion_tokens: int | None = Field(default=None, description="Another name of `max_tokens`.")
    logprobs: bool = Field(default=False, description="Log-probabilities of the generated tokens.")
    top_logprobs: int | None = Field(default=None, description="With `logprobs`: those of so many best alternatives.")
    response_format: ResponseFormat | None = Field(default=None, description="Only text.")
    tools: Any = Field(default=None, description="Refused: not supported.")
    tool_choice: Any = Field(default=None, description="Refused: not supported.")
    tool_prompt: Any = Field(default=None, description="Refused: not supported.")
    functions: Any = Field(default=None, description="Refused: not supported.")
    function_call: Any = Field(default=None, description="Refused: not supported.")
    modalities: Any = Field(default=None, description="Refused: answers are text.")

    @classmethod
    def from_body(cls, body: bytes) -> "ChatRequest":
        """Parse and check a body. Raises InvalidInputError (or InvalidParameterError) naming what to change."""
        request = validate(cls, null_is_unset(parse_request(body)))
        refuse(request, _REFUSED)
        request.check_stream_options()
        request.check_texts()
        if request.top_logprobs is not None:
            if not request.logprobs:
                raise InvalidParameterError("top_logprobs", "needs `logprobs` to be true.")
            if not 0 <= request.top_logprobs <= MAX_CHAT_TOP_LOGPROBS:
                raise InvalidParameterError("top_logprobs", f"must be from 0 to {MAX_CHAT_TOP_LOGPROBS}.")
        if None not in (request.max_tokens, request.max_completion_tokens):
            raise InvalidParameterError("max_tokens", "is given twice.", fix="Leave `max_completion_tokens` out.")
        return request

    @property
    def num_characters(self) -> int:
        """Characters of all messages together."""
        return sum(len(message.text) for message in self.messages)

    @property
    def limit(self) -> int | None:
        """The most tokens to generate, under whichever name it came."""
        return self.max_completion_tokens if self.max_tokens is None else self.max_tokens

    def check_texts(self) -> None:
        """Refuse what is not text: JSON can spell half a surrogate pair."""
        for i, message in enumerate(self.messages):
            try:
                f"{message.text}{message.name}".encode()
            except UnicodeEncodeError:
                problem = f"Error in `messages.{i}`: holds half a surrogate pair, which is not text"
                raise InvalidInputError(problem) from None

    def generation_parameters(self, num_tokens_left: int) -> GenerationParameters:
        """What is asked of the model, whose context has `num_tokens_left` behind the prompt.

        Raises InvalidParameterError under the name that the client used.
        """
        name = "max_completion_tokens" if self.max_tokens is None else "max_tokens"
        if self.limit is not None and self.limit < 1:
            raise InvalidParameterError(name, f"must be at least 1, not {self.limit}.")
        unset = max(1, min(num_tokens_left, DEFAULT_MAX_TOKENS))
        try:
            return sampling_parameters(
                self,
                max_new_tokens=unset if self.limit is None else self.limit,
                logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            )
        except InvalidParameterError as error:
            raise renamed(error, {"max_new_tokens": name, "logprobs": "top_logprobs"}) from None
