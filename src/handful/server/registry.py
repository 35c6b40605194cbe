"""Names and the models behind them. Models load one after the other in a thread, so the port answers at once.

Names are looked up, never resolved: no request makes the server read a path or fetch anything.
"""

import asyncio
import gc
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from handful.backend import AsyncBackend
from handful.errors import ConflictError, EngineError, HandfulError, InvalidInputError, NotFoundError, NotReadyError
from handful.model.download_progress import told_to
from handful.protocol.names import check_name
from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.server.errors import ForbiddenError, fault
from handful.server.memory_budget import Resident, to_unload
from handful.server.ownership import visible
from handful.server.usage_backend import metered
from handful.types import ModelInfo

HELD_NOT_READY_S = 0.5
"""How long a 503 is held back: some clients send again at once, for ever."""
STALLED_S = 60.0
"""An engine that has requests and made no step for so long is taken out of readiness."""
UNLOAD_S = 30.0
"""How long a model that leaves may finish what it has accepted."""
RETRY_S = 5.0
"""A lazy model that couldn't be loaded isn't tried again for so long."""
_log = logging.getLogger("handful.server")
_BYTES_PER_S = 150e6
_START_S = 5.0
_LOGGED_PARTS = 20


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
    """A name and how to load what stands behind it. `size_bytes` of weights, 0 where unknown, serves the estimate.

    `private_to` is the account whose tokens alone see the model; see ownership.py. `task` is what the model is for, by
    its files; None where that shows only when it has loaded. One that `is_lazy` is loaded when it is first asked.
    """

    name: str
    load: Callable[[], ServedModel]
    size_bytes: int = 0
    private_to: str | None = None
    task: str | None = TEXT_GENERATION
    is_lazy: bool = False


@dataclass(slots=True)
class ModelEntry:
    """A model on its way from its source to being served. Written by the loading thread, read by the event loop."""

    source: ModelSource
    model: ServedModel | None = None
    backend: AsyncBackend | None = None
    failure: HandfulError | None = None
    started_at: float | None = None
    retry_at: float = 0.0
    used_at: float = 0.0
    is_pinned: bool = False
    is_on_demand: bool = False
    downloaded: tuple[int, int] | None = None  # bytes done, bytes in all, while it is downloaded
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def state(self) -> str:
        """loading, failed (it never loaded), ready, stalled (no step for long), or dead (its engine stopped).

        A lazy one is unloaded until it is first asked, and again when it couldn't be loaded; with a memory budget any
        other, too, as long as there is no room for it.
        """
        if self.model is None and self.loads_when_asked:
            return "loading" if self.is_loading else "unloaded"
        if self.model is None:
            return "failed" if self.failure else "loading"
        stats = self.model.stats()
        if not stats.is_alive:
            return "dead"
        return "stalled" if stats.seconds_since_step > STALLED_S else "ready"

    @property
    def task(self) -> str | None:
        """What the model is for; None as long as nobody knows."""
        return getattr(self.model, "task", TEXT_GENERATION) if self.model is not None else self.source.task

    @property
    def loads_when_asked(self) -> bool:
        """Whether a request makes the server load it."""
        return self.source.is_lazy or self.is_on_demand

    @property
    def num_bytes(self) -> int:
        """What its weights take in memory; before it has loaded, what they take on disk (0 where unknown)."""
        return (self.model.info.weight_bytes if self.model is not None else 0) or self.source.size_bytes

    @property
    def is_loading(self) -> bool:
        """Whether it is being loaded now."""
        return self.started_at is not None and not self.settled.is_set()

    def note_download(self, num_done: int, num_all: int) -> None:
        """How far its download is: for `GET /status`, and now and then for the log."""
        part = num_done * _LOGGED_PARTS // max(num_all, 1)
        before = -1 if self.downloaded is None else self.downloaded[0] * _LOGGED_PARTS // max(self.downloaded[1], 1)
        self.downloaded = num_done, num_all
        if part > before:
            said = {"event": "downloading", "model": self.source.name, "bytes": num_done, "of": num_all}
            _log.info(json.dumps(said))

    def remaining_s(self, now: float) -> float:
        """How long its loading may still take: from its size at first; past that, half of what it took so far."""
        if self.settled.is_set():
            return 0.0
        expected = _START_S + self.source.size_bytes / _BYTES_PER_S
        elapsed = 0.0 if self.started_at is None else now - self.started_at
        return max(expected - elapsed, elapsed / 2, 1.0)


class ModelRegistry:
    """The models of a server, in the order in which they were named; the first is what a task without a model takes.

    Where `budget_bytes` isn't 0, so many bytes of weights are in memory at a time (`memory_budget.py`): the first that
    fit are loaded at the start, the others when they are asked, and then those leave that were asked longest ago.
    `on_unloaded` is called in the event loop when one leaves; what it has accepted is finished.
    """

    def __init__(self, sources: Iterable[ModelSource], *, budget_bytes: int = 0) -> None:
        self.budget_bytes = budget_bytes
        self.on_unloaded: Callable[[ModelEntry], None] = lambda _: None
        self._entries: dict[str, ModelEntry] = {}
        self._threads: list[threading.Thread] = []
        self._turn = threading.Lock()  # Transformers can't load two models at once
        self._on_settled: Callable[[ModelEntry], None] = lambda _: None
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
        """The names of the models that the caller sees."""
        return tuple(name for name, entry in self._entries.items() if visible(entry.source.private_to))

    def states(self) -> dict[str, str]:
        """The state of each model that the caller sees."""
        return {name: self._entries[name].state for name in self.names}

    def all_states(self) -> dict[str, str]:
        """The state of every model, for who watches over them; never for an answer."""
        return {name: entry.state for name, entry in self._entries.items()}

    def entry(self, name: str) -> ModelEntry:
        """A model by its name, among those that the caller sees. Raises NotFoundError."""
        entry = self._entries.get(name)
        if entry is None or not visible(entry.source.private_to):
            served = ", ".join(self.names)
            raise NotFoundError(f"Model {name[:200]} does not exist.", fix=f"This server has: {served}.")
        return entry

    def add(self, source: ModelSource) -> None:
        """Serve one model more, a lazy one. Raises ConflictError where the name is taken, InvalidInputError."""
        check_name("model", source.name)
        self.check_free(source.name)
        self._entries[source.name] = ModelEntry(source)

    def check_free(self, name: str) -> None:
        """Raise ConflictError where a model has a name, whoever sees it: to be asked about one's own names only."""
        if name in self._entries:
            raise ConflictError(f"There is already a model named {name}.", fix="Choose another name.")

    def remove(self, name: str) -> "ServedModel | None":
        """Serve a model no longer; returns it for its end, where it had loaded. ConflictError while it is loading."""
        entry = self._entries[name]
        if entry.is_loading:
            raise ConflictError(f"Model {name} is being loaded.", fix="Try again when it has loaded.")
        del self._entries[name]
        if entry.model is not None:
            self.on_unloaded(entry)
        return entry.model

    def start_loading(self, on_settled: Callable[[ModelEntry], None] = lambda _: None) -> None:
        """Load the models in a thread, up to the first that fails; the lazy ones not yet.

        `on_settled` is called in the event loop for each that is ready or failed; for a lazy one when it is ready.
        """
        loop = asyncio.get_running_loop()
        self._on_settled = on_settled

        def settle(entry: ModelEntry) -> None:
            entry.settled.set()
            on_settled(entry)

        def load_all() -> None:
            failed = ""
            for name, entry in self._eager():
                if not self._fits_beside(entry):
                    entry.is_on_demand = True
                    continue
                entry.started_at = time.monotonic()
                if failed:
                    entry.failure = EngineError(f"Not loaded, because {failed} could not be.")
                else:
                    self._load(entry)
                    failed = name if entry.failure else ""
                try:
                    loop.call_soon_threadsafe(settle, entry)
                except RuntimeError:  # the loop has closed: the server stopped while this was loading
                    return

        # A daemon: a server that is told to stop doesn't wait for a model nobody will use.
        self._start(load_all)

    def _eager(self) -> list[tuple[str, ModelEntry]]:
        return [(name, entry) for name, entry in self._entries.items() if not entry.loads_when_asked]

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="handful-load", daemon=True)
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()

    def _load_lazily(self, entry: ModelEntry) -> None:
        """Start loading a lazy model, unless it is loaded, or being loaded, or just failed."""
        now = time.monotonic()
        if entry.model is not None or entry.is_loading or (entry.failure and now < entry.retry_at):
            return
        self._check_room(entry)
        loop = asyncio.get_running_loop()
        entry.started_at, entry.failure, entry.settled = now, None, asyncio.Event()

        def settle() -> None:
            entry.settled.set()
            if entry.failure is None:
                return self._on_settled(entry)
            entry.retry_at = time.monotonic() + RETRY_S
            problem = {"event": "model not loaded", "model": entry.source.name, "problem": str(entry.failure)}
            return _log.error(json.dumps(problem))

        def load() -> None:
            with self._turn:
                self._make_room(entry, loop)
                _load(entry)
                self._make_room(entry, loop)  # what it takes may have become known only now
            with suppress(RuntimeError):  # the loop has closed: the server stopped while this was loading
                loop.call_soon_threadsafe(settle)

        self._start(load)

    def _load(self, entry: ModelEntry) -> None:
        with self._turn:
            _load(entry)

    def _residents(self, but: ModelEntry) -> list[Resident]:
        """The models that take up room, and those that soon will."""
        return [
            Resident(
                name=name,
                num_bytes=each.num_bytes,
                used_at=each.used_at,
                is_busy=each.is_loading or _is_busy(each.model),
                is_pinned=each.is_pinned,
            )
            for name, each in list(self._entries.items())
            if each is not but and (each.model is not None or each.is_loading)
        ]

    def _fits_beside(self, entry: ModelEntry) -> bool:
        return to_unload(self._residents(entry), entry.num_bytes, self.budget_bytes) == []

    def _check_room(self, entry: ModelEntry) -> None:
        """ForbiddenError where room for a model can't be made."""
        if self.is_too_big(entry):
            needed, given = (f"{number / 2**20:.0f} MiB" for number in (entry.num_bytes, self.budget_bytes))
            problem = f"Model {entry.source.name} is too large to be loaded ({needed} > {given})."
            raise ForbiddenError(problem, fix="The server's HANDFUL_MODEL_MEMORY_MB says how much may be.")
        if to_unload(self._residents(entry), entry.num_bytes, self.budget_bytes) is None:
            problem = f"There is no room for model {entry.source.name} beside the models that are pinned."
            raise ForbiddenError(problem, fix="Pin fewer with POST /usage/pinned_models.")

    def _make_room(self, entry: ModelEntry, loop: asyncio.AbstractEventLoop) -> None:
        """Let models leave until one fits. For the loading thread, which waits until they have finished."""
        if not self.budget_bytes:
            return
        leaving: Future[list[ServedModel]] = Future()
        try:
            loop.call_soon_threadsafe(lambda: leaving.set_result(self._take_out_for(entry)))
        except RuntimeError:  # the loop has closed: the server stopped meanwhile
            return
        for model in leaving.result():
            model.close(timeout_s=UNLOAD_S)
        gc.collect()  # a model is a circle of references: its memory is needed now

    def _take_out_for(self, entry: ModelEntry) -> list[ServedModel]:
        """The models that have to leave for another; from now on requests for them load them again."""
        residents = self._residents(entry)
        names = to_unload(residents, entry.num_bytes, self.budget_bytes)
        if names is None:  # it turned out larger than its files, or models were pinned meanwhile
            names = [each.name for each in residents if not each.is_pinned]
        left = []
        for each in (self._entries[name] for name in names):
            if each.model is None:  # it is being loaded: its turn comes after this one's
                continue
            left.append(each.model)
            each.model, each.backend, each.started_at, each.is_on_demand = None, None, None, True
            each.settled = asyncio.Event()
            self.on_unloaded(each)
            _log.info(json.dumps({"event": "model unloaded", "model": each.source.name, "for": entry.source.name}))
        return left

    async def backend(self, name: str, *, wait_s: float = HELD_NOT_READY_S, may_load: bool = True) -> AsyncBackend:
        """The model to ask, waiting at most `wait_s` for it to load. A lazy one is loaded now, if it `may_load`.

        Raises NotFoundError, NotReadyError (with the time it may still take), EngineError (it can't be served).
        """
        entry = self.entry(name)
        entry.used_at = time.monotonic()
        if entry.loads_when_asked:
            if not may_load and entry.model is None:
                raise NotReadyError(f"Model {name} is not loaded", estimated_time_s=entry.remaining_s(time.monotonic()))
            self._load_lazily(entry)
        try:
            await asyncio.wait_for(entry.settled.wait(), wait_s)
        except TimeoutError:
            raise NotReadyError(f"Model {name} is currently loading", estimated_time_s=self.estimate_s(name)) from None
        if entry.backend is None:
            raise EngineError(f"Model {name} could not be loaded.", fix="The server's log says why.")
        return metered(entry.backend, name)

    @property
    def device(self) -> str:
        """Where models run, as far as one shows it: all are loaded alike."""
        return next((each.model.info.device for each in self._entries.values() if each.model is not None), "cpu")

    def is_too_big(self, entry: ModelEntry) -> bool:
        """Whether a model could not be loaded even alone."""
        return to_unload([], entry.num_bytes, self.budget_bytes) is None

    def pin(self, names: Iterable[str]) -> None:
        """Keep models in memory, and of those that the caller sees no others; loads them where they aren't.

        All or none: raises NotFoundError, and ForbiddenError where they don't fit into the memory together.
        """
        pinned = {name: self.entry(name) for name in names}
        others = [each for name, each in self._entries.items() if name not in self.names and each.is_pinned]
        num_bytes = sum(each.num_bytes for each in (*pinned.values(), *others))
        if to_unload([], num_bytes, self.budget_bytes) is None:
            raise ForbiddenError("These models don't fit into the memory together.", fix="Pin fewer.")
        for name in self.names:
            self._entries[name].is_pinned = name in pinned
        for entry in pinned.values():
            if entry.loads_when_asked:
                self._load_lazily(entry)

    def estimate_s(self, name: str) -> float:
        """How long until a model that is being loaded is ready.

        Loading goes one after the other, so the models in front count too; of lazy ones all that are on the way.
        """
        now, entry = time.monotonic(), self._entries[name]
        if entry.loads_when_asked:
            return sum(each.remaining_s(now) for each in self._entries.values() if each.is_loading)
        eager = [each for _, each in self._eager()]
        return sum(each.remaining_s(now) for each in eager[: eager.index(entry) + 1])

    def close(self) -> None:
        """Free all models that were loaded. What they still compute then is given up: the drain is over.

        Where one is still being loaded nothing is freed and `was_abandoned` is set: the process has to end. It is set
        as well where one computes on and can't be stopped.
        """
        if any(thread.is_alive() for thread in self._threads):
            self.was_abandoned = True
            return
        for entry in self._entries.values():
            if entry.model is not None:
                entry.model.close(timeout_s=0.0)
                self.was_abandoned |= getattr(entry.model, "is_computing", False)


def _is_busy(model: ServedModel | None) -> bool:
    if model is None:
        return False
    stats = model.stats()
    return stats.num_waiting + stats.num_running > 0


def _load(entry: ModelEntry) -> None:
    try:
        with told_to(entry.note_download):
            model = entry.source.load()
        entry.backend = model.asynchronous()
        entry.model = model
    except HandfulError as error:
        entry.failure = error
    except Exception as error:  # noqa: BLE001 - a thread's last resort; `fault` logs it, and the server says 500
        entry.failure = fault(error)
    entry.downloaded = None
