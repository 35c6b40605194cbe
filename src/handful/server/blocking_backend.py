"""An `AsyncBackend` as a `Backend`, for a predictor that runs in a thread beside the event loop.

What it asks runs in the loop, under the context of the request (so it counts as its usage). `abort` cancels what runs
and refuses what would come, so that nothing is computed for a client that has left.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from handful.backend import AsyncBackend, AsyncPrefixBackend, no_prefix
from handful.errors import RequestAbortedError
from handful.server.attend import side_by_side
from handful.types import Generation, GenerationParameters, ModelInfo, Score, StreamEvent, TunedPrefix

Result = TypeVar("Result")


class BlockingBackend:
    """A `Backend` for one request. To be used in any thread but the loop's."""

    def __init__(self, backend: AsyncBackend, loop: asyncio.AbstractEventLoop) -> None:
        self._backend, self._loop = backend, loop
        self._lock = threading.Lock()
        self._running: set[Any] = set()
        self._is_aborted = False

    @property
    def info(self) -> ModelInfo:
        """See `Backend.info`."""
        return self._backend.info

    def generate(self, prompts: Sequence[str], parameters: GenerationParameters) -> list[Generation]:
        """See `Backend.generate`."""
        return self._run(side_by_side([self._backend.generate(prompt, parameters) for prompt in prompts]))

    def stream(self, prompt: str, parameters: GenerationParameters) -> Iterator[StreamEvent]:
        """The whole generation as one event: nobody here reads along."""
        (made,) = self.generate([prompt], parameters)
        yield StreamEvent(made.completions[0].text, None, made)

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[Score]:
        """See `Backend.score`."""
        return self._run(side_by_side([self._backend.score(prompt, continuations) for prompt in prompts]))

    def score_behind(self, prefix: TunedPrefix, prompts: Sequence[str], continuations: Sequence[str]) -> list[Score]:
        """See `PrefixBackend.score_behind`."""
        backend = self._backend
        if not isinstance(backend, AsyncPrefixBackend):
            raise no_prefix(backend)
        return self._run(side_by_side([backend.score_behind(prefix, prompt, continuations) for prompt in prompts]))

    def embed(self, texts: Sequence[str], *, layer: int | None = None) -> NDArray[np.float32]:
        """See `Backend.embed`."""
        vectors = self._run(side_by_side([self._backend.embed(text, layer=layer) for text in texts]))
        return np.stack(vectors) if vectors else np.zeros((0, self.info.hidden_size), dtype=np.float32)

    def count_tokens(self, text: str) -> int:
        """See `Backend.count_tokens`."""
        return self._run(self._backend.count_tokens(text))

    def pin(self, prefix: str) -> None:
        """See `Backend.pin`."""
        self._run(self._backend.pin(prefix))

    def unpin(self, prefix: str) -> None:
        """See `Backend.unpin`."""
        self._run(self._backend.unpin(prefix))

    def close(self) -> None:
        """The model is the server's."""

    def abort(self) -> None:
        """Cancel what runs; what is asked from now on raises RequestAbortedError."""
        with self._lock:
            self._is_aborted = True
            running = list(self._running)
        for each in running:
            each.cancel()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        with self._lock:
            if self._is_aborted:
                work.close()
                raise RequestAbortedError("The request was given up.")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._running.add(future)
        try:
            return future.result()
        finally:
            with self._lock:
                self._running.discard(future)
