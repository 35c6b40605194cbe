"""The engine: every step is schedule -> run -> apply -> collect, for prefill, decode, score and embed alike.

    schedule   which request runs how many tokens          scheduler.py, segment_tree.py (no tensors)
    run        those tokens through the decoder            batch.py, runner.py
    apply      what was wanted becomes tokens and scores   readout.py, sampler.py
    collect    what ended leaves, and everybody is told    events.py

Not thread-safe: one thread calls it (loop.py).
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from handful.engine.events import Completed, End, Event, Failed, TokenDrawn, Warmed
from handful.engine.logits import ModelHead
from handful.engine.memory import KVMemory
from handful.engine.readout import Readout
from handful.engine.request import Generate, Request, Work
from handful.engine.sampler import Sampled, Sampler
from handful.engine.scheduler import Scheduler
from handful.engine.segments import PUBLIC, Salt
from handful.errors import EngineError, HandfulError, InvalidInputError, RequestAbortedError, RequestTimeoutError
from handful.types import FinishReason

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Stats:
    """Counters since the start."""

    num_steps: int = 0
    num_run_tokens: int = 0
    num_finished: int = 0
    num_failed: int = 0
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_generated_tokens: int = 0
    num_drafted_tokens: int = 0
    num_accepted_tokens: int = 0
    num_forced_tokens: int = 0
    num_failed_steps_in_a_row: int = 0


class StepRunner(ModelHead, Protocol):
    """What the engine needs of a model: `Runner` over handful's decoder, or another that runs a step."""

    def run(self, works: Sequence[Work]) -> tuple[Sequence[Work], Tensor]:
        """Run a step: its works in the order of their rows, and the wanted rows, ready for the head, `[M, hidden]`."""
        ...


class Engine:
    """Serves requests step by step. `step` is to be called while `has_work`."""

    def __init__(self, runner: StepRunner, scheduler: Scheduler, eos_token_ids: frozenset[int]) -> None:
        self.runner = runner
        self.scheduler = scheduler
        self.sampler = Sampler(eos_token_ids)
        self.readout = Readout(runner, self.sampler)
        self.stats = Stats()
        self._eos = eos_token_ids
        self._next_given = -1

    @property
    def has_work(self) -> bool:
        """Whether any request waits or runs."""
        return self.scheduler.has_work

    def add(self, request: Request) -> None:
        """Queue a request that fits (`scheduler.check_fits`)."""
        self.scheduler.add(request)

    def step(self) -> list[Event]:
        """One step for everybody. Whatever goes wrong ends in an event of the requests it concerns."""
        events = self._expire(time.monotonic())
        works = self.scheduler.schedule()
        if not works:
            return events + self._end_warmed() + self._give_up_if_stuck()
        try:
            ordered, rows = self.runner.run(works)
        except Exception:
            log.exception("a step failed; its requests are answered with an error")
            self.stats.num_failed_steps_in_a_row += 1
            return events + self._fail_all(works)
        self.stats.num_failed_steps_in_a_row = 0
        self.stats.num_steps += 1
        self.stats.num_run_tokens += sum(work.count for work in works)
        self.scheduler.advance(works)
        return events + self._apply(ordered, rows)

    def abort(self, request: Request) -> Event | None:
        """The caller left: free what the request holds. None when it had ended already."""
        if request.lease is None and request not in self.scheduler.waiting:
            return None
        return self._fail(request, RequestAbortedError("The request was aborted."))

    def abort_all(self, error: HandfulError) -> list[Event]:
        """End every request with `error`."""
        return [self._fail(request, error) for request in [*self.scheduler.running, *self.scheduler.waiting]]

    def unpin(self, tokens: tuple[int, ...], salt: Salt = PUBLIC) -> None:
        """Let a prefix go that a `Warm` request computed."""
        self.scheduler.unpin(tokens, salt)

    def hold(self, keys: Tensor, values: Tensor) -> tuple[int, ...]:
        """Pin a prefix that no text has, until `unpin`: its keys and values `[layers, n, kv heads, head size]`.

        Returns the tokens that stand for it at the start of a prompt. They are below 0 and never given twice, so no
        caller's text or ids can name them. Raises InvalidInputError for a model that can't hold them or has other
        shapes, BusyError where there is no room.
        """
        memory = getattr(self.runner, "memory", None)
        if not isinstance(memory, KVMemory):
            raise InvalidInputError("This model runs through Transformers, which is given no keys and values.")
        layers, _, *sizes = memory.keys.shape
        expected = (layers, len(keys[0]), *sizes)
        if keys.shape != expected or values.shape != expected or not expected[1]:
            given = f"{tuple(keys.shape)} and {tuple(values.shape)}"
            raise InvalidInputError(f"The keys and values of a prefix are {given}; the model's are {expected}.")
        first, self._next_given = self._next_given, self._next_given - expected[1]
        tokens = tuple(range(first, self._next_given, -1))
        slots = self.scheduler.hold(tokens)
        try:
            memory.write(slots, keys, values)
        except BaseException:
            self.scheduler.unpin(tokens)
            raise
        return tokens

    def check_integrity(self) -> None:
        """Recount who owns every token slot; RuntimeError when something is wrong."""
        self.scheduler.cache.check_integrity(self.scheduler.leases())

    def _apply(self, works: Sequence[Work], rows: Tensor) -> list[Event]:
        grown: list[Event] = []

        def extend(request: Request, sampled: Sampled) -> bool:
            grown.extend(self._extend(request, sampled))
            return not isinstance(grown[-1], End)

        try:
            read = self.readout.read(works, rows, extend)
        except Exception:  # no death however often: what a request asks for may be the cause, the model goes on
            log.exception("what a step computed can't be read; its requests are answered with an error")
            return self._fail_all(works)
        for work, num_accepted in read.accepted:
            self.stats.num_drafted_tokens += len(work.draft)
            self.stats.num_accepted_tokens += num_accepted
            self.scheduler.accept(work, num_accepted)
        events = read.events + grown
        for event in events:
            if isinstance(event, End):
                self._finish(event.request)
        return events + self._end_warmed()

    def _end_warmed(self) -> list[Event]:
        """Prefixes that are complete by now, whoever computed them."""
        warmed = [request for request in self.scheduler.running if request.is_warmed]
        for request in warmed:
            self._finish(request)
        return [Warmed(request) for request in warmed]

    def _extend(self, request: Request, sampled: Sampled) -> list[Event]:
        """Append a drawn token and those that must follow it; the completion ends, or they are what comes next."""
        goal = request.goal
        if not isinstance(goal, Generate):
            raise TypeError("only a Generate request draws tokens")
        events = self._append(request, goal, sampled)
        if goal.choices is not None and goal.forces_ahead and not isinstance(events[-1], End):
            for token in goal.choices.forced(request.output):
                events += self._append(request, goal, Sampled(token))
                self.stats.num_forced_tokens += 1
                if isinstance(events[-1], End):
                    break
        return events

    def _append(self, request: Request, goal: Generate, sampled: Sampled) -> list[Event]:
        if goal.parameters.max_new_tokens == 0:  # only the prompt was to be read
            return [_completed(request, goal, "length")]
        request.output.append(sampled.token)
        self.stats.num_generated_tokens += 1
        is_eos = sampled.token in self._eos and not goal.parameters.ignore_eos
        text = "" if is_eos else goal.text.append(sampled.token)
        drawn = TokenDrawn(request, sampled, text)
        if is_eos:
            return [drawn, _completed(request, goal, "eos_token")]
        if goal.text.stop:
            return [drawn, _completed(request, goal, "stop_sequence")]
        if goal.choices is not None and goal.choices.is_over(request.output):
            return [drawn, _completed(request, goal, "eos_token")]
        if len(request.output) >= goal.parameters.max_new_tokens:
            return [drawn, _completed(request, goal, "length")]
        request.tail.append(sampled.token)
        return [drawn]

    def _expire(self, now: float) -> list[Event]:
        events: list[Event] = []
        for request in [*self.scheduler.running, *self.scheduler.waiting]:
            if request.time_limit is not None and now >= request.time_limit and isinstance(request.goal, Generate):
                events.append(_completed(request, request.goal, "max_time"))
                self._finish(request)
            elif request.deadline is not None and now >= request.deadline:
                error = RequestTimeoutError("The request took longer than it may.", fix="Ask for fewer new tokens.")
                events.append(self._fail(request, error))
        return events

    def _give_up_if_stuck(self) -> list[Event]:
        """Nothing runs and the first in the queue still can't be admitted: it never will be."""
        if self.scheduler.running or not self.scheduler.waiting:
            return []
        error = EngineError("The request doesn't fit the KV memory that is left.", fix="Raise HANDFUL_KV_MEMORY_MB.")
        return [self._fail(self.scheduler.waiting.first, error)]

    def _fail_all(self, works: Sequence[Work]) -> list[Event]:
        """A step went wrong, of whose requests none has ended yet."""
        fix = "Send it again; if that fails, too, the log says why."
        error = EngineError("The engine failed while computing this request.", fix=fix)
        return [self._fail(work.request, error) for work in works]

    def _fail(self, request: Request, error: Exception) -> Event:
        self.stats.num_failed += 1
        self._release(request, failed=True)
        return Failed(request, error)

    def _finish(self, request: Request) -> None:
        self.stats.num_finished += 1
        self._release(request, failed=False)

    def _release(self, request: Request, *, failed: bool) -> None:
        if request.lease is not None:  # it was admitted, so its prompt was read
            self.stats.num_prompt_tokens += len(request.prompt)
            self.stats.num_cached_tokens += request.num_cached_tokens
        self.scheduler.finish(request, failed=failed)
        self.sampler.forget(request.id)


def _completed(request: Request, goal: Generate, reason: FinishReason) -> Completed:
    text = goal.text.flush()
    if goal.text.stop and reason != "eos_token":
        reason = "stop_sequence"
    return Completed(request, reason, text, goal.text.stop)
