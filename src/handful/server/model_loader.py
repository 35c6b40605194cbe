"""Loading models in threads, one after the other: those a server starts with, and lazy ones when they are asked."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress

from handful.errors import EngineError
from handful.server.errors import ForbiddenError
from handful.server.garbage import collect_all
from handful.server.model_entry import ModelEntry
from handful.server.model_room import ModelRoom
from handful.server.served_model import ServedModel

UNLOAD_S = 30.0
"""How long a model that leaves may finish what it has accepted."""
RETRY_S = 5.0
"""A lazy model that couldn't be loaded isn't tried again for so long."""
_log = logging.getLogger("handful.server")


class ModelLoader:
    """Loads the entries of a registry. Belongs to one event loop."""

    def __init__(self, entries: Mapping[str, ModelEntry], room: ModelRoom) -> None:
        self._entries, self._room = entries, room
        self._threads: list[threading.Thread] = []
        self._turn = threading.Lock()  # Transformers can't load two models at once
        self._on_settled: Callable[[ModelEntry], None] = lambda _: None
        self._has_started = False

    @property
    def is_busy(self) -> bool:
        """Whether a thread is loading something."""
        return any(thread.is_alive() for thread in self._threads)

    def start(self, on_settled: Callable[[ModelEntry], None] = lambda _: None) -> None:
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
                if not self._room.fits_beside(entry):
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
        self._has_started = True
        self.load_pinned()

    def load_pinned(self) -> None:
        """Start loading the pinned models that are not in memory, once the server has started."""
        for entry in [each for each in self._entries.values() if each.is_pinned and each.loads_when_asked]:
            if self._has_started:
                with suppress(ForbiddenError):  # what takes its room is on its way itself: a request tries again
                    self.load_lazily(entry)

    def load_lazily(self, entry: ModelEntry) -> None:
        """Start loading a lazy model, unless it is loaded, or being loaded, or just failed."""
        now = time.monotonic()
        if entry.model is not None or entry.is_loading or (entry.failure and now < entry.retry_at):
            return
        self._room.check(entry)
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
                entry.load()
                self._make_room(entry, loop)  # what it takes may have become known only now
            with suppress(RuntimeError):  # the loop has closed: the server stopped while this was loading
                loop.call_soon_threadsafe(settle)

        self._start(load)

    def estimate_s(self, name: str) -> float:
        """How long until a model that is being loaded is ready.

        Loading goes one after the other, so the models in front count too; of lazy ones all that are on the way.
        """
        now, entry = time.monotonic(), self._entries[name]
        if entry.loads_when_asked:
            return sum(each.remaining_s(now) for each in self._entries.values() if each.is_loading)
        eager = [each for _, each in self._eager()]
        return sum(each.remaining_s(now) for each in eager[: eager.index(entry) + 1])

    def _eager(self) -> list[tuple[str, ModelEntry]]:
        """What is loaded at the start, in this order: pinned models have their room before others."""
        eager = [(name, entry) for name, entry in self._entries.items() if not entry.loads_when_asked]
        return sorted(eager, key=lambda named: not named[1].is_pinned)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="handful-load", daemon=True)
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()

    def _load(self, entry: ModelEntry) -> None:
        with self._turn:
            entry.load()

    def _make_room(self, entry: ModelEntry, loop: asyncio.AbstractEventLoop) -> None:
        """Let models leave until one fits. For the loading thread, which waits until they have finished."""
        if not self._room.budget_bytes:
            return
        leaving: Future[list[ServedModel]] = Future()
        try:
            loop.call_soon_threadsafe(lambda: leaving.set_result(self._room.take_out_for(entry)))
        except RuntimeError:  # the loop has closed: the server stopped meanwhile
            return
        left = leaving.result()
        for model in left:
            model.close(timeout_s=UNLOAD_S)
        if left:
            del left, model
            collect_all()  # its memory is needed now
