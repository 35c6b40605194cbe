"""Names and the models behind them. Models load one after the other in a thread, so the port answers at once.

Names are looked up, never resolved: no request makes the server read a path or fetch anything.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from handful.backend import AsyncBackend
from handful.errors import EngineError, HandfulError, InvalidInputError, NotFoundError, NotReadyError
from handful.protocol.names import check_name
from handful.server.errors import fault
from handful.server.usage_backend import metered
from handful.types import ModelInfo

HELD_NOT_READY_S = 0.5
"""How long a 503 is held back: some clients send again at once, for ever."""
STALLED_S = 60.0
"""An engine that has requests and made no step for so long is taken out of readiness."""
_BYTES_PER_S = 150e6
_START_S = 5.0


class EngineStats(Protocol):
    """What the server wants to know of an engine."""

    @property
    def is_alive(self) -> bool:
        """Whether it still takes requests."""
        ...

    @property
    def seconds_since_step(self) -> float:
        """How long its requests have been waiting for a step; 0 without requests."""
        ...

    @property
    def num_waiting(self) -> int:
        """Requests in the queue."""
        ...

    @property
    def num_running(self) -> int:
        """Requests that are computed side by side."""
        ...

    @property
    def num_slots(self) -> int:
        """Tokens that the memory for keys and values has room for."""
        ...

    @property
    def num_held_slots(self) -> int:
        """Of these, held by what runs and is pinned."""
        ...

    @property
    def num_free_slots(self) -> int:
        """Of these, without content."""
        ...

    @property
    def num_steps(self) -> int:
        """Steps so far."""
        ...

    @property
    def num_finished(self) -> int:
        """Requests finished so far."""
        ...

    @property
    def num_failed(self) -> int:
        """Requests that failed or were given up so far."""
        ...

    @property
    def num_prompt_tokens(self) -> int:
        """Prompt tokens of all requests that ended."""
        ...

    @property
    def num_cached_tokens(self) -> int:
        """Of these, read from the cache."""
        ...

    @property
    def num_generated_tokens(self) -> int:
        """Tokens generated so far."""
        ...


class ServedModel(Protocol):
    """A model in this process, as `handful.local.load` gives it."""

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it runs."""
        ...

    def stats(self) -> EngineStats:
        """What its engine is doing now."""
        ...

    def asynchronous(self) -> AsyncBackend:
        """The model for an event loop."""
        ...

    def close(self, timeout_s: float | None = None) -> None:
        """Finish what was accepted, for at most `timeout_s`, then free the model."""
        ...


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A name and how to load what stands behind it. `size_bytes` of weights, 0 where unknown, serves the estimate."""

    name: str
    load: Callable[[], ServedModel]
    size_bytes: int = 0


@dataclass(slots=True)
class ModelEntry:
    """A model on its way from its source to being served. Written by the loading thread, read by the event loop."""

    source: ModelSource
    model: ServedModel | None = None
    backend: AsyncBackend | None = None
    failure: HandfulError | None = None
    started_at: float | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def state(self) -> str:
        """loading, failed (it never loaded), ready, stalled (no step for long), or dead (its engine stopped)."""
        if self.model is None:
            return "failed" if self.failure else "loading"
        stats = self.model.stats()
        if not stats.is_alive:
            return "dead"
        return "stalled" if stats.seconds_since_step > STALLED_S else "ready"

    def remaining_s(self, now: float) -> float:
        """How long its loading may still take: from its size at first; past that, half of what it took so far."""
        if self.settled.is_set():
            return 0.0
        expected = _START_S + self.source.size_bytes / _BYTES_PER_S
        elapsed = 0.0 if self.started_at is None else now - self.started_at
        return max(expected - elapsed, elapsed / 2, 1.0)


class ModelRegistry:
    """The models of a server, in the order in which they were named; the first is what a task without a model takes."""

    def __init__(self, sources: Iterable[ModelSource]) -> None:
        self._entries: dict[str, ModelEntry] = {}
        self._thread: threading.Thread | None = None
        self.was_abandoned = False
        for source in sources:
            check_name("model", source.name)
            if source.name in self._entries:
                raise InvalidInputError(f"Two models are named {source.name!r}.", fix="Use --model NAME=PATH.")
            self._entries[source.name] = ModelEntry(source)
        if not self._entries:
            raise InvalidInputError("A server needs at least one model.")

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return tuple(self._entries)

    def states(self) -> dict[str, str]:
        """Each model's state."""
        return {name: entry.state for name, entry in self._entries.items()}

    def entry(self, name: str) -> ModelEntry:
        """A model by its name. Raises NotFoundError."""
        entry = self._entries.get(name)
        if entry is None:
            served = ", ".join(self._entries)
            raise NotFoundError(f"Model {name[:200]} does not exist.", fix=f"This server has: {served}.")
        return entry

    def start_loading(self, on_settled: Callable[[ModelEntry], None] = lambda _: None) -> None:
        """Load the models in a thread, up to the first that fails.

        `on_settled` is called in the event loop for each that is ready or failed.
        """
        loop = asyncio.get_running_loop()

        def settle(entry: ModelEntry) -> None:
            entry.settled.set()
            on_settled(entry)

        def load_all() -> None:
            failed = ""
            for name, entry in self._entries.items():
                entry.started_at = time.monotonic()
                if failed:
                    entry.failure = EngineError(f"Not loaded, because {failed} could not be.")
                else:
                    _load(entry)
                    failed = name if entry.failure else ""
                try:
                    loop.call_soon_threadsafe(settle, entry)
                except RuntimeError:  # the loop has closed: the server stopped while this was loading
                    return

        # A daemon: a server that is told to stop doesn't wait for a model nobody will use.
        self._thread = threading.Thread(target=load_all, name="handful-load", daemon=True)
        self._thread.start()

    async def backend(self, name: str, *, wait_s: float = HELD_NOT_READY_S) -> AsyncBackend:
        """The model to ask, waiting at most `wait_s` for it to load.

        Raises NotFoundError, NotReadyError (with the time it may still take), EngineError (it can't be served).
        """
        entry = self.entry(name)
        try:
            await asyncio.wait_for(entry.settled.wait(), wait_s)
        except TimeoutError:
            raise NotReadyError(f"Model {name} is currently loading", estimated_time_s=self._estimate(name)) from None
        if entry.backend is None:
            raise EngineError(f"Model {name} could not be loaded.", fix="The server's log says why.")
        return metered(entry.backend, name)

    def _estimate(self, name: str) -> float:
        """Loading goes in order, so the models in front count too."""
        now, names = time.monotonic(), list(self._entries)
        return sum(self._entries[each].remaining_s(now) for each in names[: names.index(name) + 1])

    def close(self) -> None:
        """Free all models that were loaded. What they still compute then is given up: the drain is over.

        Where one is still being loaded nothing is freed and `was_abandoned` is set: the process has to end.
        """
        if self._thread is not None and self._thread.is_alive():
            self.was_abandoned = True
            return
        for entry in self._entries.values():
            if entry.model is not None:
                entry.model.close(timeout_s=0.0)


def _load(entry: ModelEntry) -> None:
    try:
        model = entry.source.load()
        entry.backend = model.asynchronous()
        entry.model = model
    except HandfulError as error:
        entry.failure = error
    except Exception as error:  # noqa: BLE001 - a thread's last resort; `fault` logs it, and the server says 500
        entry.failure = fault(error)
