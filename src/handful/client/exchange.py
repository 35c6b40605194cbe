"""One request and its retries, without I/O: a generator that says what to send or how long to wait.

A driver sends each `Call` and hands back the `Answer` or the `Failure`; it sleeps for each `Wait`. So blocking and
async clients, and tests, share every decision. A request is sent again only while nothing of its answer was given out.
"""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from handful.errors import BusyError, HandfulError, NotReadyError, RemoteError
from handful.protocol.errors import error_from_answer

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0


@dataclass(frozen=True, slots=True)
class Call:
    """What to send: a method, a path of the server, a JSON body and further headers; whether the answer streams."""

    method: str
    path: str
    body: bytes | None = None
    is_streamed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `headers` have lower-case names; `body` is empty for a stream that was accepted."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer came. `was_sent` is False where the server can't have seen the request."""

    error: HandfulError
    was_sent: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds to let pass."""

    seconds: float


Steps = Generator[Call | Wait, Answer | Failure | None, Answer]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to try again, and how long to wait in all for one call."""

    retries: int = 4
    max_total_wait_s: float = 120.0
    jitter: Callable[[], float] = random.random

    def delay_s(self, attempt: int, error: HandfulError) -> float:
        """Doubling backoff with full jitter on its upper half, never shorter than what the server asked for."""
        backoff = min(FIRST_BACKOFF_S * 2.0**attempt, LONGEST_BACKOFF_S) * (0.5 + self.jitter() / 2)
        asked = 0.0
        if isinstance(error, BusyError):
            asked = error.retry_after_s
        elif isinstance(error, NotReadyError):
            asked = error.estimated_time_s
        return max(backoff, asked)


def exchange(call: Call, policy: RetryPolicy) -> Steps:
    """Send `call` until it is answered, retrying 429, 503 and connections that were refused. Returns a 2xx answer.

    Raises the error that the last answer stood for.
    """
    waited_s = 0.0
    for attempt in range(policy.retries + 1):
        outcome = yield call
        if isinstance(outcome, Answer) and 200 <= outcome.status < 300:
            return outcome
        error, may_retry = _judge(outcome)
        delay_s = policy.delay_s(attempt, error)
        waited_s += delay_s
        if not may_retry or attempt == policy.retries or waited_s > policy.max_total_wait_s:
            raise error
        yield Wait(delay_s)
    raise AssertionError("the last attempt returns or raises")


def _judge(outcome: Answer | Failure | None) -> tuple[HandfulError, bool]:
    if isinstance(outcome, Failure):
        return outcome.error, not outcome.was_sent
    if outcome is None:
        raise TypeError("a call is followed by its answer")
    if outcome.status < 400:
        # Following a redirect could carry the token to another host.
        fix = "Check the server's URL."
        return RemoteError(f"The server answered with status {outcome.status}.", status=outcome.status, fix=fix), False
    error = error_from_answer(outcome.status, outcome.headers, outcome.body)
    return error, isinstance(error, BusyError | NotReadyError)
