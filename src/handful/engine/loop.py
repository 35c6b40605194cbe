"""The engine's thread: others hand in requests and are told what becomes of them; only this thread touches the engine.

Every accepted request ends in exactly one `End` event, whatever happens: when a step fails, when the thread dies, when
the process shuts down. `submit` refuses at once (BusyError) when the queue, or its caller's share of it, is full, or
waits for room when asked to.
"""

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from handful.engine.engine import Engine
from handful.engine.events import End, Event, Failed
from handful.engine.request import Request
from handful.engine.segments import PUBLIC, Salt
from handful.errors import (
    BusyError,
    EngineError,
    HandfulError,
    InvalidInputError,
    NotReadyError,
    RequestAbortedError,
    UserError,
)

log = logging.getLogger(__name__)

Sink = Callable[[Event], None]

MAX_FAILED_STEPS = 3  # in a row; then the engine is taken for broken


@dataclass(frozen=True, slots=True)
class LoopStats:
    """What the engine is doing now, and totals since its start.

    Token slots are those of the KV memory: free, kept for reuse, or held by what runs and is pinned. Prompt tokens
    are counted when their request ends; cached ones are those that were not computed again. Drafted tokens were run
    before they were known; accepted ones turned out right, and each saved its request a step. Forced ones
    needed no answer of the model, since no other could come (choices.py).
    """

    num_waiting: int
    num_running: int
    num_slots: int
    num_free_slots: int
    num_steps: int
    num_run_tokens: int
    num_finished: int
    num_failed: int
    num_prompt_tokens: int
    num_cached_tokens: int
    num_generated_tokens: int
    num_drafted_tokens: int
    num_accepted_tokens: int
    num_forced_tokens: int
    num_held_slots: int
    seconds_since_step: float
    is_alive: bool


class EngineLoop:
    """Runs an `Engine` on a thread of its own. All methods are thread-safe; sinks are called on the engine's thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limits = engine.scheduler.limits
        self._process_id = os.getpid()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._inbox: deque[tuple[Request, Sink]] = deque()
        self._num_arrived: Counter[str] = Counter()  # of those in the inbox, each caller's
        self._orders: deque[Callable[[], None]] = deque()
        self._sinks: dict[int, tuple[Request, Sink]] = {}
        self._is_closing = False
        self._died: HandfulError | None = None
        self._last_step_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="handful-engine", daemon=True)
        self._thread.start()

    def submit(self, requests: Sequence[Request], sink: Sink, *, wait: bool = False, wake: bool = True) -> None:
        """Hand in requests of one caller, all or none. With `wait`, waits for room; else BusyError when they don't fit
        the queue or the caller's share of it. Without `wake` an engine that rests goes on resting until `wake` is
        called, so that requests that come one after the other begin in one step.

        Raises PromptTooLongError when one could never fit, InvalidInputError when they are more than the queue holds,
        NotReadyError when shutting down, EngineError when dead, UserError in a fork of the process that loaded it.
        """
        self._check_process()
        for request in requests:
            self._engine.scheduler.check_fits(request)
        owner = requests[0].owner if requests else ""
        most = self._limits.max_queued(owner)
        if len(requests) > most:  # waiting for room would last for ever
            problem = f"{len(requests)} completions of one prompt are more than the queue holds"
            raise InvalidInputError(f"{problem} ({most}).", fix="Ask for fewer at a time.")
        with self._changed:
            while (busy := self._why_busy(owner, len(requests))) is not None:
                if not wait:
                    raise busy
                self._changed.wait()
            for request in requests:
                self._inbox.append((request, sink))
                self._sinks[request.id] = (request, sink)
            self._num_arrived[owner] += len(requests)
            if wake:
                self._changed.notify_all()

    def wake(self) -> None:
        """Let what was handed in begin."""
        with self._changed:
            self._changed.notify_all()

    def abort(self, requests: Sequence[Request]) -> None:
        """Give requests up; each that hasn't ended yet ends with RequestAbortedError within one step."""
        self._order(lambda: self._abort(requests))

    def unpin(self, tokens: tuple[int, ...], salt: Salt = PUBLIC) -> None:
        """Let a warmed prefix go."""
        self._order(lambda: self._engine.unpin(tokens, salt))

    def call(self, function: Callable[[Engine], None]) -> None:
        """Run `function` on the engine's thread between two steps and wait for it (for checks and statistics)."""
        done = threading.Event()
        failure: list[Exception] = []

        def run() -> None:
            try:
                function(self._engine)
            except Exception as error:  # noqa: BLE001 - handed to the caller below
                failure.append(error)
            finally:
                done.set()

        self._check_process()
        with self._changed:
            self._check_open()
            self._orders.append(run)
            self._changed.notify_all()
        done.wait()
        if failure:
            raise failure[0]

    def stats(self) -> LoopStats:
        """A snapshot; figures may be a step old."""
        scheduler, stats = self._engine.scheduler, self._engine.stats
        with self._lock:
            num_waiting = self._num_queued()
            num_running = len(self._sinks) - num_waiting
            idle = time.monotonic() - self._last_step_at if self._sinks else 0.0
            is_alive = self._died is None and self._thread.is_alive()
        return LoopStats(
            num_waiting=num_waiting,
            num_running=max(0, num_running),
            num_slots=self._limits.num_slots,
            num_free_slots=scheduler.cache.num_free_slots,
            num_steps=stats.num_steps,
            num_run_tokens=stats.num_run_tokens,
            num_finished=stats.num_finished,
            num_failed=stats.num_failed,
            num_prompt_tokens=stats.num_prompt_tokens,
            num_cached_tokens=stats.num_cached_tokens,
            num_generated_tokens=stats.num_generated_tokens,
            num_drafted_tokens=stats.num_drafted_tokens,
            num_accepted_tokens=stats.num_accepted_tokens,
            num_forced_tokens=stats.num_forced_tokens,
            num_held_slots=scheduler.num_held_slots,
            seconds_since_step=idle,
            is_alive=is_alive,
        )

    def close(self, timeout_s: float | None = None) -> None:
        """Take nothing more, finish what was accepted for up to `timeout_s` (None: as long as it takes), then stop.

        What is not finished by then ends with RequestAbortedError. Idempotent.
        """
        if self._process_id != os.getpid():
            return
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._order(self._abort_everything)
            self._thread.join()

    def _check_process(self) -> None:
        """A fork has the model and not its thread: it would wait for ever, if only for a lock of that thread's."""
        if self._process_id != os.getpid():
            fix = "Load it in this one; with multiprocessing, in each worker, or by the start method `spawn`."
            raise UserError("The model was loaded in another process, of which this one is a fork.", fix=fix)

    def _check_open(self) -> None:
        if self._died is not None:
            raise self._died
        if self._is_closing:
            raise NotReadyError("The model is shutting down.", fix="Send the request to another server.")

    def _why_busy(self, owner: str, num_more: int) -> BusyError | None:
        """Why a caller's requests can't be queued now, or None. Raises what `_check_open` raises."""
        self._check_open()
        num_queued, most = self._num_queued(), self._limits.max_queued_requests
        if num_queued + num_more > most:
            full = f"The queue is full ({num_queued} of {most} requests wait)."
            return BusyError(full, fix="Try again in a moment.")
        num_own = self._num_arrived[owner] + self._engine.scheduler.waiting.num_of(owner)
        share = self._limits.max_queued(owner)
        if num_own + num_more > share:
            full = f"Your share of the queue is full ({num_own} of {share} requests wait)."
            return BusyError(full, fix="Try again when some of them are answered.")
        return None

    def _num_queued(self) -> int:
        return len(self._inbox) + len(self._engine.scheduler.waiting)

    def _order(self, order: Callable[[], None]) -> None:
        if self._process_id != os.getpid():
            return
        with self._changed:
            self._orders.append(order)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while self._take_in():
                events = self._engine.step()
                self._last_step_at = time.monotonic()
                self._tell(events)
                if self._engine.stats.num_failed_steps_in_a_row >= MAX_FAILED_STEPS:
                    raise EngineError("The engine failed several steps in a row.")
        except BaseException:  # even SystemExit on this thread must leave nobody waiting
            log.exception("the engine's thread died")
            self._die(EngineError("The engine has died; the log says why.", fix="Restart handful."))

    def _take_in(self) -> bool:
        """Wait for something to do, carry out orders, queue what was handed in. False when it's time to end."""
        with self._changed:
            while not (self._inbox or self._orders or self._engine.has_work or self._is_closing):
                self._last_step_at = time.monotonic()
                self._changed.wait()
            arrived = list(self._inbox)
            self._inbox.clear()
            self._num_arrived.clear()
            for request, _ in arrived:  # others that were set back since may make the queue longer than it should be
                self._engine.add(request)
            self._changed.notify_all()
        self._carry_out_orders()
        with self._lock:
            is_over = self._is_closing and not (self._inbox or self._orders or self._engine.has_work)
        return not is_over

    def _carry_out_orders(self) -> None:
        """One by one, so that those behind one that fails are still there for `_die`."""
        while True:
            with self._lock:
                if not self._orders:
                    return
                order = self._orders.popleft()
            order()

    def _abort(self, requests: Sequence[Request]) -> None:
        for request in requests:
            event = self._engine.abort(request)
            if event is not None:
                self._tell([event])

    def _abort_everything(self) -> None:
        error = RequestAbortedError("The process is shutting down.")
        self._tell(self._engine.abort_all(error))

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            entry = self._sinks.get(event.request.id)
            if entry is not None:
                _call(entry[1], event)
        with self._changed:
            for event in events:
                if isinstance(event, End):
                    self._sinks.pop(event.request.id, None)
            self._changed.notify_all()

    def _die(self, error: HandfulError) -> None:
        with self._changed:
            self._died = error
            left = list(self._sinks.values())
            orders = list(self._orders)
            self._sinks.clear()
            self._inbox.clear()
            self._orders.clear()
            self._changed.notify_all()
        for request, sink in left:
            _call(sink, Failed(request, error))
        for order in orders:
            _call(order)


def _call(function: Callable[..., None], *arguments: Event) -> None:
    """One caller's broken sink or order must not stop the others."""
    try:
        function(*arguments)
    except Exception:
        log.exception("what a caller gave the engine to call failed")
