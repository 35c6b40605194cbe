"""A local model for an event loop: each call is one request; cancelling the awaiting task aborts it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from handful.engine.loop import LoopStats
from handful.errors import InvalidParameterError
from handful.local.jobs import Job
from handful.local.model import LocalModel
from handful.local.postbox import postbox
from handful.types import (
    ChatTemplate,
    Generation,
    GenerationParameters,
    ModelInfo,
    Prompt,
    Score,
    StreamEvent,
    TextSpan,
    TunedPrefix,
)

Answer = TypeVar("Answer")

MAX_INLINE_CHARACTERS = 2_000  # tokenising more than this would hold the event loop up: it goes to a thread


class AsyncModel:
    """An `AsyncBackend` over a `LocalModel`. Refuses at once (BusyError) when the queue is full.

    `owner` is the caller for whom it asks; see `handful.backend.SharedBackend`.
    """

    def __init__(self, model: LocalModel, owner: str = "") -> None:
        self._model, self._owner = model, owner

    def for_caller(self, owner: str) -> "AsyncModel":
        """See `SharedBackend.for_caller`."""
        return AsyncModel(self._model, owner)

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it runs."""
        return self._model.info

    @property
    def chat_template(self) -> ChatTemplate | None:
        """See `AsyncBackend.chat_template`."""
        return self._model.chat_template

    def stats(self) -> LoopStats:
        """What the engine is doing now."""
        return self._model.stats()

    async def generate(self, prompt: Prompt, parameters: GenerationParameters) -> Generation:
        """See `AsyncBackend.generate`."""
        ids = await self._encode(prompt)
        return await self._run(lambda done: self._model.generation_job(ids, parameters, done))

    async def stream(self, prompt: Prompt, parameters: GenerationParameters) -> AsyncIterator[StreamEvent]:
        """See `AsyncBackend.stream`."""
        if parameters.num_drawn > 1:
            raise InvalidParameterError("n", "must be 1 when a completion is streamed.")
        ids = await self._encode(prompt)
        box = postbox()
        events: asyncio.Queue[StreamEvent | None] = asyncio.Queue()

        def put(event: StreamEvent | None) -> None:
            box.post(lambda: events.put_nowait(event))

        job = self._model.generation_job(ids, parameters, lambda: put(None))
        job.on_stream = put
        job.belongs_to(self._owner)
        self._submit(job)
        try:
            while (event := await events.get()) is not None:
                yield event
            job.result()
        finally:
            if not job.is_done:
                self._model.loop.abort(job.requests)

    async def score(self, prompt: str, continuations: Sequence[str]) -> Score:
        """See `AsyncBackend.score`."""
        num_characters = self._num_to_encode(prompt)
        plan = await self._off_loop(num_characters, lambda: self._model.plan_score(prompt, continuations, self._owner))
        return plan.read([await self._run(make) for make in plan.makers])

    async def score_behind(self, prefix: TunedPrefix, prompt: str, continuations: Sequence[str]) -> Score:
        """See `AsyncPrefixBackend.score_behind`."""
        if not self._model.held.knows(prefix):
            await asyncio.to_thread(self._model.held.tokens_of, prefix)
        tokens = self._model.held.tokens_of(prefix)
        num_characters = self._num_to_encode(prompt)
        plan = await self._off_loop(
            num_characters, lambda: self._model.plan_score(prompt, continuations, self._owner, tokens)
        )
        return plan.read([await self._run(make) for make in plan.makers])

    async def embed(self, text: Prompt, *, layer: int | None = None) -> NDArray[np.float32]:
        """See `AsyncBackend.embed`."""
        ids = await self._encode(text)
        return await self._run(lambda done: self._model.embed_job(ids, layer, done))

    async def count_tokens(self, text: str) -> int:
        """See `AsyncBackend.count_tokens`."""
        return await self._off_loop(self._num_to_encode(text), lambda: self._model.count_tokens(text, self._owner))

    async def tokenize(self, text: str, *, add_special: bool = True) -> tuple[TextSpan, ...]:
        """See `AsyncBackend.tokenize`."""
        return await self._off_loop(len(text), lambda: self._model.tokenize(text, add_special=add_special))

    async def pin(self, prefix: str) -> None:
        """See `AsyncBackend.pin`."""
        await self._run(lambda done: self._model.warm_job(prefix, done))

    async def unpin(self, prefix: str) -> None:
        """See `AsyncBackend.unpin`."""
        self._model.unpin(prefix, self._owner)

    async def _encode(self, prompt: Prompt) -> tuple[int, ...]:
        return await self._off_loop(
            self._num_to_encode(prompt), lambda: self._model.encode_prompts([prompt], self._owner)[0]
        )

    def _num_to_encode(self, prompt: Prompt) -> int:
        return self._model.tokenizer.num_to_encode(prompt, self._owner) if isinstance(prompt, str) else len(prompt)

    def _submit(self, job: Job[Any]) -> None:
        self._model.loop.submit(job.requests, job.on_event, wake=False)
        postbox().at_end_of_turn(self._model.loop.wake)

    async def _off_loop(self, num_characters: int, function: Callable[[], Answer]) -> Answer:
        if num_characters <= MAX_INLINE_CHARACTERS:
            return function()
        return await asyncio.to_thread(function)

    async def _run(self, make: Callable[[Callable[[], None]], Job[Answer]]) -> Answer:
        box = postbox()
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not ended.done():  # the caller may have been cancelled meanwhile
                ended.set_result(None)

        job = make(lambda: box.post(end))
        job.belongs_to(self._owner)
        self._submit(job)
        try:
            await ended
        finally:
            if not job.is_done:
                self._model.loop.abort(job.requests)
        return job.result()
