"""FastAPI's app behind our gates, which a request reaches without the framework's own way to a middleware."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send


class GatedApp(FastAPI):
    """An app whose requests and websockets go to `front`, and from there, if anywhere, to `fallback`.

    What FastAPI puts around middlewares (a last catch, a bound on bodies, telemetry) is five calls a request for what
    our gates do themselves.
    """

    front: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one websocket, or the app's start and end."""
        if self.front is None or scope["type"] == "lifespan":
            return await super().__call__(scope, receive, send)
        scope["app"] = self
        return await self.front(scope, receive, send)

    async def fallback(self, scope: Scope, receive: Receive, send: Send) -> None:
        """FastAPI's own way to a route, or to what it says where there is none."""
        await super().__call__(scope, receive, send)
