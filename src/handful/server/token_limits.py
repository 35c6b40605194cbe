"""How much a token may ask for: requests and tokens a minute, requests at the same time.

Windows are fixed: a minute begins with its first request. What a request costs in tokens is known when it is answered,
so one may go beyond the limit; the excess counts in the next minutes. Counted in this process: servers side by side on
one database each allow the whole limit, and a restart begins anew.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from handful.server.errors import RateLimitedError
from handful.store.tokens import ApiToken

WINDOW_S = 60


@dataclass(slots=True)
class Window:
    """Amounts used since `started_at`, of at most `quota` in each window."""

    quota: int
    started_at: float
    used: int = 0

    def advance(self, now: float) -> None:
        """Begin a new window where the last one is over. What was used beyond the quota is carried over."""
        num_over = int((now - self.started_at) // WINDOW_S)
        if num_over > 0:
            self.used = max(0, self.used - num_over * self.quota)
            self.started_at = self.started_at + num_over * WINDOW_S if self.used else now

    @property
    def remaining(self) -> int:
        """What is left in this window."""
        return max(0, self.quota - self.used)

    def reset_s(self, now: float) -> int:
        """Whole seconds until something is left again, or until the quota is whole where something is left now."""
        num_windows = max(1, self.used // self.quota)
        return max(1, math.ceil(self.started_at + num_windows * WINDOW_S - now))


@dataclass(slots=True)
class _Counts:
    requests: Window | None
    tokens: Window | None
    num_running: int = 0


class TokenLimiter:
    """The counts of all tokens that have limits; belongs to one event loop. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, _Counts] = {}

    def enter(self, token: ApiToken) -> None:
        """A request begins. Raises RateLimitedError, and then it must not `leave`."""
        counts, now = self._counts_of(token), self._clock()
        for name, window in (("requests", counts.requests), ("tokens", counts.tokens)):
            if window is not None and not window.remaining:
                wait_s = window.reset_s(now)
                raise RateLimitedError(
                    f"Rate limit reached: this token has {window.quota} {name} a minute.",
                    retry_after_s=wait_s,
                    fix=f"Wait {wait_s} seconds.",
                )
        most = token.limits.concurrent_requests
        if most is not None and counts.num_running >= most:
            message = f"Rate limit reached: this token may have {most} requests running at the same time."
            raise RateLimitedError(message, fix="Send it again when one is answered.")
        if counts.requests is not None:
            counts.requests.used += 1
        counts.num_running += 1

    def leave(self, token: ApiToken, num_tokens: int) -> None:
        """A request that entered has ended, and used so many of the model's tokens."""
        self._counts_of(token).num_running -= 1
        self.charge(token, num_tokens)

    def charge(self, token: ApiToken, num_tokens: int) -> None:
        """Count tokens that were used."""
        window = self._counts_of(token).tokens
        if window is not None:
            window.used += num_tokens

    def headers(self, token: ApiToken) -> dict[str, str]:
        """`ratelimit` and `ratelimit-policy` (draft-ietf-httpapi-ratelimit-headers-09), the tightest first: clients
        that know one policy read the first. Empty without limits."""
        counts, now = self._counts_of(token), self._clock()
        named = (("requests", counts.requests), ("tokens", counts.tokens))
        windows = [(name, window) for name, window in named if window is not None]
        windows.sort(key=lambda each: each[1].remaining / each[1].quota)
        if not windows:
            return {}
        left = [f'"{name}";r={window.remaining};t={window.reset_s(now)}' for name, window in windows]
        policies = [f'"{name}";q={window.quota};w={WINDOW_S}' for name, window in windows]
        return {"ratelimit": ", ".join(left), "ratelimit-policy": ", ".join(policies)}

    def _counts_of(self, token: ApiToken) -> _Counts:
        limits, now = token.limits, self._clock()
        counts = self._counts.get(token.id)
        if counts is None:
            windows = [
                None if quota is None else Window(quota, now)
                for quota in (limits.requests_per_minute, limits.tokens_per_minute)
            ]
            counts = self._counts[token.id] = _Counts(windows[0], windows[1])
        for window in (counts.requests, counts.tokens):
            if window is not None:
                window.advance(now)
        return counts
