"""From a request to its route without the framework's way there.

FastAPI describes our routes, and could call them: but finding one among sixty, entering three exit stacks and solving
dependencies that nobody has was half of what a request cost before its model began. Our routes take the request and
the texts in their path, nothing else, so a table by the shape of the path finds them. What stands behind the `?` and
means nothing to the route is refused here, for all of them (query.py). What isn't in the table, or is asked by
another method (HEAD is as good as GET), is passed on, and FastAPI answers as ever: 404, 405, slashes too many,
/openapi.json, websockets.
"""

import inspect
from collections import defaultdict
from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from handful.errors import HandfulError
from handful.server.errors import error_response
from handful.server.query import names_read, refuse_unknown_query

Shape = tuple[str, int]
"""A method, and how many slashes are in the path."""


class DirectRoutes:
    """ASGI middleware, the innermost one: calls the route of a request, as FastAPI would.

    The first route that fits is taken, in the order of `routers`.
    """

    def __init__(self, app: ASGIApp, routers: Iterable[APIRouter]) -> None:
        self._app = app
        self._routes: dict[Shape, list[APIRoute]] = defaultdict(list)
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute) and _takes_texts_only(route):
                    for method in route.methods or ():
                        self._routes[method, route.path.count("/")].append(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = self._find(scope) if scope["type"] == "http" and not scope.get("root_path") else None
        if found is None:
            return await self._app(scope, receive, send)
        route, values = found
        scope["route"], scope["endpoint"], scope["path_params"] = route, route.endpoint, values
        request = Request(scope, receive, send)
        try:
            if scope["query_string"]:
                refuse_unknown_query(request, names_read(route))
            response: Response = await route.endpoint(request, **values)
        except HandfulError as error:
            response = error_response(error, scope["path"])
        return await response(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[APIRoute, dict[str, str]] | None:
        path, method = scope["path"], scope["method"]
        method = (
            "GET" if method == "HEAD" else method
        )  # the same without a body (RFC 9110, 9.3.2); uvicorn leaves it out
        for route in self._routes.get((method, path.count("/")), ()):
            match = route.path_regex.match(path)
            if match is not None:
                return route, match.groupdict()
        return None


def _takes_texts_only(route: APIRoute) -> bool:
    """Whether a route is called with its request and the parts of its path, as they are, and makes its own response."""
    signature = inspect.signature(route.endpoint)
    first, *others = signature.parameters.values()
    texts_only = all(each.annotation is str for each in others) and ":" not in route.path
    makes_response = signature.return_annotation is Response and inspect.iscoroutinefunction(route.endpoint)
    is_told_of_all = {each.name for each in others} == set(route.param_convertors)
    return first.annotation is Request and texts_only and makes_response and is_told_of_all
