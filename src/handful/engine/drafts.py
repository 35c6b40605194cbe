"""Guesses at what a text goes on with, from its own context (prompt lookup decoding, Saxena 2023): few-shot examples
repeat their format, so after a label comes what came after the labels before.

A draft is run behind the request's last token in the same step, and the sampler decides row by row as it would have
without (readout.py): a draft changes how many steps a text takes, never the text. What it costs is rows that turn out
wrong. So drafts are as long as they pay (`Acceptance`), and a request that isn't drafted costs nothing here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from weakref import WeakKeyDictionary

from handful.engine.request import Generate, Request, Work
from handful.engine.segments import Lease, Segment

LONGEST = 8  # tokens of a draft
GRAMS = (3, 2, 1)  # lengths of the endings that are looked up, the first one found is followed
FIRST_RATE = 0.5  # what is expected of a guess before any was checked
WEIGHT = 0.2  # of the newest draft in a rate
TRY_EVERY = 128  # drafts that were cut short by their rates, until one is made as long as it can be

Grams = dict[tuple[int, ...], int]
"""Of each run of tokens the position behind its last occurrence."""


@dataclass(slots=True)
class Acceptance:
    """How many guesses come true: `rates[i]` is the share of late drafts whose first i + 1 tokens were all right.

    A step takes a fixed time (the weights are read) and a time for each row; `free_rows` is how many rows take as long
    as the weights. With R rows in the step, one more that spares its request a later step with probability p costs
    1 / (free_rows + R) of the step, and spares p of its request's share in another, 1 / R. So it pays if
    p * (free_rows + R) > R: nearly always in a small step, in a large one only where guesses are nearly sure.
    """

    rates: list[float] = field(default_factory=lambda: [FIRST_RATE] * LONGEST)
    num_cut: int = 0

    def worthwhile(self, num_rows: int, room: int, free_rows: int) -> int:
        """How long a draft pays in a step of so many rows, at most `room`; now and then `room`, to learn."""
        length = 0
        while length < room and self.rates[length] * (free_rows + num_rows + length) > num_rows + length:
            length += 1
        if length < room:
            self.num_cut += 1
            if self.num_cut % TRY_EVERY == 0:
                return room
        return length

    def note(self, length: int, num_accepted: int) -> None:
        """What became of a draft of so many tokens."""
        for i in range(length):
            self.rates[i] += WEIGHT * ((i < num_accepted) - self.rates[i])


@dataclass(slots=True)
class _Context:
    """A request's tokens as far as they are looked through, and where to look: the generated part comes first."""

    tokens: list[int]
    own: Grams
    shared: list[Grams]

    def take(self, more: Sequence[int]) -> None:
        """The text has grown."""
        for token in more:
            end = len(self.tokens)
            for length in GRAMS:
                if length <= end:
                    self.own[tuple(self.tokens[end - length :])] = end
            self.tokens.append(token)

    def guess(self, length: int) -> tuple[int, ...]:
        """What came next where the text's ending stood before, as many tokens as wanted; () where it never did."""
        tokens = self.tokens
        for size in GRAMS:
            ending = tuple(tokens[-size:])
            for grams in (self.own, *self.shared):
                at = grams.get(ending)
                if at is not None:
                    found = tokens[at : at + length]
                    while len(found) < length:  # the ending overlaps its last occurrence: the text goes in circles
                        found += found[: length - len(found)]
                    return tuple(found)
        return ()


class Drafter:
    """Makes drafts and keeps account of them. What is read of a shared segment is computed once, however many read it.

    `free_rows` as in `Acceptance`; 0 makes no drafts.
    """

    def __init__(self, free_rows: int) -> None:
        self._free_rows = free_rows
        self._contexts: dict[int, _Context] = {}
        self._grams: WeakKeyDictionary[Segment, tuple[tuple[int, ...], Grams]] = WeakKeyDictionary()
        self._acceptances: WeakKeyDictionary[Segment, Acceptance] = WeakKeyDictionary()

    def propose(self, work: Work, num_rows: int, room: int) -> tuple[int, ...]:
        """At most `room` tokens to run behind a work's own, in a step of `num_rows` rows without them."""
        request, goal = work.request, work.request.goal
        if not isinstance(goal, Generate) or request.lease is None or not _draws(work):
            return ()
        room = min(room, request.tail_capacity - len(request.tail), LONGEST)
        if goal.choices is not None:  # what must come is taken ahead by the engine, or is a draft that can't be wrong
            return () if goal.forces_ahead else goal.choices.forced(request.output)[: max(room, 0)]
        if not self._free_rows:
            return ()
        if room <= 0:
            return ()
        length = self._acceptance(request.lease).worthwhile(num_rows, room, self._free_rows)
        return self._context(request, request.lease).guess(length) if length else ()

    def note(self, work: Work, num_accepted: int) -> None:
        """How many of a work's guesses came true."""
        goal = work.request.goal
        if work.request.lease is not None and isinstance(goal, Generate) and goal.choices is None:
            self._acceptance(work.request.lease).note(len(work.draft), num_accepted)

    def forget(self, request_id: int) -> None:
        """A request ended."""
        self._contexts.pop(request_id, None)

    def _acceptance(self, lease: Lease) -> Acceptance:
        """That of all requests behind the same long text: their answers have the same format."""
        longest = max(lease.path(), key=lambda segment: len(segment.tokens), default=lease.leaf)
        found = self._acceptances.get(longest)
        if found is None:
            found = self._acceptances[longest] = Acceptance()
        return found

    def _context(self, request: Request, lease: Lease) -> _Context:
        context = self._contexts.get(request.id)
        if context is None:
            shared = [self._grams_of(segment, request.prompt) for segment in reversed(lease.path())]
            context = self._contexts[request.id] = _Context(list(request.prompt[: request.num_shared]), {}, shared)
        context.take(request.tail[len(context.tokens) - request.num_shared :])
        return context

    def _grams_of(self, segment: Segment, prompt: tuple[int, ...]) -> Grams:
        """Where the runs of tokens that end in a segment were last followed by something in it."""
        known = self._grams.get(segment)
        if known is not None and known[0] is segment.tokens:  # else it was split since
            return known[1]
        grams: Grams = {}
        for length in GRAMS:
            first = max(segment.position - length, 0)
            ends = range(first + length, segment.end)
            runs = zip(*(islice(prompt, first + i, segment.end) for i in range(length)), strict=False)
            grams.update(zip(runs, ends, strict=False))
        self._grams[segment] = (segment.tokens, grams)
        return grams


def _draws(work: Work) -> bool:
    """Whether the work's last row is what its request's next token is drawn from."""
    return work.first + work.count == work.request.num_shared + len(work.request.tail)
