"""A tiny deterministic model for tests: a token is a byte, nothing is loaded, nothing is slow.

It writes `answer(prompt)` (by default the last input line shouted back) and gives each continuation a log-probability
by `logprob(prompt, continuation)`. End sequences, `max_new_tokens`, the context's length and the order of answers are
honoured as the `Backend` protocol says, so a test that passes with it says something about the caller.
"""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from handful.errors import InvalidInputError, InvalidParameterError, PromptTooLongError
from handful.types import (
    Completion,
    FinishReason,
    Generation,
    GenerationParameters,
    ModelInfo,
    Prompt,
    Score,
    StreamEvent,
    TextSpan,
    Token,
)

HIDDEN_SIZE = 8


def shout_last_input(prompt: str) -> str:
    """A space, the text behind the colon of the line before the last one in capitals, and an end sequence."""
    lines = prompt.split("\n")
    return " " + lines[-2].partition(":")[2].strip().upper() + "\n###\n and more"


def hashed_logprob(prompt: str, continuation: str) -> float:
    """A number from -10 to 0 that depends on every character of both texts."""
    return -(zlib.crc32(f"{prompt}|{continuation}".encode()) % 10_000) / 1_000


class FakeBackend:
    """A `Backend`. `calls` lists (method, number of texts) of each call; `counted` the texts that were counted."""

    def __init__(
        self,
        *,
        context_length: int = 4096,
        bytes_per_token: int = 1,
        answer: Callable[[str], str] = shout_last_input,
        logprob: Callable[[str, str], float] = hashed_logprob,
    ) -> None:
        self.bytes_per_token = bytes_per_token
        self.answer = answer
        self.logprob = logprob
        self.calls: list[tuple[str, int]] = []
        self.prompts: list[str] = []
        self.counted: list[str] = []
        self.pinned: set[str] = set()
        self.closed = False
        self.info = ModelInfo(
            name="fake",
            architecture="fake",
            engine="fake",
            num_parameters=0,
            context_length=context_length,
            vocab_size=256,
            hidden_size=HIDDEN_SIZE,
            num_layers=0,
            precision="float32",
            device="cpu",
        )

    def generate(self, prompts: Sequence[str], parameters: GenerationParameters) -> list[Generation]:
        """Continue every prompt with `answer`."""
        self.calls.append(("generate", len(prompts)))
        return [self._generate(prompt, parameters) for prompt in prompts]

    def stream(self, prompt: str, parameters: GenerationParameters) -> Iterator[StreamEvent]:
        """The same, one character at a time."""
        if parameters.n != 1:
            raise InvalidParameterError("n", "must be 1 for a stream.")
        generation = self._generate(prompt, parameters)
        text = generation.completions[0].text
        for character in text:
            yield StreamEvent(character, Token(ord(character), character))
        yield StreamEvent("", None, generation)

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[Score]:
        """Every continuation's `logprob` behind every prompt."""
        self.calls.append(("score", len(prompts)))
        if not continuations or not all(continuations):
            raise InvalidInputError("A continuation is empty.")
        return [self._score(prompt, continuations) for prompt in prompts]

    def embed(self, texts: Sequence[str], *, layer: int | None = None) -> NDArray[np.float32]:
        """The counts of the bytes by their last three bits: `[len(texts), 8]`."""
        self.calls.append(("embed", len(texts)))
        rows = [np.bincount(np.frombuffer(t.encode(), np.uint8) % HIDDEN_SIZE, minlength=HIDDEN_SIZE) for t in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), HIDDEN_SIZE)

    def count_tokens(self, text: str) -> int:
        """The number of bytes, or of groups of `bytes_per_token` of them."""
        self.counted.append(text)
        return self._num_tokens(text)

    def _num_tokens(self, text: str) -> int:
        return -(-len(text.encode()) // self.bytes_per_token)

    def pin(self, prefix: str) -> None:
        """Remember that `prefix` was pinned."""
        self.pinned.add(prefix)

    def unpin(self, prefix: str) -> None:
        """Forget it."""
        self.pinned.discard(prefix)

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _generate(self, prompt: str, parameters: GenerationParameters) -> Generation:
        num_prompt_tokens = self._admit(prompt, parameters.max_new_tokens)
        text = self.answer(prompt)
        found = [(text.index(stop), stop) for stop in parameters.stop if stop in text]
        reason: FinishReason = "eos_token"
        stop = ""
        if found:
            position, stop = min(found)
            text, reason = text[:position], "stop_sequence"
        if len(text.encode()) > parameters.max_new_tokens:
            text = text.encode()[: parameters.max_new_tokens].decode(errors="ignore")
            stop, reason = "", "length"
        tokens = tuple(Token(byte, chr(byte)) for byte in text.encode())
        return Generation((Completion(text, reason, stop, tokens),), num_prompt_tokens)

    def _score(self, prompt: str, continuations: Sequence[str]) -> Score:
        num_tokens = tuple(self._num_tokens(text) for text in continuations)
        num_prompt_tokens = self._admit(prompt, max(num_tokens))
        return Score(tuple(self.logprob(prompt, text) for text in continuations), num_tokens, num_prompt_tokens)

    def _admit(self, prompt: str, num_new_tokens: int) -> int:
        if not prompt:
            raise InvalidInputError("A prompt is empty.")
        self.prompts.append(prompt)
        num_tokens = self._num_tokens(prompt)
        if num_tokens + num_new_tokens > self.info.context_length:
            raise PromptTooLongError(f"{num_tokens} + {num_new_tokens} tokens are more than fit.")
        return num_tokens


class AsyncFakeBackend:
    """The same as an `AsyncBackend`. `num_closed_streams` counts streams that ended or were closed."""

    def __init__(self, backend: FakeBackend | None = None) -> None:
        self.backend = backend or FakeBackend()
        self.num_closed_streams = 0

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return self.backend.info

    chat_template = None

    async def generate(self, prompt: Prompt, parameters: GenerationParameters) -> Generation:
        """Continue one prompt."""
        return self.backend.generate([_text(prompt)], parameters)[0]

    async def stream(self, prompt: Prompt, parameters: GenerationParameters) -> AsyncIterator[StreamEvent]:
        """Continue one prompt, one character at a time."""
        try:
            for event in self.backend.stream(_text(prompt), parameters):
                yield event
        finally:
            self.num_closed_streams += 1

    async def score(self, prompt: str, continuations: Sequence[str]) -> Score:
        """Log-probabilities behind one prompt."""
        return self.backend.score([prompt], continuations)[0]

    async def embed(self, text: Prompt, *, layer: int | None = None) -> NDArray[np.float32]:
        """One text's vector: `[8]`."""
        vector: NDArray[np.float32] = self.backend.embed([_text(text)], layer=layer)[0]
        return vector

    async def count_tokens(self, text: str) -> int:
        """The number of bytes."""
        return self.backend.count_tokens(text)

    async def tokenize(self, text: str, *, add_special: bool = True) -> tuple[TextSpan, ...]:
        """One token a character; nothing is added."""
        return tuple(TextSpan(ord(letter), letter, i, i + 1) for i, letter in enumerate(text))

    async def pin(self, prefix: str) -> None:
        """Remember that `prefix` was pinned."""
        self.backend.pin(prefix)

    async def unpin(self, prefix: str) -> None:
        """Forget it."""
        self.backend.unpin(prefix)


def _text(prompt: Prompt) -> str:
    """A prompt of token ids is one of bytes."""
    return prompt if isinstance(prompt, str) else bytes(prompt).decode()
