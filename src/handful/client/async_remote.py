"""A model behind a URL, as the `AsyncBackend` that a model in this process is."""

from collections.abc import AsyncIterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

import handful.client.backend_calls as calls
from handful.client.async_driver import AsyncDriver
from handful.errors import InvalidParameterError
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


class AsyncRemoteModel:
    """An `AsyncBackend` behind `handful serve`, one request a call. See `RemoteModel` for what pinning means here."""

    def __init__(self, driver: AsyncDriver, model: str, info: ModelInfo) -> None:
        self._driver, self._model, self._info = driver, model, info

    @classmethod
    async def open(cls, driver: AsyncDriver, model: str) -> Self:
        """The model, once the server has said what it is."""
        answer = await driver.run(calls.info(model))
        return cls(driver, model, calls.read_served(answer, driver.endpoint.url).info)

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it runs."""
        return self._info

    @property
    def chat_template(self) -> ChatTemplate | None:
        """None: chats are rendered by the server, at /v1/chat/completions."""
        return None

    async def generate(self, prompt: Prompt, parameters: GenerationParameters) -> Generation:
        """See `AsyncBackend.generate`."""
        answer = await self._driver.run(calls.generate(self._model, [prompt], parameters))
        return calls.read_generated(answer, 1)[0]

    def stream(self, prompt: Prompt, parameters: GenerationParameters) -> AsyncIterator[StreamEvent]:
        """See `AsyncBackend.stream`."""
        if parameters.num_drawn > 1:
            raise InvalidParameterError("n", "must be 1 when a completion is streamed.")
        call = calls.generate(self._model, [prompt], parameters, stream=True)
        return self._driver.stream(call, calls.EventReader())

    async def score(self, prompt: str, continuations: Sequence[str]) -> Score:
        """See `AsyncBackend.score`."""
        return calls.read_scores(await self._driver.run(calls.score(self._model, [prompt], continuations)), 1)[0]

    async def embed(self, text: Prompt, *, layer: int | None = None) -> NDArray[np.float32]:
        """See `AsyncBackend.embed`."""
        answer = await self._driver.run(calls.embed(self._model, [text], layer))
        vector: NDArray[np.float32] = calls.read_embedded(answer, 1, self._info.hidden_size)[0]
        return vector

    async def count_tokens(self, text: str) -> int:
        """See `AsyncBackend.count_tokens`."""
        return calls.read_count(await self._driver.run(calls.count_tokens(self._model, text)))

    async def tokenize(self, text: str, *, add_special: bool = True) -> tuple[TextSpan, ...]:
        """See `AsyncBackend.tokenize`."""
        call = calls.tokenize(self._model, text, add_special=add_special)
        return calls.read_spans(await self._driver.run(call))

    async def pin(self, prefix: str) -> None:
        """See `RemoteModel.pin`."""
        await self._driver.run(calls.embed(self._model, [prefix]))

    async def unpin(self, prefix: str) -> None:
        """Nothing is left to be let go of."""
