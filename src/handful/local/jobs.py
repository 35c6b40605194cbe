"""From texts to the engine's requests, and from its events back to answers. No threads, no event loop.

A job is one prompt's worth of requests (several when several completions are drawn). Its `on_event` is called on the
engine's thread; when the last of its requests has ended, `on_done` is called once, and `result()` gives the answer or
raises what went wrong.
"""

import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from handful.engine.events import Completed, Embedded, End, Event, Failed, PromptRead, Scored, TokenDrawn
from handful.engine.request import Generate, Goal, Request
from handful.engine.sampler import Sampled
from handful.engine.stopping import TextState
from handful.errors import EngineError
from handful.local.choices import choices_of
from handful.model.tokenizer import Tokenizer
from handful.types import Alternative, Completion, Generation, GenerationParameters, StreamEvent, Token

Answer = TypeVar("Answer")

_ids = itertools.count(1)


def make_request(prompt: tuple[int, ...], goal: Goal, timeout_s: float) -> Request:
    """A request with an id of its own and its times set from now."""
    now = time.monotonic()
    limit = goal.parameters.max_time if isinstance(goal, Generate) else None
    return Request(next(_ids), prompt, goal, now + timeout_s, None if limit is None else now + limit)


class Job(Generic[Answer]):
    """Requests whose events make one answer."""

    def __init__(self, requests: list[Request], on_done: Callable[[], None]) -> None:
        self.requests = requests
        self._on_done = on_done
        self._num_open = len(requests)
        self._error: Exception | None = None

    def belongs_to(self, owner: str) -> None:
        """Say for whom it is done, before it is handed in."""
        for request in self.requests:
            request.owner = owner

    @property
    def is_done(self) -> bool:
        """Whether every request has ended."""
        return self._num_open == 0

    def on_event(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, Failed):
            self._error = event.error
        else:
            self.take(event)
        if isinstance(event, End):
            self._num_open -= 1
            if self.is_done:
                self._on_done()

    def take(self, event: Event) -> None:
        """Keep what the answer needs of an event."""
        raise NotImplementedError

    def answer(self) -> Answer:
        """The answer, once all went well."""
        raise NotImplementedError

    def result(self) -> Answer:
        """The answer; raises what went wrong. Only when `is_done`."""
        if self._error is not None:
            raise self._error
        return self.answer()


class ScoreJob(Job[tuple[tuple[float, ...], int]]):
    """Log-probabilities of some continuations behind one prompt, and how much of the prompt was cached. One request."""

    logprobs: tuple[float, ...] = ()

    def take(self, event: Event) -> None:
        """See `Job.take`."""
        if isinstance(event, Scored):
            self.logprobs = event.logprobs

    def answer(self) -> tuple[tuple[float, ...], int]:
        """See `Job.answer`."""
        return self.logprobs, self.requests[0].num_cached_tokens


class EmbedJob(Job[NDArray[np.float32]]):
    """A hidden state `[hidden]`."""

    vector: NDArray[np.float32]

    def take(self, event: Event) -> None:
        """See `Job.take`."""
        if isinstance(event, Embedded):
            self.vector = event.vector

    def answer(self) -> NDArray[np.float32]:
        """See `Job.answer`."""
        return self.vector


class WarmJob(Job[None]):
    """A prefix that is computed and held."""

    def take(self, event: Event) -> None:
        """See `Job.take`."""

    def answer(self) -> None:
        """See `Job.answer`."""


@dataclass(slots=True)
class _Draft:
    """One completion while it grows."""

    seed: int
    text: str = ""
    sampled: list[Sampled] = field(default_factory=list)
    end: Completed | None = None


class GenerationJob(Job[Generation]):
    """The completions of one prompt. `on_stream` gets the events of the only completion, when it is streamed."""

    def __init__(
        self,
        prompt: tuple[int, ...],
        parameters: GenerationParameters,
        tokenizer: Tokenizer,
        timeout_s: float,
        on_done: Callable[[], None],
    ) -> None:
        self._prompt = prompt
        self._parameters = parameters
        self._tokenizer = tokenizer
        self._choices = choices_of(parameters, tokenizer)
        self._prompt_read: tuple[Sampled, ...] = ()
        self._drafts: dict[int, _Draft] = {}
        self.on_stream: Callable[[StreamEvent], None] | None = None
        super().__init__([self._request(i, timeout_s) for i in range(parameters.num_drawn)], on_done)

    def _request(self, i: int, timeout_s: float) -> Request:
        parameters = self._parameters
        if parameters.num_drawn > parameters.n and parameters.logprobs is None:
            parameters = replace(parameters, logprobs=0)  # the best are chosen by log-probability
        if i:
            parameters = replace(parameters, echo=False)
        seed = (_drawn_seed(parameters) if parameters.seed is None else parameters.seed + i) % 2**63
        text = TextState(self._tokenizer.decode_continuation, parameters.stop)
        request = make_request(self._prompt, Generate(parameters, seed, text, self._choices), timeout_s)
        self._drafts[request.id] = _Draft(seed)
        return request

    def take(self, event: Event) -> None:
        """See `Job.take`."""
        draft = self._drafts[event.request.id]
        if isinstance(event, PromptRead):
            self._prompt_read += event.sampled
        elif isinstance(event, TokenDrawn):
            draft.text += event.text
            draft.sampled.append(event.sampled)
            if self.on_stream is not None:
                self.on_stream(StreamEvent(event.text, self._token(event.sampled)))
        elif isinstance(event, Completed):
            draft.text += event.text
            draft.end = event
            if self.on_stream is not None:
                self.on_stream(StreamEvent(event.text, None, self.answer()))

    def answer(self) -> Generation:
        """See `Job.answer`."""
        completions = [self._completion(self._drafts[request.id]) for request in self.requests]
        if self._parameters.num_drawn > self._parameters.n:
            completions.sort(key=_mean_logprob, reverse=True)
        return Generation(
            completions=tuple(completions[: self._parameters.n]),
            num_prompt_tokens=len(self._prompt),
            num_cached_tokens=self.requests[0].num_cached_tokens,
            prompt_tokens=self._prompt_tokens() if self._parameters.echo else (),
            prompt_text=self._prompt_text() if self._parameters.echo else "",
        )

    def _completion(self, draft: _Draft) -> Completion:
        if draft.end is None:
            raise EngineError("A completion ended without saying how.")
        logprobs = [sampled.logprob for sampled in draft.sampled if sampled.logprob is not None]
        return Completion(
            text=draft.text,
            finish_reason=draft.end.reason,
            stop=draft.end.stop,
            tokens=tuple(map(self._token, draft.sampled)),
            cumulative_logprob=sum(logprobs) if len(logprobs) == len(draft.sampled) else None,
            seed=draft.seed if self._parameters.temperature > 0 else None,
        )

    def _token(self, sampled: Sampled) -> Token:
        text, special = self._tokenizer.token_text(sampled.token), self._tokenizer.is_special(sampled.token)
        if not sampled.top:
            return Token(sampled.token, text, sampled.logprob, special)
        top = [Alternative(i, self._tokenizer.token_text(i), logprob) for i, logprob in sampled.top]
        return Token(sampled.token, text, sampled.logprob, special, tuple(top))

    def _prompt_text(self) -> str:
        return self._tokenizer.decode_continuation(self._prompt, skip_special=False)

    def _prompt_tokens(self) -> tuple[Token, ...]:
        """The prompt's tokens; the first has no log-probability, since nothing predicts it."""
        if self._prompt_read:
            return (self._token(Sampled(self._prompt[0])), *map(self._token, self._prompt_read))
        return tuple(self._token(Sampled(i)) for i in self._prompt)


def _drawn_seed(parameters: GenerationParameters) -> int:
    """Fresh for each text that is sampled; a greedy one has no use for it."""
    return secrets.randbits(63) if parameters.temperature > 0 else 0


def _mean_logprob(completion: Completion) -> float:
    if completion.cumulative_logprob is None or not completion.tokens:
        return float("-inf")
    return completion.cumulative_logprob / len(completion.tokens)
