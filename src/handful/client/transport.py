"""Between `Call` and httpx: where a client sends to, with which token, and what httpx's errors mean.

The token goes into the headers of requests to the one host of the URL: redirects are not followed, and nothing that a
server says becomes an address.
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from handful.client.exchange import Answer, Call, Failure
from handful.errors import HandfulError, InvalidParameterError, RemoteError, RequestTimeoutError

_CONNECT_TIMEOUT_S = 10.0
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

    def httpx_options(self) -> dict[str, Any]:
        """Keyword arguments of `httpx.Client` and `httpx.AsyncClient`."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return {
            "base_url": self.url.rstrip("/"),
            "headers": {"content-type": "application/json", **headers},
            "timeout": httpx.Timeout(self.timeout_s, connect=min(self.timeout_s, _CONNECT_TIMEOUT_S)),
            "follow_redirects": False,
            "trust_env": urlsplit(self.url).hostname not in _LOOPBACK,  # no proxy reaches this machine's own loopback
        }

    def failure(self, error: httpx.HTTPError) -> Failure:
        """What an exception of httpx means for the call."""
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            reached = RemoteError(
                f"No server answers at {self.url}.", retryable=True, fix="Is `handful serve` running?"
            )
            return Failure(reached, was_sent=False)
        return Failure(self.broken(error), was_sent=True)

    def broken(self, error: httpx.HTTPError) -> HandfulError:
        """What an exception of httpx means once the request was sent."""
        if isinstance(error, httpx.TimeoutException):
            fix = "Give the client a longer `timeout_s`."
            return RequestTimeoutError(f"Nothing came from {self.url} within {self.timeout_s:g} seconds.", fix=fix)
        return RemoteError(f"The connection to {self.url} broke ({type(error).__name__}).", retryable=True)


def request_options(call: Call) -> dict[str, Any]:
    """Keyword arguments of httpx's `build_request`."""
    return {"method": call.method, "url": call.path, "content": call.body, "headers": dict(call.headers)}


def answer_of(response: httpx.Response, *, with_body: bool = True) -> Answer:
    """A response, read or (for a stream that was accepted) not."""
    return Answer(response.status_code, dict(response.headers), response.content if with_body else b"")
