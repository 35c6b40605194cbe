"""One line of JSON a request, an id on every answer, and the last place where an unexpected exception is caught.

The line has the route's pattern, never the path, the query, a header or a text that the client sent.
"""

import json
import logging
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handful.server.errors import STATUS_CLIENT_LEFT, error_response, fault

_log = logging.getLogger("handful.server.access")


class AccessLog:
    """ASGI middleware, the outermost one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and log how it went."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id, started = uuid.uuid4().hex, time.perf_counter()
        status = STATUS_CLIENT_LEFT

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, tagged)
        except Exception as error:  # noqa: BLE001 - the last place before the socket; `fault` logs it
            failure = fault(error)
            if status == STATUS_CLIENT_LEFT:  # nothing was sent yet
                await error_response(failure, scope["path"])(scope, receive, tagged)
        finally:
            _log.info(_line(scope, request_id, status, time.perf_counter() - started))
        return None


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
