"""Host and Origin, checked: a web page must not reach a server on its visitor's machine.

A page of any site can be made to resolve its own name to 127.0.0.1 (DNS rebinding) and can post to localhost without
being asked. So a server on a loopback address answers only to the names of that address, and no server answers a page
of another origin. Decided on the raw headers; `null` is no origin.
"""

from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from handful.server.errors import ForeignHostError, error_response

_READ = (b"host", b"origin")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether an address to bind to can be reached from this machine only."""
    return host in LOOPBACK_NAMES or (host.startswith("127.") and host.replace(".", "").isdecimal())


@lru_cache(maxsize=64)
def host_name(host: str) -> str:
    """The name in a Host header or an origin's authority, in lower case, without port and brackets; "" if malformed."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


class HostGuard:
    """ASGI middleware. `allowed` are the names this server answers to; None: any name, but still no foreign origin."""

    def __init__(self, app: ASGIApp, allowed: frozenset[str] | None) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it with 403."""
        problem = self._problem(scope) if scope["type"] in ("http", "websocket") else ""
        if problem and scope["type"] == "websocket":  # before it is accepted: the server answers 403
            return await send({"type": "websocket.close", "code": 1008})
        if problem:
            error = ForeignHostError(problem, fix="Start the server with --allow-host NAME if that is meant.")
            return await error_response(error, scope["path"])(scope, receive, send)
        return await self._app(scope, receive, send)

    def _problem(self, scope: Scope) -> str:
        told = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name in _READ]
        hosts = [value for name, value in told if name == b"host"]
        names = {host_name(host) for host in hosts}
        if self._allowed is not None and (len(hosts) != 1 or not names <= self._allowed):
            return "This server doesn't answer to that host name."
        if any(not self._is_known(value, names) for name, value in told if name == b"origin"):
            return "This server doesn't answer to web pages of another origin."
        return ""

    def _is_known(self, origin: str, names: set[str]) -> bool:
        scheme, _, authority = origin.partition("://")
        known = names if self._allowed is None else self._allowed
        return scheme in ("http", "https") and host_name(authority) in known - {""}
