"""Names and the models behind them: which there are for a caller, and the one that a request asks.

Names are looked up, never resolved: no request makes the server read a path or fetch anything. Models load in threads
(model_loader.py), so the port answers at once, and leave when another needs their room (model_room.py).
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Set

from handful.backend import AsyncBackend
from handful.errors import ConflictError, EngineError, InvalidInputError, NotFoundError, NotReadyError
from handful.protocol.names import check_name
from handful.server.model_entry import ModelEntry, ModelSource
from handful.server.model_loader import ModelLoader
from handful.server.model_room import ModelRoom
from handful.server.ownership import visible
from handful.server.served_model import ServedModel
from handful.server.usage_backend import metered

HELD_NOT_READY_S = 0.5
"""How long a 503 is held back: some clients send again at once, for ever."""


class ModelRegistry:
    """The models of a server, in the order in which they were named; the first is what a task without a model takes.

    Where `budget_bytes` isn't 0, so many bytes are taken by models at a time (`room`): the first that fit are loaded at
    the start, the others when they are asked, and then those leave that were asked longest ago.
    """

    def __init__(self, sources: Iterable[ModelSource], *, budget_bytes: int = 0) -> None:
        self._entries: dict[str, ModelEntry] = {}
        self.room = ModelRoom(self._entries, budget_bytes)
        self._loader = ModelLoader(self._entries, self.room)
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
            self.room.on_unloaded(entry)
        return entry.model

    def start_loading(self, on_settled: Callable[[ModelEntry], None] = lambda _: None) -> None:
        """Load the models in a thread, up to the first that fails; the lazy ones not yet.

        `on_settled` is called in the event loop for each that is ready or failed; for a lazy one when it is ready.
        """
        self._loader.start(on_settled)

    def ready(self, name: str) -> AsyncBackend | None:
        """The model to ask, where it needn't be waited for. Raises NotFoundError."""
        entry = self.entry(name)
        if entry.model is None or entry.backend is None or not entry.settled.is_set():
            return None
        entry.used_at = time.monotonic()
        return metered(entry.backend, name)

    async def backend(self, name: str, *, wait_s: float = HELD_NOT_READY_S, may_load: bool = True) -> AsyncBackend:
        """The model to ask, waiting at most `wait_s` for it to load. A lazy one is loaded now, if it `may_load`.

        Raises NotFoundError, NotReadyError (with the time it may still take), EngineError (it can't be served),
        InvalidInputError (it can't either, and that is its owner's affair).
        """
        entry = self.entry(name)
        entry.used_at = time.monotonic()
        if entry.loads_when_asked:
            if not may_load and entry.model is None:
                raise NotReadyError(f"Model {name} is not loaded", estimated_time_s=entry.remaining_s(time.monotonic()))
            self._loader.load_lazily(entry)
        try:
            await asyncio.wait_for(entry.settled.wait(), wait_s)
        except TimeoutError:
            raise NotReadyError(f"Model {name} is currently loading", estimated_time_s=self.estimate_s(name)) from None
        if entry.backend is None:
            if isinstance(entry.failure, NotReadyError) and entry.loads_when_asked:
                again_s = max(entry.retry_at - time.monotonic(), 1.0)
                raise NotReadyError(f"Model {name} could not be fetched; it is tried again", estimated_time_s=again_s)
            if entry.source.is_registered and isinstance(entry.failure, InvalidInputError):
                raise InvalidInputError(entry.failure.message, fix=entry.failure.fix)
            raise EngineError(f"Model {name} could not be loaded.", fix="The server's log says why.")
        return metered(entry.backend, name)

    @property
    def device(self) -> str:
        """Where models run, as far as one shows it: all are loaded alike."""
        return next((each.model.info.device for each in self._entries.values() if each.model is not None), "cpu")

    def estimate_s(self, name: str) -> float:
        """How long until a model that is being loaded is ready."""
        return self._loader.estimate_s(name)

    def check_pins(self, names: Iterable[str]) -> None:
        """NotFoundError, and ForbiddenError where models don't fit beside each other and what others have pinned."""
        pinned = [self.entry(name) for name in names]
        others = [each for name, each in self._entries.items() if name not in self.names and each.is_pinned]
        self.room.check_together((*pinned, *others))

    def pin(self, names: Iterable[str]) -> None:
        """Keep models in memory, and of those that the caller sees no others; loads them where they aren't."""
        wanted = set(names)
        for name in self.names:
            self._entries[name].is_pinned = name in wanted
        self._loader.load_pinned()

    def adopt_pins(self, names: Set[str]) -> frozenset[str]:
        """Keep these models in memory and no others, whoever sees them. Returns those that there is no room for."""
        left: set[str] = set()
        pinned: list[ModelEntry] = []
        before = [entry.is_pinned for entry in self._entries.values()]
        for name, entry in self._entries.items():
            entry.is_pinned = name in names and self.room.fit_together((*pinned, entry))
            pinned += [entry] if entry.is_pinned else []
            left |= {name} if name in names and not entry.is_pinned else set()
        if before != [entry.is_pinned for entry in self._entries.values()]:
            self._loader.load_pinned()
        return frozenset(left)

    def close(self) -> None:
        """Free all models that were loaded. What they still compute then is given up: the drain is over.

        Where one is still being loaded nothing is freed and `was_abandoned` is set: the process has to end. It is set
        as well where one computes on and can't be stopped.
        """
        if self._loader.is_busy:
            self.was_abandoned = True
            return
        for entry in self._entries.values():
            if entry.model is not None:
                entry.model.close(timeout_s=0.0)
                self.was_abandoned |= getattr(entry.model, "is_computing", False)
