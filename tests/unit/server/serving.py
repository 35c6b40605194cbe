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
from handful.server.model_entry import ModelSource
from handful.server.registry import ModelRegistry
from handful.server.state import ServerState
from handful.server.task_registry import ServedTask, TaskRegistry
from handful.task.task import Example, Task
from handful.types import (
    ChatTemplate,
    Completion,
    Generation,
    GenerationParameters,
    ModelInfo,
    Prompt,
    Score,
    StreamEvent,
    TextSpan,
    Token,
)

Result = TypeVar("Result")

SENTIMENT = Task(
    name="sentiment",
    input="Review: {text}",
    output="Sentiment: {output}",
    labels=("positive", "negative"),
    calibration="none",  # what the fake is asked is then what the request asks
    examples=(Example({"text": "Good."}, "positive"), Example({"text": "Bad."}, "negative")),
)
UPPER = Task(name="upper", examples=(Example({"input": "a"}, "A"),))


@dataclass
class FakeStats:
    is_alive: bool = True
    seconds_since_step: float = 0.0
    num_waiting: int = 0
    num_running: int = 0
    num_slots: int = 1000
    num_held_slots: int = 0
    num_free_slots: int = 1000
    num_steps: int = 0
    num_finished: int = 0
    num_failed: int = 0
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_generated_tokens: int = 0
    num_drafted_tokens: int = 0
    num_accepted_tokens: int = 0
    num_forced_tokens: int = 0


@dataclass(eq=False)
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
    chat_template: ChatTemplate | None = None
    prompts: list[Prompt] = field(default_factory=list)
    parameters: list[GenerationParameters] = field(default_factory=list)

    num_bytes: int = 0

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

    async def generate(self, prompt: Prompt, parameters: GenerationParameters) -> Generation:
        async with self._running():
            self._note(prompt, parameters)
            words = [Token(i, f" w{i}") for i in range(1, parameters.max_new_tokens + 1)]
            text = "".join(token.text for token in words)
            made = [Completion(text, "length", tokens=tuple(words)) for _ in range(parameters.n)]
            read = tuple(Token(i, word) for i, word in enumerate(_words(prompt))) if parameters.echo else ()
            return Generation(tuple(made), len(_words(prompt)), 1, read, " ".join(t.text for t in read))

    async def stream(self, prompt: Prompt, parameters: GenerationParameters) -> AsyncIterator[StreamEvent]:
        async with self._running():
            self._note(prompt, parameters)
            for i in range(1, parameters.max_new_tokens + 1):
                if i == self.fail_at_token:
                    raise HandfulError("It broke.")
                yield StreamEvent(f" w{i}", Token(i, f" w{i}", -1.0))
                await asyncio.sleep(0.001)
            text = "".join(f" w{i}" for i in range(1, parameters.max_new_tokens + 1))
            if not self.ends_streams:
                return
            words = tuple(Token(i, f" w{i}") for i in range(1, parameters.max_new_tokens + 1))
            yield StreamEvent("", None, Generation((Completion(text, "length", tokens=words),), len(_words(prompt))))

    def _note(self, prompt: Prompt, parameters: GenerationParameters) -> None:
        self.prompts.append(prompt)
        self.parameters.append(parameters)

    async def score(self, prompt: str, continuations: Sequence[str]) -> Score:
        async with self._running():
            return Score(tuple(-float(i + 1) for i in range(len(continuations))), (1,) * len(continuations), 5)

    async def embed(self, text: Prompt, *, layer: int | None = None) -> NDArray[np.float32]:
        return np.array([3, 4, 0, 0], dtype=np.float32)

    async def tokenize(self, text: str, *, add_special: bool = True) -> tuple[TextSpan, ...]:
        marks = (TextSpan(0, "<s>", 0, 0),) if add_special else ()
        return (*marks, *(TextSpan(ord(letter), letter, i, i + 1) for i, letter in enumerate(text)))

    async def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def pin(self, prefix: str) -> None:
        self.pinned.append(prefix)

    async def unpin(self, prefix: str) -> None:
        self.pinned.remove(prefix)


def _words(prompt: Prompt) -> list[str]:
    return prompt.split() if isinstance(prompt, str) else [str(i) for i in prompt]


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
