"""The text-generation answer of the Hugging Face Inference API, whole and streamed, from and to `handful.types`.

An answer is always a list. With one text for each input it is a list of objects in the order of the inputs; with
`num_return_sequences` above 1 and one input, its texts; with several inputs as well, a list of such lists.
`generated_text` keeps the end sequence that ended it, as the hosted API and TGI do.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from handful.protocol.text_generation import TextGenerationRequest
from handful.types import Alternative, Completion, Generation, StreamEvent, Token


class WireToken(BaseModel):
    """A token of the prompt (`prefill`) or of the generated text. In a stream `text` is what the token released."""

    model_config = ConfigDict(frozen=True)

    id: int
    text: str
    logprob: float | None = None
    special: bool = False


class Details(BaseModel):
    """How a text came about. `finish_reason`: length (of tokens or of time), eos_token or stop_sequence."""

    model_config = ConfigDict(frozen=True)

    finish_reason: str
    generated_tokens: int
    seed: int | None = None
    prefill: tuple[WireToken, ...] = ()
    tokens: tuple[WireToken, ...] = ()
    top_tokens: tuple[tuple[WireToken, ...], ...] | None = None


class GeneratedText(BaseModel):
    """One generated text."""

    model_config = ConfigDict(frozen=True)

    generated_text: str
    details: Details | None = None


class StreamDetails(BaseModel):
    """What the last event of a stream says about the whole."""

    model_config = ConfigDict(frozen=True)

    finish_reason: str
    generated_tokens: int
    input_length: int = 0
    seed: int | None = None


class StreamFrame(BaseModel):
    """One event of a stream. Only the last one has `generated_text` and `details`."""

    model_config = ConfigDict(frozen=True)

    index: int
    token: WireToken
    top_tokens: tuple[WireToken, ...] | None = None
    generated_text: str | None = None
    details: StreamDetails | None = None


def _wire(token: Token | Alternative) -> WireToken:
    special = isinstance(token, Token) and token.special
    return WireToken(id=token.id, text=token.text, logprob=token.logprob, special=special)


def kept_text(prompt: str, completion: Completion, request: TextGenerationRequest) -> str:
    """The `generated_text` of a completion: with its end sequence, behind the prompt unless that is unwanted."""
    before = prompt if request.parameters.return_full_text else ""
    return before + completion.text + completion.stop


def wire_reason(completion: Completion) -> str:
    """Why a text ended, in the words that clients know: one that ran out of `max_time` was cut for its length."""
    return "length" if completion.finish_reason == "max_time" else completion.finish_reason


def details_of(generation: Generation, completion: Completion, request: TextGenerationRequest) -> Details:
    top_tokens = None
    if request.parameters.top_n_tokens:
        top_tokens = tuple(tuple(map(_wire, token.top)) for token in completion.tokens)
    return Details(
        finish_reason=wire_reason(completion),
        generated_tokens=len(completion.tokens),
        seed=completion.seed,
        prefill=tuple(map(_wire, generation.prompt_tokens)),
        tokens=tuple(map(_wire, completion.tokens)),
        top_tokens=top_tokens,
    )


def _texts(prompt: str, generation: Generation, request: TextGenerationRequest) -> list[dict[str, Any]]:
    answers = [
        GeneratedText(
            generated_text=kept_text(prompt, completion, request),
            details=details_of(generation, completion, request) if request.parameters.details else None,
        )
        for completion in generation.completions
    ]
    return [as_wire(answer, "details") for answer in answers]


def as_wire(value: BaseModel, *optional: str) -> dict[str, Any]:
    """A value as JSON-ready data, without those of the `optional` fields that are null; other nulls are said."""
    data = value.model_dump(mode="json")
    for key in optional:
        if data[key] is None:
            del data[key]
    return data


def answer(request: TextGenerationRequest, generations: Sequence[Generation]) -> list[Any]:
    """The body of a whole answer; one generation a prompt, in their order. See the module's docstring for its shape."""
    per_prompt = [_texts(prompt, made, request) for prompt, made in zip(request.prompts, generations, strict=True)]
    if len(per_prompt) == 1:
        return list(per_prompt[0])
    if request.parameters.num_return_sequences == 1:
        return [texts[0] for texts in per_prompt]
    return list(per_prompt)


class StreamWriter:
    """Turns the events of one completion into frames.

    The joined `token.text` of all frames is the text that an unstreamed answer would have without its prompt: a frame
    carries what its step released, so nothing of a half character or of a possible end sequence is sent too early.
    """

    def __init__(self, request: TextGenerationRequest) -> None:
        self._request = request
        self._num_tokens = 0
        self._last_id = 0

    def frame(self, event: StreamEvent) -> dict[str, Any]:
        """The JSON-ready frame of one event."""
        generation = event.generation
        completion = generation.completions[0] if generation else None
        text = event.text + (completion.stop if completion else "")
        frame = StreamFrame(
            index=self._count(event.token),
            token=self._token(event.token, text),
            top_tokens=self._top(event.token),
            generated_text=kept_text(self._request.prompts[0], completion, self._request) if completion else None,
            details=self._details(generation, completion) if generation and completion else None,
        )
        return as_wire(frame, "top_tokens")

    def _count(self, token: Token | None) -> int:
        if token is not None:
            self._num_tokens += 1
            self._last_id = token.id
        return self._num_tokens

    def _token(self, token: Token | None, text: str) -> WireToken:
        # Clients skip special tokens, so one that releases held text must not look like one.
        special = not text and (token is None or token.special)
        logprob = token.logprob if token else None
        return WireToken(id=self._last_id, text=text, logprob=logprob, special=special)

    def _top(self, token: Token | None) -> tuple[WireToken, ...] | None:
        wanted = self._request.parameters.top_n_tokens and token is not None
        return tuple(map(_wire, token.top)) if wanted and token is not None else None

    def _details(self, generation: Generation, completion: Completion) -> StreamDetails:
        return StreamDetails(
            finish_reason=wire_reason(completion),
            generated_tokens=len(completion.tokens) or self._num_tokens,
            input_length=generation.num_prompt_tokens,
            seed=completion.seed,
        )
