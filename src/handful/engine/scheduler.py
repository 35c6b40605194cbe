"""Which request runs how many tokens in the next step. Pure policy: no tensors, tested in milliseconds.

One idea for every phase: a step maps requests to numbers of tokens under one budget. Tokens that continue a text come
first (a long prefill never stalls them), then prefill in order of arrival, in chunks where the budget ends, then new
requests, of the callers by turns (fair_queue.py). Memory for a whole request is reserved when it is admitted, so an
admitted request always ends. Where several callers run, they share (sharing.py): one that has nothing running comes in
at once, in place of another's request where there is no room, which waits again with what it computed in the cache.

A segment is computed by one request at a time, its `writer`; the others on it wait for it and then read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handful.engine.drafts import Drafter
from handful.engine.fair_queue import FairQueue
from handful.engine.request import Generate, Request, Warm, Work
from handful.engine.segment_tree import num_common
from handful.engine.segments import PUBLIC, Lease, Salt, Segment, SegmentCache
from handful.engine.sharing import Lack, divide, one_to_set_back, waits_for_itself
from handful.errors import BusyError, PromptTooLongError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The budgets of a scheduler, in tokens, requests and token slots.

    `max_queued_each` is how many of the queued requests may be one caller's. None: all of them, as always for those
    of nobody in particular. `free_rows` is how many rows of a step take as long as reading the weights does; drafts
    are made where they pay by that measure (drafts.py), 0 makes none.
    """

    max_batched_tokens: int
    max_running_requests: int
    max_queued_requests: int
    num_slots: int
    max_queued_each: int | None = None
    free_rows: int = 0

    def max_queued(self, owner: str) -> int:
        """How many requests of a caller may wait."""
        alone = self.max_queued_requests
        return min(alone, self.max_queued_each) if owner and self.max_queued_each is not None else alone


class Scheduler:
    """Keeps the requests: waiting for their turn, running until they end. The only one that changes a lease."""

    def __init__(self, cache: SegmentCache, limits: Limits) -> None:
        self.cache = cache
        self.limits = limits
        self.waiting = FairQueue()
        self.running: list[Request] = []
        self.pinned: dict[tuple[Salt, tuple[int, ...]], Lease] = {}
        self.drafter = Drafter(limits.free_rows)

    @property
    def has_work(self) -> bool:
        """Whether any request waits or runs."""
        return bool(self.waiting or self.running)

    @property
    def num_pinned_slots(self) -> int:
        """Token slots that pinned prefixes may hold at most (what they share is counted for each)."""
        return sum(len(tokens) for _, tokens in list(self.pinned))

    @property
    def num_held_slots(self) -> int:
        """Token slots that running requests and pinned prefixes hold, shared ones counted once.

        The rest is free or can be made so. Asked from another thread it may be a request or two behind.
        """
        leases = [lease for request in list(self.running) if (lease := request.lease) is not None]
        leases += list(self.pinned.values())
        return _num_in_segments(leases) + sum(lease.tail_capacity for lease in leases)

    def check_fits(self, request: Request) -> None:
        """PromptTooLongError if the request could never be admitted beside what is pinned. Any thread may ask."""
        if request.num_slots <= self.limits.num_slots - self.num_pinned_slots:
            return
        needed = request.num_slots - self._num_pinned_of(request)
        free = self.limits.num_slots - _num_in_segments(list(self.pinned.values()))
        if needed > free:
            raise PromptTooLongError(
                f"The request needs {needed} tokens of KV memory and at most {free} can be had.",
                fix="Shorten the prompt, ask for fewer new tokens, or give handful more memory (HANDFUL_KV_MEMORY_MB).",
            )

    def _num_pinned_of(self, request: Request) -> int:
        """How many of a request's tokens are in the longest pinned prefix that it reads."""
        if request.wants_prompt_logprobs:
            return 0
        shared = request.prompt[: request.num_shared]
        readable = [tokens for salt, tokens in list(self.pinned) if salt in (PUBLIC, request.salt)]
        return max((num_common(tokens, shared) for tokens in readable), default=0)

    def add(self, request: Request) -> None:
        """Queue a request that fits. Whether the queue has room for it was asked when it was accepted (loop.py)."""
        self.waiting.append(request)

    def schedule(self) -> list[Work]:
        """The next step's work, at most `max_batched_tokens` tokens in all; empty only when nothing can run."""
        self._let_newcomers_in()
        budget = self.limits.max_batched_tokens
        works: list[Work] = []
        prefills = []
        for request in self.running:
            if request.is_shared_complete and isinstance(request.goal, Generate):
                budget = self._give(request, budget, works)
            else:
                prefills.append(request)
        runnable = [(request, *self._runnable(request)) for request in prefills]
        given = divide([(request.owner, count) for request, _, count in runnable], budget)
        for (request, first, _), count in zip(runnable, given, strict=True):
            if count:
                works.append(Work(request, first, count))
        budget -= sum(given)
        while budget and self.waiting and len(self.running) < self.limits.max_running_requests:
            if not self._admit(self.waiting.first):
                break
            request = self.waiting.popleft()
            self.running.append(request)
            budget = self._give(request, budget, works)
        return self._with_drafts(works, budget)

    def advance(self, works: list[Work]) -> None:
        """Record that the works' tokens have been computed, all but the guesses (`accept`)."""
        for work in works:
            request, end = work.request, work.end
            if not request.is_shared_complete and request.lease is not None:
                for segment in request.lease.path():
                    if work.first < segment.end and end > segment.position:
                        segment.num_computed = min(end, segment.end) - segment.position
            if end > request.num_shared:
                request.num_tail_computed = end - request.num_shared

    def accept(self, work: Work, num_tokens: int) -> None:
        """Record that so many of the work's guesses were right: they belong to the text and have been computed."""
        work.request.num_tail_computed += num_tokens
        self.drafter.note(work, num_tokens)

    def finish(self, request: Request, *, failed: bool = False) -> None:
        """A request ended: drop it from the queue or the running ones and free what it held. A prefix that was to be
        kept is kept, unless it `failed`."""
        self.drafter.forget(request.id)
        if request.lease is None:
            if request in self.waiting:
                self.waiting.remove(request)
            return
        self.running.remove(request)
        if request.is_warmed and not failed:
            self.unpin(request.prompt, request.salt)
            self.pinned[request.salt, request.prompt] = request.lease
        else:
            self.cache.release(request.lease, request.id)
        request.lease = None

    def unpin(self, tokens: tuple[int, ...], salt: Salt = PUBLIC) -> None:
        """Let a pinned prefix go; it stays in the cache until its room is needed. Unknown ones are ignored."""
        lease = self.pinned.pop((salt, tokens), None)
        if lease is not None:
            self.cache.release(lease, -1)

    def hold(self, tokens: tuple[int, ...]) -> NDArray[np.int64]:
        """Pin a prefix, for everybody, whose keys and values are given and not computed; the slots that they belong in.

        BusyError when there is no room for it now.
        """
        lease = self.cache.acquire(tokens, 0, salt=PUBLIC, stays=True)
        if lease is None:
            problem = f"There is no room for a prefix of {len(tokens)} tokens now."
            raise BusyError(problem, fix="Try again in a moment, or raise HANDFUL_KV_MEMORY_MB.")
        for segment in lease.path():
            segment.num_computed = len(segment.tokens)
        self.pinned[PUBLIC, tokens] = lease
        runs = [np.arange(segment.start, segment.start + len(segment.tokens)) for segment in lease.path()]
        return np.concatenate(runs)

    def leases(self) -> list[Lease]:
        """Every lease in force, for `check_integrity`."""
        running = [request.lease for request in self.running if request.lease is not None]
        return running + list(self.pinned.values())

    def _let_newcomers_in(self) -> None:
        """Where a caller waits that has nothing running: admit of each caller the next request, as far as others step
        back for newcomers. Who waits for nobody but itself is passed over, anybody else is not."""
        running = {request.owner for request in self.running}
        callers = self.waiting.callers()
        if len(running.union(callers)) < 2 or running.issuperset(callers):
            return
        for caller in callers:
            request = self.waiting.first_of(caller)
            lack = self._try_to_admit(request)
            while lack and caller not in running and (other := one_to_set_back(self.running, request, lack)):
                self._set_back(other)
                lack = self._try_to_admit(request)
            if lack is None:
                self.waiting.take(request)
                self.running.append(request)
            elif not waits_for_itself(self.running, request, lack):
                break

    def _try_to_admit(self, request: Request) -> Lack | None:
        """Admit a request, or say what it lacks."""
        if len(self.running) >= self.limits.max_running_requests:
            return Lack(self.limits.max_running_requests, is_places=True)
        return None if self._admit(request) else Lack(self.limits.num_slots, is_places=False)

    def _set_back(self, request: Request) -> None:
        """Let a running request wait again, first of its caller's. What it computed of its prompt stays in the cache as
        long as there is room; its tail will be computed once more."""
        if request.lease is None:
            raise RuntimeError("only a request that runs can be set back")
        self.running.remove(request)
        self.cache.release(request.lease, request.id)
        request.lease, request.slots, request.num_tail_computed = None, None, 0
        request.is_shared_complete, request.was_set_back = False, True
        self.waiting.put_back(request)

    def _admit(self, request: Request) -> bool:
        share = not request.wants_prompt_logprobs
        shared = request.prompt[: request.num_shared]
        stays = isinstance(request.goal, Warm)
        lease = self.cache.acquire(shared, request.tail_capacity, share=share, salt=request.salt, stays=stays)
        if lease is None:
            return False
        request.lease = lease
        if not request.was_set_back:  # else it would find its own
            request.num_cached_tokens = lease.num_cached_tokens
        runs = [np.arange(s.start, s.start + len(s.tokens)) for s in lease.path()]
        runs.append(np.arange(lease.tail_start, lease.tail_start + lease.tail_capacity))
        request.slots = np.concatenate(runs)
        return True

    def _with_drafts(self, works: list[Work], budget: int) -> list[Work]:
        """The works with guesses behind those that draw a token, within what is left of the budget."""
        num_rows = sum(work.count for work in works)
        for i, work in enumerate(works):
            draft = self.drafter.propose(work, num_rows, budget)
            if draft:
                works[i] = replace(work, count=work.count + len(draft), draft=draft)
                num_rows += len(draft)
                budget -= len(draft)
        return works

    def _give(self, request: Request, budget: int, works: list[Work]) -> int:
        """Give a request what it can run now, within the budget; returns what is left of it."""
        first, count = self._runnable(request)
        count = min(count, budget)
        if count:
            works.append(Work(request, first, count))
        return budget - count

    def _runnable(self, request: Request) -> tuple[int, int]:
        """The first uncomputed context token and how many can run from there; none while another request's at it."""
        tail_left = len(request.tail) - request.num_tail_computed
        if request.is_shared_complete or request.lease is None:
            return request.num_shared + request.num_tail_computed, tail_left
        missing = [segment for segment in request.lease.path() if not segment.is_complete]
        if not missing:
            request.is_shared_complete = True
            return request.num_shared + request.num_tail_computed, tail_left
        mine = _claim(missing, request.id)
        if not mine:
            return 0, 0
        first = mine[0].position + mine[0].num_computed
        end = mine[-1].end + (tail_left if len(mine) == len(missing) else 0)
        return first, end - first


def _num_in_segments(leases: Sequence[Lease]) -> int:
    """Slots of all that they share, each counted once."""
    return sum({id(segment): len(segment.tokens) for lease in leases for segment in lease.path()}.values())


def _claim(missing: list[Segment], writer: int) -> list[Segment]:
    """Become the writer of the leading segments that nobody else writes."""
    mine = []
    for segment in missing:
        if segment.writer not in (None, writer):
            break
        segment.writer = writer
        mine.append(segment)
    return mine
