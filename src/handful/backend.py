"""The seam between using a model and running one.

Tasks, predictors and evaluations speak to a `Backend` and don't know whether the model lies in this process
(`handful.load`) or behind a URL (`handful.connect`). Texts in, texts and log-probabilities out; no tensors, and no
token ids to be kept in step, except where a caller of `AsyncBackend` has them already and wants them read as they are.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from handful.errors import InvalidParameterError
from handful.types import (
    ChatTemplate,
    Generation,
    GenerationParameters,
    LabelledPrompt,
    ModelInfo,
    PrefixTuning,
    Prompt,
    Score,
    StreamEvent,
    TextSpan,
    TunedPrefix,
)


class Backend(Protocol):
    """A causal language model that can be asked from ordinary (blocking) code. Thread-safe."""

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it runs."""
        ...

    def generate(self, prompts: Sequence[str], parameters: GenerationParameters) -> list[Generation]:
        """Continue every prompt; answers in the order of `prompts`, which run as one batch.

        Raises PromptTooLongError, InvalidInputError, BusyError, EngineError.
        """
        ...

    def stream(self, prompt: str, parameters: GenerationParameters) -> Iterator[StreamEvent]:
        """Continue one prompt, token by token. Closing the iterator aborts the request. `n` must be 1."""
        ...

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[Score]:
        """Log-probability of every continuation behind every prompt, without decoding; one `Score` a prompt.

        A continuation is the text right behind the prompt, its leading space included where the language has one.
        Raises InvalidInputError for an empty continuation, PromptTooLongError, BusyError, EngineError.
        """
        ...

    def embed(self, texts: Sequence[str], *, layer: int | None = None) -> NDArray[np.float32]:
        """Hidden state at each text's last token, `[len(texts), hidden_size]`: the final one, behind the last norm.

        With `layer`, from 1 to below `info.num_layers`, the residual stream as it leaves the layer of that number.
        Raises InvalidParameterError for a layer that there isn't, PromptTooLongError, BusyError, EngineError.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` has as a prompt, the tokens that the tokenizer adds at its start included."""
        ...

    def pin(self, prefix: str) -> None:
        """Compute the prefix of a task once and keep it until `unpin`: it is never evicted. Idempotent.

        Behind a URL it is computed, and kept as long as the server has room.
        """
        ...

    def unpin(self, prefix: str) -> None:
        """Let go of a pinned prefix; unknown prefixes are ignored."""
        ...

    def close(self) -> None:
        """Finish what was accepted, then free the model. Idempotent."""
        ...


class AsyncBackend(Protocol):
    """The same from an event loop, one request a call. Cancelling the awaiting task aborts the request."""

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it runs."""
        ...

    @property
    def chat_template(self) -> ChatTemplate | None:
        """The model's chat template, or None where it has none."""
        ...

    async def generate(self, prompt: Prompt, parameters: GenerationParameters) -> Generation:
        """Continue one prompt. Concurrent calls share batches and prefixes. BusyError when the queue is full."""
        ...

    def stream(self, prompt: Prompt, parameters: GenerationParameters) -> AsyncIterator[StreamEvent]:
        """Continue one prompt, token by token; closing the iterator aborts. `n` must be 1."""
        ...

    async def score(self, prompt: str, continuations: Sequence[str]) -> Score:
        """Log-probabilities of the continuations behind the prompt."""
        ...

    async def embed(self, text: Prompt, *, layer: int | None = None) -> NDArray[np.float32]:
        """Hidden state at the text's last token, `[hidden_size]`: the final one, or that behind a layer."""
        ...

    async def count_tokens(self, text: str) -> int:
        """How many tokens `text` has as a prompt."""
        ...

    async def tokenize(self, text: str, *, add_special: bool = True) -> tuple[TextSpan, ...]:
        """The tokens of `text`, behind what the tokenizer adds at its start unless `add_special` is false."""
        ...

    async def pin(self, prefix: str) -> None:
        """Compute a prefix once and keep it."""
        ...

    async def unpin(self, prefix: str) -> None:
        """Let go of a pinned prefix."""
        ...


@runtime_checkable
class SharedBackend(Protocol):
    """An `AsyncBackend` whose callers share a queue and a cache."""

    def for_caller(self, owner: str) -> AsyncBackend:
        """The same model on behalf of a caller: callers take turns, and none reads from the cache what another sent.

        What is pinned on behalf of a caller is the caller's; what is pinned without one is read by all.
        """
        ...


@runtime_checkable
class PrefixBackend(Protocol):
    """A `Backend` whose prompts may stand behind a learned prefix. Those that can't tune one lack `tuned_prefix`."""

    def score_behind(self, prefix: TunedPrefix, prompts: Sequence[str], continuations: Sequence[str]) -> list[Score]:
        """Like `Backend.score`, each prompt behind `prefix`, which is held while anybody refers to it.

        Raises InvalidInputError for a prefix of another model, too, and InvalidParameterError where there can be none.
        """
        ...


@runtime_checkable
class AsyncPrefixBackend(Protocol):
    """The same from an event loop, one prompt a call."""

    async def score_behind(self, prefix: TunedPrefix, prompt: str, continuations: Sequence[str]) -> Score:
        """See `PrefixBackend.score_behind`."""
        ...


@runtime_checkable
class PrefixTuner(PrefixBackend, Protocol):
    """A `Backend` that learns prefixes, too."""

    def check_tunable(self, asked: str, continuations: Sequence[str]) -> None:
        """Raise what `tuned_prefix` would for this model and these continuations of the prompt `asked`, before anything
        is computed; CheckpointError where what tunes it isn't installed."""
        ...

    def tuned_prefix(
        self,
        shown: Sequence[str],
        asked: Sequence[LabelledPrompt],
        continuations: Sequence[str],
        settings: PrefixTuning,
        advance: Callable[[int, int], None] | None = None,
    ) -> TunedPrefix:
        """A prefix that begins as the texts `shown`, tuned until the right continuations are likely behind it.

        `advance` is told the steps done, and of how many. Raises InvalidParameterError for a model that can't be tuned,
        InvalidInputError for continuations that begin with the same token.
        """
        ...


def no_prefix(backend: object) -> InvalidParameterError:
    """What is raised where a backend is asked for what stands behind a learned prefix and has none."""
    problem = f"has no tuned prompts: it is a {type(backend).__name__}."
    fix = "They need one in this process: `handful.load`, or a --model that is no URL."
    return InvalidParameterError("model", problem, fix=fix)


def on_behalf_of(backend: AsyncBackend, owner: str | None) -> AsyncBackend:
    """`backend` for a caller, where it tells callers apart; None is nobody in particular."""
    return backend.for_caller(owner) if owner and isinstance(backend, SharedBackend) else backend
