"""A model on its way from its source to being served: its states, and what is known of its loading."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from handful.backend import AsyncBackend
from handful.errors import HandfulError
from handful.model.download_progress import told_to
from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.server.errors import fault
from handful.server.served_model import ServedModel

STALLED_S = 60.0
"""An engine that has requests and made no step for so long is taken out of readiness."""
_log = logging.getLogger("handful.server")
_BYTES_PER_S = 150e6
_START_S = 5.0
_ASSUMED_DOWNLOAD = 1.0, 10_000_000
"""Seconds and bytes taken to have come already: by itself, the first half second without a byte promises years."""
_LOGGED_PARTS = 20


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A name and how to load what stands behind it. `size_bytes` of weights, 0 where unknown, serves the estimate of
    its time; with `kv_bytes`, the room for its keys and values, it is what it needs of the memory.

    `private_to` is the account whose tokens alone see the model; see ownership.py. `task` is what the model is for, by
    its files; None where that shows only when it has loaded. One that `is_lazy` is loaded when it is first asked. Of
    one that `is_registered` callers are told what is wrong with its files: its owner can change them.
    """

    name: str
    load: Callable[[], ServedModel]
    size_bytes: int = 0
    kv_bytes: int = 0
    private_to: str | None = None
    task: str | None = TEXT_GENERATION
    is_lazy: bool = False
    is_registered: bool = False


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
    download_began: tuple[float, int] = (0.0, 0)  # when, and how many bytes were there already
    noted_at: float = 0.0
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
        """What it may take in memory; before it has loaded, by its files and what is set for keys and values."""
        loaded = self.model.num_bytes if self.model is not None else 0
        return loaded or self.source.size_bytes + self.source.kv_bytes

    @property
    def is_busy(self) -> bool:
        """Whether it computes something now."""
        if self.model is None:
            return False
        stats = self.model.stats()
        return stats.num_waiting + stats.num_running > 0

    @property
    def is_loading(self) -> bool:
        """Whether it is being loaded now."""
        return self.started_at is not None and not self.settled.is_set()

    def note_download(self, num_done: int, num_all: int) -> None:
        """How far its download is: for `GET /status`, and now and then for the log."""
        self.noted_at = time.monotonic()
        if self.downloaded is None or num_done < self.downloaded[0] or self.downloaded[0] == self.downloaded[1]:
            self.download_began = self.noted_at, num_done  # the first of a row of downloads, or the next
        part = num_done * _LOGGED_PARTS // max(num_all, 1)
        before = -1 if self.downloaded is None else self.downloaded[0] * _LOGGED_PARTS // max(self.downloaded[1], 1)
        self.downloaded = num_done, num_all
        if part > before:
            said = {"event": "downloading", "model": self.source.name, "bytes": num_done, "of": num_all}
            _log.info(json.dumps(said))

    def remaining_s(self, now: float) -> float:
        """How long its loading may still take: while it is downloaded by the rate so far, else from its size at first;
        past that, half of what it took so far."""
        if self.settled.is_set():
            return 0.0
        if self.downloaded is not None:
            return self._remaining_with_download_s(now, *self.downloaded)
        expected = _START_S + self.source.size_bytes / _BYTES_PER_S
        elapsed = 0.0 if self.started_at is None else now - self.started_at
        return max(expected - elapsed, elapsed / 2, 1.0)

    def _remaining_with_download_s(self, now: float, num_done: int, num_all: int) -> float:
        loading_s = _START_S + num_all / _BYTES_PER_S
        if num_done >= num_all:
            return max(loading_s - (now - self.noted_at), (now - self.noted_at) / 2, 1.0)
        began_at, num_before = self.download_began
        assumed_s, assumed_bytes = _ASSUMED_DOWNLOAD
        seconds_each = (now - began_at + assumed_s) / (num_done - num_before + assumed_bytes)
        return (num_all - num_done) * seconds_each + loading_s

    def load(self) -> None:
        """Load it, for as long as that takes; whatever goes wrong becomes its `failure`."""
        try:
            with told_to(self.note_download):
                model = self.source.load()
            self.backend = model.asynchronous()
            self.model = model
        except HandfulError as error:
            self.failure = error
        except BaseException as error:  # noqa: BLE001 - a thread's last resort, also for a panic of Rust code
            self.failure = fault(error)
        self.downloaded = None
