"""What OpenAI's requests share: how to sample, how to stream, and prompts that may be texts or token ids.

Choices made once, here:

* Without a temperature it is 1.0, OpenAI's default: texts are sampled. 0 is greedy, and so is `do_sample: false`.
* The fields that huggingface.js puts beside OpenAI's (top_k, typical_p, repetition_penalty, do_sample) are honoured.
* null means unset. An unknown field, or a known one that can't be honoured, is refused by its name.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from handful.errors import InvalidInputError, InvalidParameterError
from handful.protocol.fields import MAX_TEXTS, Choices, Texts, as_tuple, null_is_unset
from handful.types import GenerationParameters, Prompt

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
MAX_TOKEN_ID = 2**31 - 1
_GREEDY = 0.0
_RENAMED = {"choices": "guided_choice"}


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and all(type(i) is int and 0 <= i <= MAX_TOKEN_ID for i in value)


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair; no tokenizer can read one
        return False
    return True


def _check_prompts(value: object) -> object:
    if _is_text(value) or _is_ids(value):
        return value
    if isinstance(value, list) and (all(map(_is_text, value)) or all(map(_is_ids, value))):
        if len(value) > MAX_TEXTS:
            raise PydanticCustomError("prompts", "takes at most {limit} prompts", {"limit": MAX_TEXTS})
        return value
    raise PydanticCustomError(
        "prompts", "should be a text, a list of texts, token ids, or a list of lists of token ids"
    )


Prompts = Annotated[str | list[str] | list[int] | list[list[int]], BeforeValidator(_check_prompts)]
"""A text, several texts, the token ids of one text, or those of several."""


def prompts_of(value: str | list[str] | list[int] | list[list[int]], name: str) -> tuple[Prompt, ...]:
    """A field of `Prompts` as prompts. Raises InvalidInputError where there is none or one is empty."""
    parts: list[Any] = [value] if isinstance(value, str) or _is_ids(value) else list(value)
    prompts: tuple[Prompt, ...] = tuple(part if isinstance(part, str) else tuple(part) for part in parts)
    if not all(prompts):
        raise InvalidInputError(f"`{name}` is empty.", fix="Send a text of at least one character.")
    return prompts


class StreamOptions(BaseModel):
    """What a stream says beside its text."""

    model_config = STRICT

    include_usage: bool = Field(default=False, description="End with a chunk that counts the tokens.")


class SamplingFields(BaseModel):
    """How to continue a text. Ranges are those of `handful.types.GenerationParameters`."""

    model_config = STRICT

    model: str | None = Field(default=None, description="A served model, or the URL of one. Unset: the first served.")
    temperature: float | None = Field(default=None, description="0 to 100, 1.0 when unset; 0 is greedy.")
    top_p: float | None = Field(default=None, description="Sample among the fewest tokens of this total probability.")
    n: int = Field(default=1, description="Texts to return for each prompt; above 1 only sampled.")
    stop: Texts | None = Field(default=None, description="End sequences. The one that ended the text is not in it.")
    guided_choice: Choices | None = Field(default=None, description="The text is one of these, leading space included.")
    seed: int | None = Field(default=None, description="Makes a sampled text reproducible.")
    presence_penalty: float = Field(default=0.0, description="-2 to 2, once for each token generated before.")
    frequency_penalty: float = Field(default=0.0, description="-2 to 2, for each time a token was generated before.")
    logit_bias: dict[str, float] = Field(default={}, description="Token ids, each with a bias from -100 to 100.")
    stream: bool = Field(default=False, description="Answer with server-sent events that end in `[DONE]`.")
    stream_options: Annotated[StreamOptions | None, BeforeValidator(null_is_unset)] = None
    top_k: int | None = Field(default=None, description="Sample among this many most probable tokens.")
    typical_p: float | None = Field(default=None, description="Locally typical sampling.")
    repetition_penalty: float = Field(default=1.0, description="Above 1 makes tokens of the text so far less likely.")
    do_sample: bool | None = Field(default=None, description="false: greedy, whatever the other fields say.")
    user: Any = Field(default=None, description="Refused: callers are told apart by their API tokens.")

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a count of its tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def check_stream_options(self) -> None:
        """Refuse `stream_options` where nothing is streamed."""
        if self.stream_options is not None and not self.stream:
            raise InvalidParameterError("stream_options", "needs `stream` to be true.")


def refuse(wire: BaseModel, refused: Mapping[str, str]) -> None:
    """Refuse fields that can't be honoured, wherever they ask for something. `refused` has a reason for each."""
    for name, problem in refused.items():
        if getattr(wire, name) not in (None, False):
            raise InvalidParameterError(name, problem)


def sampling_parameters(wire: SamplingFields, **given: Any) -> GenerationParameters:
    """What is asked of a model; `given` are the fields that a surface names in its own way.

    The temperature is checked even where greedy decoding will not use it: a wrong value is told, not ignored.
    """
    parameters = GenerationParameters(
        temperature=1.0 if wire.temperature is None else wire.temperature,
        top_k=wire.top_k,
        top_p=wire.top_p,
        typical_p=wire.typical_p,
        repetition_penalty=wire.repetition_penalty,
        presence_penalty=wire.presence_penalty,
        frequency_penalty=wire.frequency_penalty,
        logit_bias=tuple((_token_id(token), bias) for token, bias in wire.logit_bias.items()),
        seed=wire.seed,
        n=wire.n,
        stop=as_tuple(wire.stop),
        choices=as_tuple(wire.guided_choice),
        **given,
    )
    return replace(parameters, temperature=_GREEDY) if wire.do_sample is False else parameters


def _token_id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise InvalidParameterError("logit_bias", "has a key that is not a token id.")
    return int(text)


def renamed(error: InvalidParameterError, names: Mapping[str, str]) -> InvalidParameterError:
    """The same error under the name that the client used."""
    name = (_RENAMED | dict(names)).get(error.parameter, error.parameter)
    return InvalidParameterError(name, error.problem, fix=error.fix)
