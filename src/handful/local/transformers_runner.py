"""The engine's two lower parts for a model that Transformers runs: one request a step, each with its own cache.

Works for any causal language model, and so assumes little: no batching across requests, no cut through a cache whose
layers can't be cut, no cache at all for models with a recurrent state (they recompute the text; slow, but right).
What lies above (engine, sampler, readout, jobs) is the same as for native models.
"""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from handful.engine.request import Embed, Request, ScoreLabels, Warm, Work
from handful.engine.scheduler import Limits, Scheduler
from handful.engine.segments import PUBLIC, Salt, SegmentCache
from handful.model.ops.head import largest_of


@dataclass(frozen=True, slots=True)
class Held:
    """A Transformers cache and how many tokens it holds; None where the model can't keep one."""

    past: Any
    length: int


@dataclass(slots=True)
class Caches:
    """Who holds which cache: running requests by id, pinned prefixes by whose they are and their tokens."""

    running: dict[int, Held] = field(default_factory=dict)
    pinned: dict[tuple[Salt, tuple[int, ...]], Held] = field(default_factory=dict)

    def best_start(self, request: Request) -> Held:
        """A copy of the pinned prefix that shares most tokens with the prompt, cut to them; at least one is left.

        Only of those that are public or the request's caller's.
        """
        own = [(tokens, held) for (salt, tokens), held in self.pinned.items() if salt in (PUBLIC, request.salt)]
        starts = [(_num_common(request.prompt[:-1], tokens), held) for tokens, held in own]
        for length, held in sorted(starts, key=lambda start: start[0], reverse=True):
            if length and (past := fork(held, length)) is not None:
                return Held(past, length)
        return Held(None, 0)


def _num_common(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def fork(held: Held, length: int) -> Any:
    """The first `length` tokens of a cache, for another request to continue. None where its layers can't be cut.

    Plain layers only ever append by making new tensors, so theirs are shared, not copied.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer

    if type(held.past) is not DynamicCache:
        return None
    if all(type(layer) is DynamicLayer for layer in held.past.layers):
        forked = copy.copy(held.past)
        forked.layers = [copy.copy(layer) for layer in held.past.layers]
        for layer in forked.layers:
            layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]
        return forked
    return copy.deepcopy(held.past) if length == held.length else None


class TransformersRunner:
    """Runs one work a step. Rows are logits already (or hidden states, for `Embed`), so `logits` only widens them."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model, self._device = model, device
        known = inspect.signature(model.forward).parameters
        self._keeps_logits = "logits_to_keep" in known
        self._has_cache = "past_key_values" in known and "use_cache" in known and not model._is_stateful
        self.caches = Caches()

    def logits(self, rows: Tensor) -> Tensor:
        """`[M, V]` -> `[M, V]` float32, a copy (the sampler writes to it)."""
        return rows.to(torch.float32, copy=True)

    def largest(self, rows: Tensor) -> Tensor:
        """`[M, V]` -> the token of each row with the largest logit, `[M]` int64."""
        return largest_of(rows.float())

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> tuple[Sequence[Work], Tensor]:
        """Run a step of one work. Returns the wanted rows: logits `[M, V]`, or a hidden state `[1, hidden]`."""
        (work,) = works
        request = work.request
        if isinstance(request.goal, Embed):
            rows = self._embed(request.prompt, request.goal.layer)
        elif isinstance(request.goal, ScoreLabels):
            rows = self._score(request, request.goal)
        elif work.first == 0:
            rows = self._prefill(request)
        else:
            rows = self._decode(request)
        return works, rows

    def _forward(self, tokens: Sequence[int], held: Held, keep: int) -> tuple[Tensor, Held]:
        """Run tokens behind a cache; logits of the last `keep` of them `[keep, V]`, and the grown cache."""
        arguments: dict[str, Any] = {"input_ids": torch.tensor([list(tokens)], device=self._device)}
        if self._has_cache:
            arguments |= {"use_cache": True, "past_key_values": held.past}
        if self._keeps_logits:
            arguments["logits_to_keep"] = keep
        out = self._model(**arguments, return_dict=True)
        past = out.past_key_values if self._has_cache else None
        return out.logits[0, -keep:], Held(past, held.length + len(tokens))

    def _prefill(self, request: Request) -> Tensor:
        """The whole prompt but for a pinned start. All rows where the prompt's log-probabilities are wanted."""
        prompt = request.prompt
        wants_all = request.wants_prompt_logprobs
        start = Held(None, 0) if wants_all else self.caches.best_start(request)
        request.num_cached_tokens = start.length
        rows, held = self._forward(prompt[start.length :], start, len(prompt) if wants_all else 1)
        self.caches.running[request.id] = held
        return rows[:0] if isinstance(request.goal, Warm) else rows

    def _decode(self, request: Request) -> Tensor:
        """The newest tokens, or everything again where the model keeps no cache."""
        held = self.caches.running[request.id]
        if held.past is None:
            return self._forward([*request.prompt[:-1], *request.tail], Held(None, 0), 1)[0]
        rows, self.caches.running[request.id] = self._forward(request.tail[request.num_tail_computed :], held, 1)
        return rows

    def _score(self, request: Request, goal: ScoreLabels) -> Tensor:
        """One row for the prompt's last token and one for each inner node of the trie, in the trie's order."""
        start = self.caches.best_start(request)
        request.num_cached_tokens = start.length
        first, held = self._forward(request.prompt[start.length :], start, 1)
        rows: dict[int, Tensor] = {0: first[0]}
        for read in sorted(goal.trie.reads, key=len, reverse=True):
            inner = [token for _, token in read[:-1]]
            wanted = [row for row, _ in read[1:]]
            if all(row in rows for row in wanted):
                continue
            rows |= dict(zip(wanted, self._behind(request.prompt, held, inner), strict=True))
        return torch.stack([rows[row] for row in range(len(rows))])

    def _behind(self, prompt: Sequence[int], held: Held, tokens: Sequence[int]) -> Tensor:
        """Logits at each of `tokens` behind the prompt, whose cache stays as it is."""
        past = fork(held, held.length)
        if past is None:
            return self._forward([*prompt, *tokens], Held(None, 0), len(tokens))[0]
        return self._forward(tokens, Held(past, held.length), len(tokens))[0]

    def _embed(self, prompt: Sequence[int], layer: int | None) -> Tensor:
        """What the model's head sees at the last token, or what leaves a layer: `[1, hidden]`."""
        ids = torch.tensor([list(prompt)], device=self._device)
        base = self._model.base_model
        if base is self._model or layer is not None:
            hidden = self._model(input_ids=ids, output_hidden_states=True, return_dict=True).hidden_states
            states = hidden[-1 if layer is None else layer]
        else:
            states = base(input_ids=ids, return_dict=True).last_hidden_state
        last: Tensor = states[0, -1:]
        return last


class OneByOne(Scheduler):
    """Every running request in turn, one a step, prompts in one piece. The segments only account for the memory."""

    def __init__(self, cache: SegmentCache, limits: Limits, caches: Caches) -> None:
        super().__init__(cache, limits)
        self._caches = caches

    def schedule(self) -> list[Work]:
        """See `Scheduler.schedule`."""
        while self.waiting and len(self.running) < self.limits.max_running_requests and self._admit(self.waiting.first):
            self.running.append(self.waiting.popleft())
        if not self.running:
            return []
        request = self.running.pop(0)
        self.running.append(request)
        first = request.num_shared + request.num_tail_computed if request.is_shared_complete else 0
        return [Work(request, first, request.num_shared + len(request.tail) - first)]

    def advance(self, works: list[Work]) -> None:
        """See `Scheduler.advance`."""
        super().advance(works)
        for work in works:
            work.request.is_shared_complete = True

    def finish(self, request: Request, *, failed: bool = False) -> None:
        """See `Scheduler.finish`; the request's cache goes, or stays as that of a pinned prefix."""
        super().finish(request, failed=failed)
        held = self._caches.running.pop(request.id, None)
        key = (request.salt, request.prompt)
        if isinstance(request.goal, Warm) and held is not None and key in self.pinned and not failed:
            self._caches.pinned[key] = held

    def unpin(self, tokens: tuple[int, ...], salt: Salt = PUBLIC) -> None:
        """See `Scheduler.unpin`."""
        super().unpin(tokens, salt)
        self._caches.pinned.pop((salt, tokens), None)

    def _admit(self, request: Request) -> bool:
        shared = request.prompt[: request.num_shared]
        request.lease = self.cache.acquire(shared, request.tail_capacity, share=False)
        return request.lease is not None
