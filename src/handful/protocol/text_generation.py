"""The text-generation request of the Hugging Face Inference API, and what it asks of a model.

    {"inputs": "text" or ["text", ...], "parameters": {...}, "options": {...}, "stream": false}

Choices that the public documentation leaves open, made once, here:

* Sampling happens when `do_sample` is true, or when it is unset and one of temperature (above 0), top_k, top_p or
  typical_p is given. Without a temperature it then is 1.0. `do_sample: false` is the client's explicit wish for greedy
  decoding, even beside sampling parameters (LangChain sends both), and so is `temperature: 0`.
* `max_new_tokens` defaults to 100; a text that was cut there says `finish_reason: "length"`.
* End sequences may come as `stop`, `stop_sequences` or `end_sequence` (the 2021 name), among the parameters or, as some
  sent them, among the options; all that are given count.
* null means unset. An unknown key, or a known one that can't be honoured, is refused by its name.
"""

from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from handful.checks import check_number
from handful.errors import InvalidInputError, InvalidParameterError
from handful.protocol.fields import Texts, as_tuple, null_is_unset
from handful.protocol.payload import parse_request
from handful.protocol.problems import validate
from handful.types import MAX_TEMPERATURE, GenerationParameters

DEFAULT_MAX_NEW_TOKENS = 100
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_EXAMPLE: dict[str, JsonValue] = {"inputs": "Once upon a time", "parameters": {"max_new_tokens": 20}}
_SAMPLING = ("temperature", "top_k", "top_p", "typical_p")
_STOPS = ("stop", "stop_sequences", "end_sequence")
_WIRE_NAMES = {"n": "num_return_sequences", "logprobs": "top_n_tokens"}
_REFUSED = {
    "truncate": "isn't supported: nothing of a prompt is cut silently.",
    "watermark": "isn't supported.",
    "adapter_id": "isn't supported.",
    "grammar": "isn't supported.",
    "min_length": "isn't supported: it counts the prompt's tokens too. Use `min_new_tokens`.",
    "max_length": "isn't supported: it counts the prompt's tokens too. Use `max_new_tokens`.",
}
_MAY_BE_LISTS = frozenset({*_STOPS, *_REFUSED})


class TextGenerationParameters(BaseModel):
    """How to continue the text. Ranges are those of `handful.types.GenerationParameters`."""

    model_config = _STRICT

    max_new_tokens: int = Field(default=DEFAULT_MAX_NEW_TOKENS, description="Most tokens to generate, from 1.")
    min_new_tokens: int = Field(default=0, description="No end of text before this many tokens.")
    do_sample: bool | None = Field(default=None, description="false: greedy. Unset: sample if a sampling value is set.")
    temperature: float | None = Field(default=None, description="0 to 100; 0 takes the most probable token.")
    top_k: int | None = Field(default=None, description="Sample among this many most probable tokens.")
    top_p: float | None = Field(default=None, description="Sample among the fewest tokens of this total probability.")
    typical_p: float | None = Field(default=None, description="Locally typical sampling.")
    repetition_penalty: float = Field(default=1.0, description="Above 1 makes tokens of the text so far less likely.")
    presence_penalty: float = Field(default=0.0, description="-2 to 2, once for each token generated before.")
    frequency_penalty: float = Field(default=0.0, description="-2 to 2, for each time a token was generated before.")
    seed: int | None = Field(default=None, description="Makes a sampled text reproducible.")
    stop: Texts | None = Field(default=None, description="End sequences. The one that ended the text stays in it.")
    stop_sequences: Texts | None = Field(default=None, description="Another name of `stop`.")
    end_sequence: Texts | None = Field(default=None, description="Another name of `stop`, that of 2021.")
    return_full_text: bool = Field(default=True, description="Begin `generated_text` with the prompt.")
    num_return_sequences: int = Field(default=1, description="Texts to return for each input; above 1 only sampled.")
    best_of: int | None = Field(default=None, description="Texts to draw; the most probable are returned.")
    max_time: float | None = Field(default=None, description="Seconds after which the text so far is returned.")
    details: bool = Field(default=False, description="Also return tokens, log-probabilities and the finish reason.")
    decoder_input_details: bool = Field(default=False, description="With `details`: also the prompt's tokens.")
    top_n_tokens: int | None = Field(default=None, description="With `details`: most probable tokens at each place.")
    truncate: Any = Field(default=None, description="Refused: nothing of a prompt is cut silently.")
    watermark: bool = Field(default=False, description="Refused when true.")
    adapter_id: Any = Field(default=None, description="Refused: not supported.")
    grammar: Any = Field(default=None, description="Refused: not supported.")
    min_length: Any = Field(default=None, description="Refused: use min_new_tokens.")
    max_length: Any = Field(default=None, description="Refused: use max_new_tokens.")

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn; see the module's first choice."""
        if self.do_sample is not None:
            return self.do_sample
        return any(getattr(self, name) is not None for name in _SAMPLING)


class TextGenerationOptions(BaseModel):
    """How the server should treat the request."""

    model_config = _STRICT

    use_cache: bool = Field(default=True, description="Whether a kept answer will do; unset: where it can't differ.")
    wait_for_model: bool = Field(default=False, description="Wait for a loading model instead of being told 503.")
    use_gpu: bool = Field(default=False, description="Refused when true and the model doesn't run on a GPU.")
    dont_load_model: bool = Field(default=False, description="Answer 503 rather than load a model now.")

    @property
    def wants_cache(self) -> bool | None:
        """What the client says of kept answers, or None where it says nothing."""
        return self.use_cache if "use_cache" in self.model_fields_set else None


class GenerationOptions(TextGenerationOptions):
    """The same, and end sequences, which are read here as well."""

    stop: Texts | None = Field(default=None, description="End sequences, as among the parameters.")
    stop_sequences: Texts | None = Field(default=None, description="Another name of `stop`.")
    end_sequence: Texts | None = Field(default=None, description="Another name of `stop`, that of 2021.")


class TextGenerationRequest(BaseModel):
    """`POST /models/{model}`."""

    model_config = ConfigDict(**_STRICT, json_schema_extra={"examples": [_EXAMPLE]})

    inputs: Texts = Field(description="A prompt or a list of prompts.")
    parameters: Annotated[TextGenerationParameters, BeforeValidator(null_is_unset)] = Field(
        default_factory=TextGenerationParameters
    )
    options: Annotated[GenerationOptions, BeforeValidator(null_is_unset)] = Field(default_factory=GenerationOptions)
    stream: bool = Field(default=False, description="Answer with server-sent events, one a token.")
    model: str | None = Field(default=None, description="Must be the model of the route where it is given.")

    @classmethod
    def from_body(cls, body: bytes) -> "TextGenerationRequest":
        """Parse and check a body. Raises InvalidInputError (or InvalidParameterError) naming what to change."""
        request = validate(cls, null_is_unset(parse_request(body)))
        prompts = request.prompts
        if not prompts or not all(prompts):
            raise InvalidInputError("`inputs` is empty.", fix="Send a text of at least one character.")
        if request.stream:
            request.check_streamable()
        return request

    @property
    def prompts(self) -> tuple[str, ...]:
        """The inputs, always as a tuple."""
        return as_tuple(self.inputs)

    @property
    def stops(self) -> tuple[str, ...]:
        """All end sequences, under whichever name and wherever they came, each once."""
        places = [each for each in (self.parameters, self.options) if not each.model_fields_set.isdisjoint(_STOPS)]
        return tuple(dict.fromkeys(t for each in places for name in _STOPS for t in as_tuple(getattr(each, name))))

    def check_streamable(self) -> None:
        """Refuse what a stream can't carry: several texts, or the prompt's tokens."""
        if len(self.prompts) > 1 or not isinstance(self.inputs, str):
            raise InvalidInputError("A stream takes one input, a string.", fix="Send one request for each input.")
        for name, limit in (("num_return_sequences", 1), ("best_of", 1)):
            if (getattr(self.parameters, name) or 1) > limit:
                raise InvalidParameterError(name, "must be 1 in a stream.")
        if self.parameters.decoder_input_details:
            raise InvalidParameterError("decoder_input_details", "can't be streamed.")

    def generation_parameters(self) -> GenerationParameters:
        """What is asked of the model. Raises InvalidParameterError under the name that the client used."""
        tokens_wanted = self.stream or self.parameters.details
        try:
            if self.parameters.model_fields_set.isdisjoint(_MAY_BE_LISTS):
                return _translate_again(self.parameters, self.stops, tokens_wanted)
            return _translate(self.parameters, self.stops, tokens_wanted)
        except InvalidParameterError as error:
            name = _wire_name(error.parameter, self)
            raise InvalidParameterError(name, error.problem, fix=error.fix) from None


def _refuse_unsupported(parameters: TextGenerationParameters) -> None:
    for name, problem in _REFUSED.items():
        if getattr(parameters, name) not in (None, False):
            raise InvalidParameterError(name, problem, fix="Leave it out." if "Use" not in problem else "")
    if parameters.max_new_tokens < 1:
        raise InvalidParameterError("max_new_tokens", f"must be at least 1, not {parameters.max_new_tokens}.")
    for name in ("decoder_input_details", "top_n_tokens"):
        if getattr(parameters, name) and not parameters.details:
            raise InvalidParameterError(name, "is part of the details.", fix="Set `details` to true as well.")


def _translate(wire: TextGenerationParameters, stops: tuple[str, ...], tokens_wanted: bool) -> GenerationParameters:
    _refuse_unsupported(wire)
    # The temperature is checked even where greedy decoding will not use it: a wrong value is told, not ignored.
    check_number("temperature", wire.temperature, 0.0, MAX_TEMPERATURE)
    sampled = 1.0 if wire.temperature is None else wire.temperature
    return GenerationParameters(
        max_new_tokens=wire.max_new_tokens,
        min_new_tokens=wire.min_new_tokens,
        temperature=sampled if wire.samples else 0.0,
        top_k=wire.top_k,
        top_p=wire.top_p,
        typical_p=wire.typical_p,
        repetition_penalty=wire.repetition_penalty,
        presence_penalty=wire.presence_penalty,
        frequency_penalty=wire.frequency_penalty,
        seed=wire.seed,
        n=wire.num_return_sequences,
        best_of=wire.best_of,
        max_time=wire.max_time,
        stop=stops,
        logprobs=(wire.top_n_tokens or 0) if tokens_wanted else None,
        echo=wire.decoder_input_details,
    )


_translate_again = lru_cache(maxsize=64)(_translate)  # clients say the same with each text


def _wire_name(name: str, asked: TextGenerationRequest) -> str:
    """The name under which the client gave a parameter of `GenerationParameters`."""
    if name == "stop":
        places = (asked.parameters, asked.options)
        return next(key for each in places for key in _STOPS if getattr(each, key) is not None)
    return _WIRE_NAMES.get(name, name)
