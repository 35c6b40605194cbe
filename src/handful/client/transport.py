"""Between `Call` and httpx: where a client sends to, with which token, and what httpx's errors mean.

The token goes into the headers of requests to the one host of the URL: redirects are not followed, and nothing that a
server says becomes an address.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from handful.client.exchange import Answer, Call, Failure
from handful.errors import HandfulError, InvalidParameterError, RemoteError, RequestTimeoutError

_CONNECT_TIMEOUT_S = 10.0
_PLAIN = re.compile(r"http://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9/._~-]*)?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's URL and the token it knows; the token is in no repr. Raises InvalidParameterError."""

    url: str
    token: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidParameterError("url", "must be an http or https URL.", fix="Such as http://127.0.0.1:8000")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise InvalidParameterError("url", "must have no user, query or fragment.", fix="Pass a token as `token`.")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise InvalidParameterError("token", "must be printable ASCII without line breaks.")
        if not self.timeout_s > 0:
            raise InvalidParameterError("timeout_s", "must be more than 0.")

    @property
    def headers(self) -> dict[str, str]:
        """What each request says."""
        return {"content-type": "application/json"} | ({"authorization": f"Bearer {self.token}"} if self.token else {})

    @property
    def connect_timeout_s(self) -> float:
        """How long a connection may take."""
        return min(self.timeout_s, _CONNECT_TIMEOUT_S)

    @property
    def is_plain(self) -> bool:
        """Whether it is reached by plain HTTP and no proxy, under a URL that is written as it is sent."""
        parts = urlsplit(self.url)
        is_plain = parts.scheme == "http" and _PLAIN.fullmatch(self.url) is not None
        return is_plain and (self._is_loopback or not getproxies())

    @property
    def _is_loopback(self) -> bool:
        return urlsplit(self.url).hostname in _LOOPBACK

    def httpx_options(self) -> dict[str, Any]:
        """Keyword arguments of `httpx.Client` and `httpx.AsyncClient`."""
        return {
            "base_url": self.url.rstrip("/"),
            "headers": self.headers,
            "timeout": httpx.Timeout(self.timeout_s, connect=self.connect_timeout_s),
            "follow_redirects": False,
            "trust_env": not self._is_loopback,  # no proxy reaches this machine's own loopback
        }

    def failure(self, error: httpx.HTTPError) -> Failure:
        """What an exception of httpx means for the call."""
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return self.unreachable()
        return Failure(self.broken(error), was_sent=True)

    def broken(self, error: httpx.HTTPError) -> HandfulError:
        """What an exception of httpx means once the request was sent."""
        return self.silent() if isinstance(error, httpx.TimeoutException) else self.lost(type(error).__name__)

    def unreachable(self) -> Failure:
        """No connection could be made."""
        fix = "Is `handful serve` running?"
        return Failure(RemoteError(f"No server answers at {self.url}.", retryable=True, fix=fix), was_sent=False)

    def silent(self) -> HandfulError:
        """Nothing came in time."""
        fix = "Give the client a longer `timeout_s`."
        return RequestTimeoutError(f"Nothing came from {self.url} within {self.timeout_s:g} seconds.", fix=fix)

    def mute(self, error: httpx.HTTPError, timeout_s: float) -> Failure:
        """What an exception of httpx means for a call that is answered at once: waiting again wouldn't help."""
        failure = self.failure(error)
        if isinstance(error, httpx.ConnectTimeout):
            return replace(failure, was_sent=True)
        if not isinstance(error, httpx.TimeoutException):
            return failure
        problem = f"{self.url} accepts connections and doesn't answer: nothing came within {timeout_s:g} seconds."
        return replace(failure, error=RequestTimeoutError(problem, fix="Is it `handful serve` that listens there?"))

    def lost(self, kind: str) -> HandfulError:
        """A connection ended before its answer did, for a reason of this `kind`."""
        return RemoteError(f"The connection to {self.url} broke ({kind}).", retryable=True)


def request_options(call: Call, timeout_s: float | None = None) -> dict[str, Any]:
    """Keyword arguments of httpx's `build_request`; `timeout_s` in place of the client's own."""
    options = {"method": call.method, "url": call.path, "content": call.body, "headers": dict(call.headers)}
    return options if timeout_s is None else options | {"timeout": timeout_s}


def answer_of(response: httpx.Response, *, with_body: bool = True) -> Answer:
    """A response, read or (for a stream that was accepted) not."""
    return Answer(response.status_code, dict(response.headers), response.content if with_body else b"")
