"""Several streamed completions as one stream of chunks, and what every OpenAI request does first."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from starlette.requests import Request

from handful.backend import AsyncBackend
from handful.errors import EngineError
from handful.protocol.openai_answer import Heading
from handful.server.attend import Watch, closing
from handful.server.model_wish import model_of
from handful.server.openai_models import named_model
from handful.server.state import ServerState
from handful.types import GenerationParameters, Prompt, StreamEvent

MAX_EVENTS_AHEAD = 256
"""Events that may wait for a slow reader; then the streams are held back."""


class ChunkWriter(Protocol):
    """Turns the events of numbered streams into JSON-ready chunks."""

    def chunks(self, index: int, event: StreamEvent) -> list[dict[str, Any]]:
        """The chunks of one event of stream `index`."""
        ...

    def last_chunks(self) -> list[dict[str, Any]]:
        """What follows the last event of all."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose body is read: its model, and what ends the work for it."""

    model: str
    backend: AsyncBackend
    watch: Watch

    def heading(self, prefix: str) -> Heading:
        """The heading of its answer."""
        return Heading(f"{prefix}-{uuid.uuid4().hex}", int(time.time()), self.model)


async def begin(
    request: Request, state: ServerState, named: str | None, route_model: str | None, *, for_vectors: bool = False
) -> Asked:
    """Find the model that a request means, waiting for it and loading it as the request's headers say."""
    model = named_model(state.models, named, route_model, for_vectors=for_vectors)
    watch = state.watch(request)
    return Asked(model, await model_of(request, model, watch), watch)


async def chunks(
    backend: AsyncBackend, prompts: Sequence[Prompt], parameters: GenerationParameters, writer: ChunkWriter
) -> AsyncGenerator[dict[str, Any], None]:
    """The chunks of `n` streams for each prompt, side by side; with a seed, text `i` of a prompt has seed + i."""
    streams = [backend.stream(prompt, each) for prompt in prompts for each in _singles(parameters)]
    num_open = len(streams)
    async with closing(merged(streams)) as events:
        async for index, event in events:
            num_open -= event.generation is not None
            for chunk in writer.chunks(index, event):
                yield chunk
    if num_open:
        raise EngineError("The stream ended before its text did.")
    for chunk in writer.last_chunks():
        yield chunk


def _singles(parameters: GenerationParameters) -> list[GenerationParameters]:
    seed = parameters.seed
    seeds = [None if seed is None else (seed + i) % 2**63 for i in range(parameters.n)]
    # A stream tells nothing of its prompt's tokens; the text of an echoed prompt is the writer's affair.
    return [replace(parameters, n=1, best_of=None, echo=False, seed=each) for each in seeds]


async def merged(streams: Sequence[AsyncIterator[StreamEvent]]) -> AsyncGenerator[tuple[int, StreamEvent], None]:
    """The events of all streams as they come, each with its stream's number. The first that fails ends the others."""
    queue: asyncio.Queue[tuple[int, StreamEvent] | None] = asyncio.Queue(MAX_EVENTS_AHEAD)

    async def pump(index: int, stream: AsyncIterator[StreamEvent]) -> None:
        async with closing(stream) as events:
            async for event in events:
                await queue.put((index, event))

    async def pump_all() -> None:
        async with asyncio.TaskGroup() as group:
            for index, stream in enumerate(streams):
                group.create_task(pump(index, stream))

    pumping = asyncio.ensure_future(pump_all())
    ended = asyncio.ensure_future(_then_tell(pumping, queue))
    try:
        while (item := await queue.get()) is not None:
            yield item
        _raise_first(pumping)
    finally:
        for task in (ended, pumping):
            task.cancel()
        await asyncio.gather(pumping, ended, return_exceptions=True)


async def _then_tell(pumping: "asyncio.Future[None]", queue: asyncio.Queue[Any]) -> None:
    await asyncio.wait({pumping})
    await queue.put(None)


def _raise_first(pumping: "asyncio.Future[None]") -> None:
    """Raise what the first failed stream raised, out of its group."""
    error: BaseException | None = pumping.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error
