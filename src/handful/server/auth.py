"""Who is calling: `Authorization: Bearer hf_...`, checked before anything else looks at a request.

Where tokens are required, every path is closed but those in `auth_scopes.OPEN_PATHS`, also paths without a route; with
the database gone nobody is let in. Where they aren't, a token that is known still counts (its usage, its limits), and
anything else in the header is ignored: clients of hosted services send some key wherever they go.
"""

import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from handful.errors import HandfulError, StoreError
from handful.server.auth_scopes import is_open, needed_scope
from handful.server.auth_store import StoreThreads
from handful.server.errors import ForbiddenError, UnauthorizedError, error_response
from handful.server.ownership import current_account
from handful.store.tokens import ApiToken, Tokens

_MAX_HEADER_BYTES = 256
_KEY = "handful.caller"
_INVALID = "Invalid credentials in Authorization header"  # huggingface_hub knows this sentence


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. Without a token it is nobody in particular."""

    token: ApiToken | None = None

    @property
    def token_id(self) -> str:
        """The token's id, or ""."""
        return self.token.id if self.token else ""

    @property
    def account(self) -> str | None:
        """The account that the token belongs to."""
        return self.token.account if self.token else None


NOBODY = Caller()


def caller_of(scope: Scope) -> Caller:
    """Who sent the request, as `AuthGate` found out."""
    caller: Caller = scope.get(_KEY, NOBODY)
    return caller


class Authenticator:
    """Finds callers by their tokens. Nothing is remembered: a token that is revoked is refused from then on."""

    def __init__(self, tokens: Tokens | None = None, threads: StoreThreads | None = None, *, required: bool) -> None:
        if required and tokens is None:
            raise ValueError("tokens can't be required where there are none")
        self.is_required = required
        self._tokens, self._threads = tokens, threads or StoreThreads()

    async def identify(self, scope: Scope) -> Caller:
        """The caller of a request. Raises UnauthorizedError and StoreError, but only where a token is required."""
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        try:
            return await self._find(values)
        except (UnauthorizedError, StoreError):
            if self.is_required:
                raise
            return NOBODY

    async def _find(self, values: list[bytes]) -> Caller:
        if not values:
            raise UnauthorizedError("This server asks for a token.", fix="Send it as `Authorization: Bearer hf_...`.")
        secret = _bearer(values)
        found = None
        if secret and self._tokens is not None:
            found = await self._threads.run(self._tokens.find, secret)
        if found is None or not found.is_valid(time.time()):
            raise UnauthorizedError(f"{_INVALID}.", fix="`handful tokens create` makes a token.")
        return Caller(found)

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.close()


def _bearer(values: list[bytes]) -> str:
    """The token in the header, or "" where it isn't one of ours for sure."""
    if len(values) != 1 or len(values[0]) > _MAX_HEADER_BYTES:
        return ""
    scheme, _, secret = values[0].decode("latin-1").partition(" ")
    return secret.strip(" ") if scheme.lower() == "bearer" else ""


class AuthGate:
    """ASGI middleware: refuses who isn't let in (401), or not to this (403), and writes down who called."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app, self._authenticator = app, authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "lifespan" or is_open(scope):
            return await self._app(scope, receive, send)
        try:
            caller = await self._admit(scope)
        except HandfulError as error:
            return await _refuse(error, scope, receive, send)
        scope[_KEY] = caller
        token = current_account.set(caller.account)
        try:
            return await self._app(scope, receive, send)
        finally:
            current_account.reset(token)

    async def _admit(self, scope: Scope) -> Caller:
        caller = await self._authenticator.identify(scope)
        needed = needed_scope(scope)
        if self._authenticator.is_required and (caller.token is None or needed not in caller.token.scopes):
            raise ForbiddenError(
                f"This token may not do that: it lacks the scope `{needed}`.",
                fix=f"Use one made with `handful tokens create --scope {needed}`.",
            )
        return caller


async def _refuse(error: HandfulError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":  # before it is accepted: the server answers 403
        return await send({"type": "websocket.close", "code": 1008})
    response = error_response(error, scope["path"])
    if isinstance(error, UnauthorizedError):
        response.headers["www-authenticate"] = "Bearer"
        if error.message.startswith(_INVALID):
            response.headers["x-error-message"] = _INVALID
    return await response(scope, receive, send)
