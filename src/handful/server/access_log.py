"""One line of JSON a request, an id on every answer, and the last place where an unexpected exception is caught.

The line has the route's pattern, never the path, the query, a header or a text that the client sent.
"""

import json
import logging
import random
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handful.server.errors import STATUS_CLIENT_LEFT, error_response, fault

_log = logging.getLogger("handful.server.access")
_ids = random.Random()  # noqa: S311 - a request's id is a name and no secret


class AccessLog:
    """ASGI middleware, the outermost one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and log how it went."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id, started = _new_id(), time.perf_counter()
        status = STATUS_CLIENT_LEFT

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, tagged)
        except Exception as error:  # noqa: BLE001 - the last place before the socket; `fault` logs it
            failure = fault(error)
            if status == STATUS_CLIENT_LEFT:  # nothing was sent yet
                await error_response(failure, scope["path"])(scope, receive, tagged)
        finally:
            if _log.isEnabledFor(logging.INFO):
                _write(_line(scope, request_id, status, time.perf_counter() - started))
        return None


def _new_id() -> str:
    """A name that no other request has. uuid4 would ask the system each time, and let go of the interpreter's lock."""
    return f"{_ids.getrandbits(128):032x}"


def _write(line: str) -> None:
    """Log a line, without the search for the place in the code that a logger makes for each."""
    _log.handle(_log.makeRecord(_log.name, logging.INFO, __file__, 0, line, (), None))


def _line(scope: Scope, request_id: str, status: int, seconds: float) -> str:
    route = getattr(scope.get("route"), "path", "unmatched")
    fields = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "request_id": request_id,
        "method": scope["method"] if scope["method"].isalpha() else "?",
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 1),
    }
    return json.dumps(fields)
