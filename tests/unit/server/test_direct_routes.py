"""A request reaches the route that FastAPI would have called, and what has no route is still FastAPI's."""

from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from handful.errors import InvalidInputError
from handful.server.app import create_app
from handful.server.direct_routes import DirectRoutes
from handful.server.errors import install_error_handlers
from handful.server.gated_app import GatedApp
from tests.unit.server.routes import OPERATIONS, site_in
from tests.unit.server.serving import FakeModel, client_of, run, state_with

router = APIRouter()


@router.get("/things/all")
async def everything(request: Request) -> Response:
    return PlainTextResponse(f"all, {sorted(request.path_params)}")


@router.get("/things/{name}")
async def one(request: Request, name: str) -> Response:
    return PlainTextResponse(f"{name}, {request.scope['route'].path}")


@router.post("/things/{name}")
async def failing(request: Request, name: str) -> Response:
    raise InvalidInputError(f"No {name}.")


@router.get("/numbers/{number}")
async def typed(request: Request, number: int) -> Response:
    return PlainTextResponse(repr(number))


def made(*, is_direct: bool) -> FastAPI:
    app = GatedApp()
    app.include_router(router)
    install_error_handlers(app)
    if is_direct:
        app.front = DirectRoutes(app.fallback, [router])
    return app


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[("GET", path) for path in ("/things/all", "/things/a%20b", "/things/a%2Fb", "/things/x/", "/things/", "/")],
        *[("POST", "/things/a"), ("DELETE", "/things/a")],
        *[("GET", "/numbers/7"), ("GET", "/numbers/x"), ("GET", "/openapi.json"), ("GET", "//things/a")],
    ],
)
def test_the_answer_is_that_of_the_framework(method: str, path: str) -> None:
    async def ask(app: FastAPI) -> tuple[int, bytes]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.request(method, path)
        return answer.status_code, answer.content

    assert run(ask(made(is_direct=True))) == run(ask(made(is_direct=False)))


def test_all_routes_of_the_server_but_its_websockets_are_direct() -> None:
    app = create_app(state_with(FakeModel()))
    direct = app.front
    while not isinstance(direct, DirectRoutes):
        direct = vars(direct)["_app"]
    found = {(route.path, method) for (method, _), routes in direct._routes.items() for route in routes}
    described = {(path, verb.upper()) for path, verbs in app.openapi()["paths"].items() for verb in verbs}
    assert found == described


def test_the_frameworks_own_way_to_a_route_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        state = state_with(FakeModel())
        async with client_of(state) as client:
            monkeypatch.setattr("fastapi.routing.APIRouter.app", None)
            assert (await client.get("/health")).status_code == 200

    run(check())


def test_what_means_nothing_behind_the_question_mark_is_refused_by_name_on_every_route(tmp_path: Path) -> None:
    async def check() -> None:
        async with site_in(tmp_path) as site:
            for path, method in OPERATIONS:
                refused = await site.send(path, method, params={"wait_for_model": "true"})
                assert refused.status_code in (400, 422), (path, method, refused.text)
                assert "`wait_for_model` is unknown here." in refused.text, (path, method)

    run(check())
