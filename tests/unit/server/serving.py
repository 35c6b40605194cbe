"""An app in this process over a model that is made up, for the server's tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray

from handful.backend import AsyncBackend
from handful.errors import BusyError, HandfulError
from handful.server.app import create_app
from handful.server.registry import ModelRegistry, ModelSource
from handful.server.state import ServerState
from handful.server.task_registry import ServedTask, TaskRegistry
from handful.task.task import Example, Task
from handful.types import Completion, Generation, GenerationParameters, ModelInfo, Score, StreamEvent, Token

Result = TypeVar("Result")

SENTIMENT = Task(
    name="sentiment",
    input="Review: {text}",
    output="Sentiment: {output}",
    labels=("positive", "negative"),
    examples=(Example({"text": "Good."}, "positive"), Example({"text": "Bad."}, "negative")),
)
UPPER = Task(name="upper", examples=(Example({"input": "a"}, "A"),))


@dataclass
class FakeStats:
    is_alive: bool = True
    seconds_since_step: float = 0.0


@dataclass
class FakeModel:
    """Answers " w1 w2 ..." of `max_new_tokens` words. `gate` holds answers back; `error` is raised instead of one."""

    error: Exception | None = None
    load_error: Exception | None = None
    load_s: float = 0.0
    max_running: int = 1000
    gate: asyncio.Event | None = None
    fail_at_token: int | None = None
    ends_streams: bool = True
    num_running: int = 0
    num_aborted: int = 0
    pinned: list[str] = field(default_factory=list)
    statistics: FakeStats = field(default_factory=FakeStats)
    is_closed: bool = False

    info = ModelInfo("fake", "fake", "native", 1, 10_000, 10, 4, 1, "float32", "cpu", revision="abc123")

    def load(self) -> "FakeModel":
        time.sleep(self.load_s)
        if self.load_error is not None:
            raise self.load_error
        return self

    def stats(self) -> FakeStats:
        return self.statistics

    def asynchronous(self) -> AsyncBackend:
        return self

    def close(self, timeout_s: float | None = None) -> None:
        self.is_closed = True

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        if self.num_running >= self.max_running:
            raise BusyError("The queue is full.", retry_after_s=2)
        self.num_running += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.error is not None:
                raise self.error
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.num_aborted += 1
            raise
        finally:
            self.num_running -= 1

    async def generate(self, prompt: str, parameters: GenerationParameters) -> Generation:
        async with self._running():
            words = [Token(i, f" w{i}") for i in range(1, parameters.max_new_tokens + 1)]
            text = "".join(token.text for token in words)
            made = [Completion(text, "length", tokens=tuple(words)) for _ in range(parameters.n)]
            return Generation(tuple(made), len(prompt.split()), 1)

    async def stream(self, prompt: str, parameters: GenerationParameters) -> AsyncIterator[StreamEvent]:
        async with self._running():
            for i in range(1, parameters.max_new_tokens + 1):
                if i == self.fail_at_token:
                    raise HandfulError("It broke.")
                yield StreamEvent(f" w{i}", Token(i, f" w{i}", -1.0))
                await asyncio.sleep(0.001)
            text = "".join(f" w{i}" for i in range(1, parameters.max_new_tokens + 1))
            if not self.ends_streams:
                return
            yield StreamEvent("", None, Generation((Completion(text, "length"),), 1))

    async def score(self, prompt: str, continuations: Sequence[str]) -> Score:
        async with self._running():
            return Score(tuple(-float(i + 1) for i in range(len(continuations))), (1,) * len(continuations), 5)

    async def embed(self, text: str) -> NDArray[np.float32]:
        return np.zeros(4, dtype=np.float32)

    async def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def pin(self, prefix: str) -> None:
        self.pinned.append(prefix)

    async def unpin(self, prefix: str) -> None:
        self.pinned.remove(prefix)


def state_with(model: FakeModel, *tasks: Task, **fields: Any) -> ServerState:
    models = ModelRegistry([ModelSource("fake", model.load), ModelSource("org/fake", model.load)])
    served = TaskRegistry(ServedTask(task, "fake") for task in tasks)
    return ServerState(models=models, tasks=served, **fields)


@asynccontextmanager
async def client_of(state: ServerState, *, wait: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app in this process, its models loaded (unless told not to wait for them)."""
    app = create_app(state)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        if wait:
            for name in state.models.names:
                await state.models.entry(name).settled.wait()
        yield client


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a test's coroutine, for at most ten seconds."""
    return asyncio.run(asyncio.wait_for(work, 10))


async def until(condition: Any) -> None:
    """Wait until `condition()` holds."""
    while not condition():
        await asyncio.sleep(0.002)


def ask(model: FakeModel, path: str, content: bytes | str, **fields: Any) -> httpx.Response:
    """One POST to an app with `fake`, `org/fake`, and the tasks `sentiment` and `upper`."""
    headers = fields.pop("headers", {})

    async def post() -> httpx.Response:
        async with client_of(state_with(model, SENTIMENT, UPPER, **fields)) as client:
            return await client.post(path, content=content, headers=headers)

    return run(post())
