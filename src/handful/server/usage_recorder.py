"""Usage on its way to the database: one thread, which writes all that has come together since its last commit.

Invariant: a future that `record` returned is done without an exception only after the commit (or a failure that was
logged; `is_behind` says so). While the database fails, amounts are added up in memory, where one number for each day,
token and model is kept, and written as soon as it works again, once. Killing the process then loses them.
"""

import asyncio
import threading
import uuid
from dataclasses import dataclass, field

from handful.errors import StoreError
from handful.server.auth_store import log_failure
from handful.server.errors import fault
from handful.store.usage import Usage, UsageKey, UsageLedger

MAX_KEYS = 10_000
GATHER_S = 0.1
"""How long amounts that nobody waits for are gathered into one commit."""
_RETRY_S = 1.0
_Future = asyncio.Future[None]


@dataclass(slots=True)
class _Batch:
    """Amounts under one number. Once it was sent it stays as it is: it may have been written."""

    number: int
    amounts: dict[UsageKey, Usage] = field(default_factory=dict)
    waiting: list[_Future] = field(default_factory=list)

    @property
    def num_requests(self) -> int:
        return sum(amount.requests for amount in self.amounts.values())


class UsageRecorder:
    """Takes amounts from the event loop and writes them in a thread."""

    def __init__(self, ledger: UsageLedger, *, max_keys: int = MAX_KEYS, retry_s: float = _RETRY_S) -> None:
        self.ledger = ledger
        self.is_behind = False
        self._max_keys, self._retry_s = max_keys, retry_s
        self._writer_id = uuid.uuid4().hex
        self._changed = threading.Condition()
        self._open = _Batch(1)
        self._sent: _Batch | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._write_all, name="handful-usage", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def record(self, amounts: dict[UsageKey, Usage], *, is_awaited: bool = True) -> "_Future | None":
        """Take amounts. Returns what to wait for until they are on disk.

        None while the database fails, and where nobody waits: then they are written within `GATHER_S`.
        """
        future = asyncio.get_running_loop().create_future() if is_awaited and not self.is_behind else None
        with self._changed:
            is_first = not self._open.amounts
            for key, amount in amounts.items():
                known = self._open.amounts.get(key)
                self._open.amounts[key] = amount if known is None else known + amount
            if future is not None:
                self._open.waiting.append(future)
            if is_first or future is not None:  # the thread waits for nothing else
                self._changed.notify()
        return future

    @property
    def is_full(self) -> bool:
        """Whether more is waiting than is kept: then nothing new should be accepted."""
        with self._changed:
            return len(self._open.amounts) + (len(self._sent.amounts) if self._sent else 0) >= self._max_keys

    @property
    def num_unwritten_requests(self) -> int:
        """Requests that are answered and not in the database yet."""
        with self._changed:
            return self._open.num_requests + (self._sent.num_requests if self._sent else 0)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is left, once, and end. What can't be written is lost and logged."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        if self.num_unwritten_requests:
            log_failure("usage was lost", f"{self.num_unwritten_requests} requests were not written")

    def _write_all(self) -> None:
        while True:
            batch = self._next()
            if batch is None:
                return
            has_failed = not self._write(batch)
            with self._changed:
                self._sent = batch if has_failed else None
            _settle(batch)  # from now on those who waited may ask what is written
            with self._changed:
                if has_failed and self._is_closing:
                    return
                if has_failed:
                    self._changed.wait_for(lambda: self._is_closing, self._retry_s)

    def _next(self) -> _Batch | None:
        """The batch that failed, else the next one, as soon as something is in it. None at the end."""
        with self._changed:
            if self._sent is not None:
                return self._sent
            self._changed.wait_for(lambda: self._open.amounts or self._is_closing)
            self._changed.wait_for(lambda: self._open.waiting or self._is_closing, GATHER_S)
            if not self._open.amounts:
                return None
            self._sent, self._open = self._open, _Batch(self._open.number + 1)
            return self._sent

    def _write(self, batch: _Batch) -> bool:
        try:
            self.ledger.add(self._writer_id, batch.number, batch.amounts)
        except StoreError as error:
            if not self.is_behind:
                log_failure("usage is kept in memory until the database works again", str(error))
            self.is_behind = True
            return False
        except Exception as error:  # noqa: BLE001 - a thread's last resort; `fault` logs it
            fault(error)
            self.is_behind = True
            return False
        self.is_behind = False
        return True


def _settle(batch: _Batch) -> None:
    """Let go of those that wait for a batch, each in its own event loop."""
    waiting, batch.waiting = batch.waiting, []
    for future in waiting:
        try:
            future.get_loop().call_soon_threadsafe(_finish, future)
        except RuntimeError:  # its loop has closed
            continue


def _finish(future: _Future) -> None:
    if not future.done():
        future.set_result(None)
