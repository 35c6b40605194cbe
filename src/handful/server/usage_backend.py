"""A backend that works on behalf of who asks, and counts it into the tally of the request.

Both are found through context variables, so no route can forget them: the account (ownership.py), which takes turns
with others and reads nothing of theirs from the cache, and the tally.

What counts: prompts that were read (the part found in the cache too) and tokens that were generated. Of completions
that were drawn but not returned (`best_of`) the length isn't known; they count as long as those that were. A request
that is given up counts with what was delivered: a stream its tokens, and its prompt once it has begun.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from handful.backend import AsyncBackend, AsyncPrefixBackend, no_prefix, on_behalf_of
from handful.server.ownership import current_account
from handful.server.usage_tally import Tally, current_tally
from handful.store.usage import Usage
from handful.types import Generation, GenerationParameters, Prompt, Score, StreamEvent, TunedPrefix

_counting: set[asyncio.Task[None]] = set()


def metered(backend: AsyncBackend, model: str) -> AsyncBackend:
    """`backend`, counting under the name `model`."""
    return cast(AsyncBackend, _Metered(backend, model))


class _Metered:
    """The methods that work; all others are the backend's own."""

    def __init__(self, backend: AsyncBackend, model: str) -> None:
        self._backend, self._model = backend, model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    @property
    def _own(self) -> AsyncBackend:
        """The caller's."""
        return on_behalf_of(self._backend, current_account.get())

    async def generate(self, prompt: Prompt, parameters: GenerationParameters) -> Generation:
        """See `AsyncBackend.generate`."""
        tally = current_tally.get()
        if tally is None:
            return await self._own.generate(prompt, parameters)
        with tally.working(self._model):
            made = await self._own.generate(prompt, parameters)
            tally.add(self._model, _usage_of(prompt, made, parameters))
        return made

    async def stream(self, prompt: Prompt, parameters: GenerationParameters) -> AsyncIterator[StreamEvent]:
        """See `AsyncBackend.stream`."""
        tally = current_tally.get()
        events = self._own.stream(prompt, parameters)
        num_generated = 0
        made: Generation | None = None
        try:
            if tally is None:
                async for event in events:
                    yield event
                return
            with tally.working(self._model):
                async for event in events:
                    num_generated += event.token is not None
                    if event.generation is not None:
                        made = event.generation
                        tally.add(self._model, _usage_of(prompt, made, parameters, num_generated))
                    yield event
        finally:
            if hasattr(events, "aclose"):
                await events.aclose()
            if tally is not None and made is None and num_generated:
                self._count_later(tally, prompt, num_generated)

    async def score(self, prompt: str, continuations: Sequence[str]) -> Score:
        """See `AsyncBackend.score`."""
        return await self._scored(prompt, self._own.score(prompt, continuations))

    async def score_behind(self, prefix: TunedPrefix, prompt: str, continuations: Sequence[str]) -> Score:
        """See `AsyncPrefixBackend.score_behind`."""
        own = self._own
        if not isinstance(own, AsyncPrefixBackend):
            raise no_prefix(own)
        return await self._scored(prompt, own.score_behind(prefix, prompt, continuations))

    async def _scored(self, prompt: str, scoring: Awaitable[Score]) -> Score:
        tally = current_tally.get()
        if tally is None:
            return await scoring
        with tally.working(self._model):
            made = await scoring
            num_tokens = made.num_prompt_tokens + sum(made.num_tokens)
            tally.add(self._model, Usage(input_characters=len(prompt), prompt_tokens=num_tokens))
        return made

    async def embed(self, text: Prompt, *, layer: int | None = None) -> NDArray[np.float32]:
        """See `AsyncBackend.embed`."""
        tally = current_tally.get()
        if tally is None:
            return await self._own.embed(text, layer=layer)
        with tally.working(self._model):
            made = await self._own.embed(text, layer=layer)
            num_tokens = await self._num_tokens(text)
            tally.add(self._model, Usage(input_characters=_num_characters(text), prompt_tokens=num_tokens))
        return made

    async def _num_tokens(self, prompt: Prompt) -> int:
        return await self._own.count_tokens(prompt) if isinstance(prompt, str) else len(prompt)

    def _count_later(self, tally: Tally, prompt: Prompt, num_generated: int) -> None:
        """Count a stream that was closed early. Here nothing may be awaited any more."""

        async def count() -> None:
            num_prompt_tokens = await self._num_tokens(prompt)
            tally.add_late(self._model, Usage(prompt_tokens=num_prompt_tokens, generated_tokens=num_generated))

        task = asyncio.ensure_future(count())
        _counting.add(task)
        task.add_done_callback(_counting.discard)


def _num_characters(prompt: Prompt) -> int:
    return len(prompt) if isinstance(prompt, str) else 0


def _usage_of(
    prompt: Prompt, made: Generation, parameters: GenerationParameters, num_streamed: int | None = None
) -> Usage:
    num_returned = sum([len(completion.tokens) for completion in made.completions])
    if num_streamed is not None:
        num_returned = max(num_returned, num_streamed)
    num_generated = -(-num_returned * parameters.num_drawn // parameters.n)
    return Usage(
        input_characters=_num_characters(prompt),
        prompt_tokens=made.num_prompt_tokens,
        generated_tokens=num_generated,
    )
