"""From the rows that were wanted to what they were wanted for: drawn tokens, label scores, hidden states.

Rows of all requests go through the model's head together, in chunks that bound the memory of the logits. Where they
were computed elsewhere than on the host, what is read of them comes over once a chunk (logits.py).

A request with a draft draws from several rows, one after the other, as it would have done in as many steps: its text
has grown by the token before when the next is drawn, and the first token that isn't the one guessed is the last.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from handful.engine.events import Embedded, Event, PromptRead, Scored
from handful.engine.logits import HostRows, ModelHead, read_rows
from handful.engine.request import Embed, Generate, Request, ScoreLabels, Work
from handful.engine.sampler import Sampled, Sampler, describe, describe_rows, needs_whole_row
from handful.engine.transfer import fetch, pick, send

Item = TypeVar("Item")
Extend = Callable[[Request, Sampled], bool]  # take a drawn token in; whether the text goes on
Scoring = tuple[Request, int, int]  # a request, a row in the step and the row in its trie

MAX_LOGIT_ROWS = 64  # x 50,000 tokens x 4 bytes = 13 MB: more than 32 would be new memory every time, page by page


@dataclass(slots=True)
class Read:
    """What a step's rows said: events that are complete, and of each draft how many tokens came true."""

    events: list[Event] = field(default_factory=list)
    accepted: list[tuple[Work, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A request that draws tokens: from the row behind its last one, then from those behind each of its draft."""

    work: Work
    rows: range


class Readout:
    """Reads the wanted rows of a step."""

    def __init__(self, head: ModelHead, sampler: Sampler) -> None:
        self._head = head
        self._sampler = sampler

    @torch.inference_mode()
    def read(self, works: Sequence[Work], rows: Tensor, extend: Extend) -> Read:
        """`rows` `[M, hidden]`: the wanted rows of the works, in their order, behind the final norm.

        `extend` is told each token as it is drawn.
        """
        read = Read()
        drawing: list[Drawing] = []
        embedding: list[tuple[Request, int]] = []
        scoring: list[Scoring] = []
        for work, mine in _rows_of(works):
            request = work.request
            if isinstance(request.goal, Embed):
                embedding += [(request, row) for row in mine]
            elif isinstance(request.goal, ScoreLabels):
                first = request.wanted_rows(work.first, work.count).start - request.num_shared
                scoring += [(request, row, first + i) for i, row in enumerate(mine)]
            elif isinstance(request.goal, Generate):
                if request.wants_prompt_logprobs and work.first < len(request.prompt):
                    read.events += self._read_prompt(work, rows[mine.start : mine.stop])
                if work.end == request.num_shared + len(request.tail):
                    drawing.append(Drawing(work, mine[-1 - len(work.draft) :]))
        for group in _groups(drawing):
            read.accepted += self._draw(group, rows, extend)
        self._score(scoring, rows)
        if embedding:
            (states,) = fetch(pick(rows, [row for _, row in embedding]).float())
            read.events += [Embedded(request, s.numpy()) for (request, _), s in zip(embedding, states, strict=True)]
        scored = dict.fromkeys(request for request, _, _ in scoring)
        read.events += [_scored(request) for request in scored if request.num_tail_computed == len(request.tail)]
        return read

    def _draw(self, group: Sequence[Drawing], rows: Tensor, extend: Extend) -> list[tuple[Work, int]]:
        """Draw as many tokens of each request as its draft foresaw, and one more. Returns what of drafts came true."""
        group = sorted(group, key=lambda each: -len(each.rows))  # so that those left at any depth lead its rows
        by_depth = [[d.rows[i] for d in group if i < len(d.rows)] for i in range(len(group[0].rows))]
        logits = read_rows(
            self._head,
            pick(rows, list(chain.from_iterable(by_depth))),
            [needs_whole_row(d.work.request) for at in range(len(by_depth)) for d in group if at < len(d.rows)],
        )
        num_accepted = [0] * len(group)
        going = list(range(len(group)))
        first = 0
        for depth, at in enumerate(by_depth):
            block = logits.take([first + i for i in going])
            first += len(at)
            sampled = self._sampler.sample(block, [group[i].work.request for i in going])
            left = []
            for i, drawn in zip(going, sampled, strict=True):
                work = group[i].work
                if extend(work.request, drawn) and work.draft[depth : depth + 1] == (drawn.token,):
                    num_accepted[i] += 1
                    left.append(i)
            going = left
            if not going:
                break
        return [(d.work, count) for d, count in zip(group, num_accepted, strict=True) if d.work.draft]

    def _score(self, scoring: list[Scoring], rows: Tensor) -> None:
        """Note the log-probability of every token that some continuation reads from these rows."""
        found: list[tuple[Request, int, int]] = []  # request, row in its trie, token
        values: list[Tensor] = []
        for part in _chunks(scoring):
            logits = self._head.logits(pick(rows, [row for _, row, _ in part]))
            pairs = [(i, token) for i, (request, _, at) in enumerate(part) for token in _tokens_asked(request, at)]
            found += [(part[i][0], part[i][2], token) for i, token in pairs]
            which = send(np.array(pairs, dtype=np.int64).reshape(-1, 2), logits.device)
            values.append(logits[which[:, 0], which[:, 1]] - logits.logsumexp(dim=-1)[which[:, 0]])
        read = chain.from_iterable(each.tolist() for each in fetch(*values))
        for (request, at, token), value in zip(found, read, strict=True):
            request.read[at, token] = value

    def _read_prompt(self, work: Work, rows: Tensor) -> list[Event]:
        """Log-probabilities of the prompt tokens behind these rows (the row before a token predicts it)."""
        request = work.request
        if not isinstance(request.goal, Generate):
            raise TypeError("only a Generate request reads its prompt")
        targets = request.prompt[work.first + 1 : work.first + 1 + work.count]
        found: list[Sampled] = []
        for start in range(0, len(targets), MAX_LOGIT_ROWS):
            some = targets[start : start + MAX_LOGIT_ROWS]
            logits = self._head.logits(rows[start : start + len(some)])
            described = describe_rows(HostRows(fetch(logits)[0]), [request.goal.parameters.logprobs] * len(some))
            found += [describe(token, described.get(i)) for i, token in enumerate(some)]
        return [PromptRead(request, work.first + 1, tuple(found))] if found else []


def _rows_of(works: Sequence[Work]) -> Iterator[tuple[Work, range]]:
    at = 0
    for work in works:
        count = len(work.request.wanted_rows(work.first, work.count))
        if count:
            yield work, range(at, at + count)
        at += count


def _chunks(items: list[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), MAX_LOGIT_ROWS):
        yield items[start : start + MAX_LOGIT_ROWS]


def _groups(drawings: Sequence[Drawing]) -> Iterator[list[Drawing]]:
    """As many at a time as have at most `MAX_LOGIT_ROWS` rows, each with all of its rows."""
    group: list[Drawing] = []
    num_rows = 0
    for each in drawings:
        if num_rows + len(each.rows) > MAX_LOGIT_ROWS:
            yield group
            group, num_rows = [], 0
        group.append(each)
        num_rows += len(each.rows)
    if group:
        yield group


def _tokens_asked(request: Request, trie_row: int) -> tuple[int, ...]:
    if not isinstance(request.goal, ScoreLabels):
        raise TypeError("only a ScoreLabels request has a trie")
    return request.goal.trie.asked[trie_row]


def _scored(request: Request) -> Scored:
    if not isinstance(request.goal, ScoreLabels):
        raise TypeError("only a ScoreLabels request is scored")
    reads = request.goal.trie.reads
    return Scored(request, tuple(sum(request.read[pair] for pair in read) for read in reads))
