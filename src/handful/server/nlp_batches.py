"""One thread that works for one model: requests that come close together and ask for the same are computed together.

Invariant: every accepted job ends with a result, an error, or its caller's leaving; never by being forgotten. What
waits is bounded in items: past it BusyError, at once. A batch that fails is computed again request by request, so a
bad request fails alone.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from handful.errors import BusyError, EngineError, HandfulError, NotReadyError, RequestAbortedError
from handful.server.errors import fault

WINDOW_S = 0.004
"""How long the first request of a batch waits for others."""
MAX_BATCH_ITEMS = 64
MAX_WAITING_ITEMS = 1024

Compute = Callable[[Hashable, Sequence[Any]], list[Any]]


@dataclass(slots=True, eq=False)
class _Job:
    """Items of one request. Jobs with an equal `key` (None: with no other) may share a batch."""

    key: Hashable | None
    work: Hashable
    items: Sequence[Any]
    future: "Future[list[Any]]" = field(default_factory=Future)


class Batcher:
    """Calls `compute(work, items)`, which gives one result an item, in a thread of its own."""

    def __init__(self, compute: Compute, name: str, *, max_waiting_items: int = MAX_WAITING_ITEMS) -> None:
        self._compute, self._max_waiting_items = compute, max_waiting_items
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._busy_since: float | None = None
        self.num_waiting = self.num_running = self.num_batches = self.num_finished = self.num_failed = 0
        self._thread = threading.Thread(target=self._run, name=f"handful-{name}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether jobs are still taken and worked off."""
        return self._thread.is_alive() and not self._is_closed

    @property
    def is_computing(self) -> bool:
        """Whether there is a batch that is being computed."""
        return self.num_running > 0

    @property
    def seconds_since_step(self) -> float:
        """How long the batch that is being computed has been so; 0 when there is none."""
        began = self._busy_since
        return 0.0 if began is None else time.monotonic() - began

    def submit(self, work: Hashable, items: Sequence[Any], *, is_alone: bool = False) -> "Future[list[Any]]":
        """Hand in the items of a request. Raises BusyError (too many wait), NotReadyError (it was closed)."""
        job = _Job(None if is_alone else work, work, items)
        with self._changed:
            if self._is_closed:
                raise NotReadyError("The model is being unloaded.", fix="Send the request again.")
            if self.num_waiting and self.num_waiting + len(items) > self._max_waiting_items:
                raise BusyError("The queue of this model is full.", retry_after_s=1.0)
            self._jobs.append(job)
            self.num_waiting += len(items)
            self._changed.notify()
        return job.future

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more jobs, finish those that were taken for at most `timeout_s`, and give up the others."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            left = list(self._jobs)
            self._jobs.clear()
            self.num_waiting = 0
            is_idle = not self.is_computing
        if is_idle:  # then it ends at once
            self._thread.join()
        error = RequestAbortedError("The model was unloaded before this was begun.", fix="Send the request again.")
        self._tell([job for job in left if job.future.set_running_or_notify_cancel()], error)

    def _run(self) -> None:
        while batch := self._next_batch():
            self._busy_since = time.monotonic()
            try:
                self._answer(batch)
            finally:
                self._busy_since = None
                self.num_running = 0

    def _next_batch(self) -> list[_Job]:
        """The oldest job and those that fit to it; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed)
            if self._jobs and self._jobs[0].key is not None:
                self._changed.wait_for(self._is_full, WINDOW_S)
            return self._take()

    def _is_full(self) -> bool:
        return self._is_closed or self.num_waiting >= MAX_BATCH_ITEMS

    def _take(self) -> list[_Job]:
        if not self._jobs:
            return []
        batch = [self._jobs.popleft()]
        num_items = len(batch[0].items)
        for job in list(self._jobs):
            if job.key is None or job.key != batch[0].key or num_items + len(job.items) > MAX_BATCH_ITEMS:
                continue
            self._jobs.remove(job)
            batch.append(job)
            num_items += len(job.items)
        self.num_waiting -= num_items
        self.num_running = num_items
        return batch

    def _answer(self, batch: list[_Job]) -> None:
        wanted = [job for job in batch if job.future.set_running_or_notify_cancel()]
        outcome = self._outcome(wanted)
        if isinstance(outcome, HandfulError) and len(wanted) > 1:
            for job in wanted:
                self._tell([job], self._outcome([job]))
            return
        self._tell(wanted, outcome)

    def _outcome(self, jobs: list[_Job]) -> "list[Any] | HandfulError":
        items = [item for job in jobs for item in job.items]
        if not items:
            return []
        self.num_batches += 1
        try:
            results = self._compute(jobs[0].work, items)
        except HandfulError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the thread's last resort; `fault` logs it, and the server says 500
            return fault(error)
        if len(results) != len(items):
            return EngineError("The model gave another number of answers than there were inputs.")
        return results

    def _tell(self, jobs: list[_Job], outcome: "list[Any] | HandfulError") -> None:
        if isinstance(outcome, HandfulError):
            self.num_failed += len(jobs)
            for job in jobs:
                job.future.set_exception(outcome)
            return
        start = 0
        for job in jobs:
            job.future.set_result(outcome[start : start + len(job.items)])
            start += len(job.items)
        self.num_finished += len(jobs)
