"""Limits on the way in, usage on the way out.

A token's request with model work is written to the database before the last part of its answer leaves: who has a whole
answer (a streamed one ends with its connection's last chunk, not with its last event) is in the books, also if the
process is killed right after. All requests that end within one commit share it. A commit that takes longer than
`MAX_WAIT_S` isn't waited for: see usage_recorder.py for what happens while the database fails. Requests without a token
don't wait for the disk: of theirs a kill loses the last tenth of a second.
"""

import asyncio
import time
from datetime import UTC, date, datetime

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handful.errors import HandfulError, StoreError
from handful.server.auth import Caller, caller_of
from handful.server.auth_scopes import is_open
from handful.server.auth_state import Access
from handful.server.errors import error_response
from handful.server.usage_tally import Tally, current_tally
from handful.store.usage import Usage, UsageKey

MAX_WAIT_S = 1.0


def today() -> date:
    """The day that usage counts for now, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC).date()


class UsageGate:
    """ASGI middleware, behind `AuthGate`: refuses a token that has used up its limits (429) and counts the others."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it. Reading (GET, HEAD) has no limit."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD") or is_open(scope):
            return await self._app(scope, receive, send)
        metered = _Metered(self._access, caller_of(scope), send)
        try:
            metered.enter()
        except HandfulError as error:
            return await error_response(error, scope["path"])(scope, receive, metered.send_refusal)
        context = current_tally.set(metered.tally)
        try:
            await self._app(scope, receive, metered.send)
        finally:
            current_tally.reset(context)
            metered.leave()
        return None


class _Metered:
    """One request."""

    def __init__(self, access: Access, caller: Caller, send: Send) -> None:
        self._access, self._caller, self._send = access, caller, send
        self.tally = Tally(self._add_late)
        self._num_characters: int | None = None
        self._is_recorded = False

    def enter(self) -> None:
        """Raises RateLimitedError, or StoreError where no more usage can be kept."""
        recorder = self._access.recorder
        if recorder is not None and recorder.is_full:
            raise StoreError("The server can't write down usage any more.", fix="Send the request again later.")
        if self._caller.token is not None:
            self._access.limiter.enter(self._caller.token)

    def leave(self) -> None:
        """The request has ended, however it did."""
        self._record()
        if self._caller.token is not None:
            self._access.limiter.leave(self._caller.token, self.tally.num_tokens)

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer; the last one when the usage is written."""
        if message["type"] == "http.response.start":
            self._tag(message)
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            written = self._record()
            if written is not None:
                await asyncio.wait({written}, timeout=MAX_WAIT_S)
        await self._send(message)

    async def send_refusal(self, message: Message) -> None:
        """Pass on a part of an answer to a request that didn't enter."""
        if message["type"] == "http.response.start":
            self._tag(message)
        await self._send(message)

    def _tag(self, message: Message) -> None:
        count = next((value for name, value in message["headers"] if name == b"x-compute-characters"), b"")
        self._num_characters = int(count) if count.isdigit() else None
        if self._caller.token is not None:
            MutableHeaders(scope=message).update(self._access.limiter.headers(self._caller.token))

    def _record(self) -> "asyncio.Future[None] | None":
        """Hand over what was used, at the first call. Returns what to wait for until it is on disk."""
        if self._is_recorded:
            return None
        self._is_recorded = True
        return self._hand_over(self.tally.amounts(self._num_characters))

    def _add_late(self, model: str, amount: Usage) -> None:
        self._hand_over({model: amount})
        if self._caller.token is not None:
            self._access.limiter.charge(self._caller.token, amount.prompt_tokens + amount.generated_tokens)

    def _hand_over(self, amounts: dict[str, Usage]) -> "asyncio.Future[None] | None":
        recorder = self._access.recorder
        if recorder is None or not amounts:
            return None
        day, token_id = today(), self._caller.token_id
        keyed = {UsageKey(day, token_id, model): amount for model, amount in amounts.items()}
        return recorder.record(keyed, is_awaited=bool(token_id))
