"""A model of another task than generating text, as a server holds it: a `ServedModel` like the language models.

So that names, loading, health, readiness and metrics are the same for both kinds. Asked to generate or to score it
refuses by name; asked to embed (`/v1/embeddings`) it answers where it makes vectors.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from handful.backend import AsyncBackend
from handful.errors import InvalidInputError, InvalidParameterError
from handful.nlp_types import FeatureOptions, NlpTask
from handful.pipelines.contract import NlpModel
from handful.protocol.nlp_request import Asked
from handful.server.nlp_batches import MAX_WAITING_ITEMS, Batcher
from handful.server.nlp_calls import Computed, compute
from handful.types import (
    ChatTemplate,
    Generation,
    GenerationParameters,
    ModelInfo,
    Prompt,
    Score,
    StreamEvent,
    TextSpan,
)


@dataclass(frozen=True, slots=True)
class NlpStats:
    """What the model is doing now, in the words that engines have. It keeps nothing between requests."""

    is_alive: bool
    seconds_since_step: float
    num_waiting: int
    num_running: int
    num_steps: int
    num_finished: int
    num_failed: int
    num_slots: int = 0
    num_held_slots: int = 0
    num_free_slots: int = 0
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_generated_tokens: int = 0
    num_drafted_tokens: int = 0
    num_accepted_tokens: int = 0
    num_forced_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """One result for each item of a request, and tokens of what was read and written for all of them."""

    results: list[Any]
    num_read_tokens: int
    num_written_tokens: int


class ServedNlpModel:
    """A loaded `NlpModel` and the thread that works for it."""

    def __init__(
        self, model: NlpModel, name: str, *, device: str = "cpu", max_waiting_items: int = MAX_WAITING_ITEMS
    ) -> None:
        self._model = model
        self._batcher = Batcher(
            lambda work, items: compute(model, work, items), name, max_waiting_items=max_waiting_items
        )
        self.info = _info(model, name, device)

    @property
    def num_bytes(self) -> int:
        """Memory that its weights take; between requests it keeps nothing else."""
        return self.info.weight_bytes

    @property
    def task(self) -> NlpTask:
        """What the model is for."""
        return self._model.task

    @property
    def tasks(self) -> frozenset[NlpTask]:
        """All that it can do."""
        return self._model.tasks

    def stats(self) -> NlpStats:
        """What it is doing now."""
        batcher = self._batcher
        return NlpStats(
            is_alive=batcher.is_alive,
            seconds_since_step=batcher.seconds_since_step,
            num_waiting=batcher.num_waiting,
            num_running=batcher.num_running,
            num_steps=batcher.num_batches,
            num_finished=batcher.num_finished,
            num_failed=batcher.num_failed,
        )

    async def ask(self, asked: Asked) -> Made:
        """One result for each item. Cancelling gives up what hasn't been begun. Raises BusyError and the model's."""
        work: Hashable = (asked.task, asked.options)
        submitted = self._batcher.submit(work, asked.items, is_alone=asked.is_alone)
        computed: list[Computed] = await asyncio.wrap_future(submitted)
        return Made(
            [each.result for each in computed],
            sum(each.num_read_tokens for each in computed),
            sum(each.num_written_tokens for each in computed),
        )

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """How many tokens the texts have."""
        return await asyncio.to_thread(self._model.count_tokens, texts)

    async def embed(self, text: str) -> NDArray[np.float32]:
        """One vector `[dim]`; of a model that makes one for each token, their mean."""
        if "feature-extraction" not in self.tasks:
            raise InvalidInputError(
                f"This model makes no vectors: it does {', '.join(sorted(self.tasks))}.",
                fix="Ask a model for feature-extraction; `default-embeddings` is one.",
            )
        (made,) = (await self.ask(Asked("feature-extraction", (text,), FeatureOptions(), (text,)))).results
        vector: NDArray[np.float32] = made if made.ndim == 1 else made.mean(axis=0)
        return vector

    def asynchronous(self) -> AsyncBackend:
        """The model for code that expects a language model; `served_behind` finds the way back."""
        return cast(AsyncBackend, _EmbeddingBackend(self))

    def close(self, timeout_s: float | None = None) -> None:
        """Finish what was accepted, for at most `timeout_s`, then free the model.

        A batch that takes longer can't be given up: then the model is free when the batch has ended.
        """
        self._batcher.close(timeout_s)
        if not self.is_computing:
            self._model.close()

    @property
    def is_computing(self) -> bool:
        """Whether a batch is being computed; after `close`, one that took too long."""
        return self._batcher.is_computing


class _EmbeddingBackend:
    """An `AsyncBackend` that can embed and count; `served` is what it can do besides."""

    chat_template: ChatTemplate | None = None

    def __init__(self, served: ServedNlpModel) -> None:
        self.served = served
        self.info = served.info

    async def embed(self, text: Prompt, *, layer: int | None = None) -> NDArray[np.float32]:
        """See `AsyncBackend.embed`. Token ids are refused: which tokens a text has is the model's affair."""
        if layer is not None:
            raise InvalidParameterError("layer", "is for language models.", fix="Leave it out.")
        return await self.served.embed(self._text(text))

    async def count_tokens(self, text: str) -> int:
        """See `AsyncBackend.count_tokens`."""
        return await self.served.count_tokens([text])

    async def generate(self, prompt: Prompt, parameters: GenerationParameters) -> Generation:  # noqa: ARG002
        """Refused."""
        self._refuse()

    async def stream(self, prompt: Prompt, parameters: GenerationParameters) -> AsyncIterator[StreamEvent]:  # noqa: ARG002
        """Refused."""
        self._refuse()
        yield StreamEvent("", None)

    async def score(self, prompt: str, continuations: Sequence[str]) -> Score:  # noqa: ARG002
        """Refused."""
        self._refuse()

    async def tokenize(self, text: str, *, add_special: bool = True) -> tuple[TextSpan, ...]:  # noqa: ARG002
        """Refused."""
        self._refuse()

    async def pin(self, prefix: str) -> None:  # noqa: ARG002
        """Refused."""
        self._refuse()

    async def unpin(self, prefix: str) -> None:
        """Nothing was pinned."""

    def _text(self, prompt: Prompt) -> str:
        if not isinstance(prompt, str):
            raise InvalidInputError("This model takes texts, not token ids.", fix="Send the texts.")
        return prompt

    def _refuse(self) -> NoReturn:
        raise InvalidInputError(
            f"This model doesn't generate text: it does {', '.join(sorted(self.served.tasks))}.",
            fix="Send such a request to /models/NAME, or ask another model.",
        )


def served_behind(backend: AsyncBackend) -> ServedNlpModel | None:
    """The model of another task that a backend stands for; None where it is a language model."""
    served = getattr(backend, "served", None)
    return served if isinstance(served, ServedNlpModel) else None


def _info(model: NlpModel, name: str, device: str) -> ModelInfo:
    """The model in the words that language models have; a size that has no meaning here is 0."""
    return ModelInfo(
        name=name,
        architecture=model.task,
        engine="transformers",
        num_parameters=model.num_parameters,
        context_length=0,
        vocab_size=0,
        hidden_size=0,
        num_layers=0,
        precision=model.precision,
        device=device,
        revision=model.revision,
        weight_bytes=model.bytes_in_memory,
    )
