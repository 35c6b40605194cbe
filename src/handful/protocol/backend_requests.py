"""The requests of the native surface: the verbs of a `Backend` over HTTP, for what no other surface can say.

POST /models/{id}/backend/generate      {"inputs": text or list, "parameters": {...}, "stream": false}
POST /models/{id}/backend/score         {"inputs": text or list, "continuations": ["...", ...]}
POST /models/{id}/backend/embed         {"inputs": text or list, "encoding_format": "float", "layer": 22}
POST /models/{id}/backend/count_tokens  {"inputs": text or list}

Every answer is a list in the order of the inputs (backend_answers.py). Parameters have the names, ranges and defaults
of `handful.types.GenerationParameters`, so an answer is the one that the model in process would give.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from handful.errors import InvalidInputError, InvalidParameterError
from handful.protocol.fields import Choices, Texts, as_tuple, null_is_unset
from handful.protocol.openai_fields import Prompts, prompts_of
from handful.protocol.payload import parse_request
from handful.protocol.problems import validate
from handful.types import GenerationParameters, Prompt

MAX_SCORES = 65_536
"""Pairs of a prompt and a continuation that one request may ask for."""
MAX_LAYERS = 10_000
"""More than any model has; which of them a model has, it says itself."""
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)


Pair = Annotated[list[int | float], Field(min_length=2, max_length=2)]


class BackendParameters(BaseModel):
    """How to continue a prompt."""

    model_config = _STRICT

    max_new_tokens: int = Field(default=100, description="Most tokens to generate; 0 reads the prompt only.")
    min_new_tokens: int = Field(default=0, description="No end of text before this many tokens.")
    temperature: float = Field(default=0.0, description="0 to 100; 0 takes the most probable token.")
    top_k: int | None = Field(default=None, description="Sample among this many most probable tokens.")
    top_p: float | None = Field(default=None, description="Sample among the fewest tokens of this total probability.")
    typical_p: float | None = Field(default=None, description="Locally typical sampling.")
    repetition_penalty: float = Field(default=1.0, description="Above 1 makes tokens of the text so far less likely.")
    presence_penalty: float = Field(default=0.0, description="-2 to 2, once for each token generated before.")
    frequency_penalty: float = Field(default=0.0, description="-2 to 2, for each time a token was generated before.")
    logit_bias: list[Pair] = Field(default=[], description="Pairs of a token id and a bias from -100 to 100.")
    seed: int | None = Field(default=None, description="Makes a sampled text reproducible.")
    n: int = Field(default=1, description="Completions to return for each prompt; above 1 only sampled.")
    best_of: int | None = Field(default=None, description="Completions to draw; the most probable are returned.")
    max_time: float | None = Field(default=None, description="Seconds after which the text so far is returned.")
    stop: Texts = Field(default=[], description="End sequences; the one that ended a text is told beside it.")
    choices: Choices | None = Field(default=None, description="The text is one of these, leading space included.")
    logprobs: int | None = Field(default=None, description="Log-probabilities, and those of so many best alternatives.")
    echo: bool = Field(default=False, description="Also return the prompt's tokens.")
    ignore_eos: bool = Field(default=False, description="Go on behind the model's own end of text.")

    def generation_parameters(self) -> GenerationParameters:
        """The same as the model takes it. Raises InvalidParameterError."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        fields |= {"logit_bias": tuple(tuple(pair) for pair in self.logit_bias), "stop": as_tuple(self.stop)}
        fields["choices"] = as_tuple(self.choices)
        return GenerationParameters(**fields)


class BackendRequest(BaseModel):
    """What all of these requests share: inputs, which are read from a body and checked."""

    model_config = _STRICT

    @classmethod
    def from_body(cls, body: bytes) -> Self:
        """Parse and check a body. Raises InvalidInputError naming what to change."""
        request = validate(cls, null_is_unset(parse_request(body)))
        request.check()
        return request

    def check(self) -> None:
        """What no field says by itself. Raises InvalidInputError, InvalidParameterError."""
        if not self.prompts:
            raise InvalidInputError("`inputs` is an empty list.", fix="Send at least one text.")

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The inputs, always as a tuple."""
        raise NotImplementedError

    @property
    def lengths(self) -> list[int]:
        """The length of every input, in characters (or tokens)."""
        return [len(prompt) for prompt in self.prompts]

    @property
    def num_characters(self) -> int:
        """Characters of all texts together."""
        return sum(len(prompt) for prompt in self.prompts if isinstance(prompt, str))


class _PromptsRequest(BackendRequest):
    inputs: Prompts = Field(description="A text or several, or the token ids of one or several.")

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The inputs, none of them empty (InvalidInputError)."""
        return prompts_of(self.inputs, "inputs")


class _TextsRequest(BackendRequest):
    inputs: Texts = Field(description="A text or several.")

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The inputs; a text may be empty."""
        return self.texts

    @property
    def texts(self) -> tuple[str, ...]:
        """The inputs."""
        return as_tuple(self.inputs)


class GenerateRequest(_PromptsRequest):
    """`POST /models/{id}/backend/generate`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": "Once upon", "parameters": {"max_new_tokens": 8}}]}
    )

    parameters: Annotated[BackendParameters, BeforeValidator(null_is_unset)] = BackendParameters()
    stream: bool = Field(default=False, description="Answer with server-sent events, one a token.")

    def check(self) -> None:
        """See `BackendRequest.check`."""
        super().check()
        parameters = self.parameters.generation_parameters()
        if self.stream and len(self.prompts) > 1:
            raise InvalidInputError("A stream takes one input.", fix="Send one request for each input.")
        if self.stream and parameters.num_drawn > 1:
            raise InvalidParameterError("n", "must be 1 when a completion is streamed.")


class ScoreRequest(_TextsRequest):
    """`POST /models/{id}/backend/score`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": "The sky is", "continuations": [" blue", " green"]}]}
    )

    continuations: Texts = Field(description="What is scored behind every input, its leading space included.")

    def check(self) -> None:
        """See `BackendRequest.check`."""
        super().check()
        if not all((*self.wanted, *self.texts)) or not self.wanted:
            name = "inputs" if self.wanted and all(self.wanted) else "continuations"
            raise InvalidInputError(f"`{name}` holds an empty text or none.", fix="Give each at least one character.")
        if len(self.texts) * len(self.wanted) > MAX_SCORES:
            problem = f"{len(self.texts)} inputs with {len(self.wanted)} continuations are more than {MAX_SCORES}."
            raise InvalidInputError(problem, fix="Send the inputs in several requests.")

    @property
    def wanted(self) -> tuple[str, ...]:
        """The continuations, always as a tuple."""
        return as_tuple(self.continuations)


class EmbedRequest(_PromptsRequest):
    """`POST /models/{id}/backend/embed`: hidden states as they are, unlike the unit vectors of `/v1/embeddings`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": ["A text.", "Another."]}]})

    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="Numbers, or float32 (little-endian) in base64."
    )
    layer: int | None = Field(
        default=None, ge=1, le=MAX_LAYERS, description="Behind which layer, from 1; left out, behind the last norm."
    )


class CountRequest(_TextsRequest):
    """`POST /models/{id}/backend/count_tokens`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": ["A text.", "Another."]}]})


def parameters_on_the_wire(parameters: GenerationParameters) -> dict[str, Any]:
    """Parameters as a request carries them: those that aren't at their default."""
    defaults = GenerationParameters()
    given = {name: getattr(parameters, name) for name in BackendParameters.model_fields}
    return {name: value for name, value in given.items() if value != getattr(defaults, name)}
