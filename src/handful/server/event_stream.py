"""A streamed answer: server-sent events for as long as the client reads.

Headers leave with the first event, so a request that fails before it gets a proper status. Past that, every stream ends
with exactly one last event: the one with the whole text (behind which OpenAI's surface says `[DONE]`), or one with an
error. A reader that is slow holds the generator back at `send` (the server's write buffer is bounded) and is given up
at the deadline.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from handful.errors import HandfulError
from handful.protocol.sse import CONTENT_TYPE, encode_event
from handful.server.attend import Watch, attend
from handful.server.errors import ClientLeftError, error_event, error_response, fault
from handful.server.headers import STREAM_HEADERS
from handful.server.surface import surface_of

_END = {"openai": b"data: [DONE]\n\n"}


class EventStream(Response):
    """Sends JSON-ready values as they come. Closing the source (done at every end) aborts its request."""

    media_type = CONTENT_TYPE

    def __init__(self, values: AsyncGenerator[dict[str, Any], None], watch: Watch, headers: Mapping[str, str]) -> None:
        super().__init__(headers=dict(headers) | STREAM_HEADERS)
        del self.headers["content-length"]
        self._values, self._watch = values, watch
        self._has_started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, whatever happens to it."""
        try:
            await attend(self._pump(send, _END.get(surface_of(scope["path"]), b"")), self._watch)
        except ClientLeftError:
            return
        except HandfulError as error:
            await self._fail(error, scope, receive, send)
        except Exception as error:  # noqa: BLE001 - headers may have left, so no handler further out can answer
            await self._fail(fault(error), scope, receive, send)

    async def _pump(self, send: Send, end: bytes) -> None:
        async with aclosing(self._values) as values:
            async for value in values:
                await self._start(send)
                await send({"type": "http.response.body", "body": encode_event(value), "more_body": True})
        await send({"type": "http.response.body", "body": end, "more_body": False})

    async def _start(self, send: Send) -> None:
        if not self._has_started:
            self._has_started = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

    async def _fail(self, error: HandfulError, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._has_started:
            return await error_response(error, scope["path"])(scope, receive, send)
        body = encode_event(error_event(error, scope["path"]))
        return await send({"type": "http.response.body", "body": body, "more_body": False})
