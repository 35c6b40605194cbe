"""Who is let in, on every route there is."""

import ast
import logging
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope

from handful import server
from handful.errors import StoreError
from handful.server import connection_httptools
from handful.server.app import create_app
from handful.server.auth import Authenticator, AuthGate
from handful.server.auth_scopes import OPEN_PATHS, needed_scope
from handful.server.auth_store import StoreThreads
from handful.store.database import Database
from handful.store.tokens import ApiToken, Tokens
from tests.unit.server.serving import client_of, run
from tests.unit.server.with_access import BODY, bearer, opened, state_over

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
PATH = "/models/fake"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


def ask(database: Database, method: str, path: str, *, required: bool = True, **request: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        async with client_of(state_over(database, required=required)) as client:
            return await client.request(method, path, **request)

    return run(send())


def post(database: Database, headers: Any, *, path: str = PATH, required: bool = True) -> httpx.Response:
    return ask(database, "POST", path, required=required, headers=headers, content=BODY)


def patterns_of(routes: Iterable[Any]) -> Iterator[str]:
    """Every route's pattern, those of included routers too."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from patterns_of(route.original_router.routes)
        elif hasattr(route, "path"):
            yield route.path


def paths_of(app: FastAPI) -> set[str]:
    """Every route's path with its parameters filled in, and some that have no route."""
    patterns = set(patterns_of(app.routes))
    assert set(app.openapi()["paths"]) < patterns
    filled = {re.sub(r"{[^}]*}", "fake", pattern) for pattern in patterns}
    return filled | {
        "/metrics",
        "/nothing",
        "",
        "//health",
        "/health/",
        "/health/x",
        "/HEALTH",
        "/ready;",
        "/health%00",
    }


def test_every_route_and_every_method_needs_a_token_but_those_written_down(database: Database) -> None:
    async def walk() -> list[tuple[str, str, int]]:
        state = state_over(database)
        async with client_of(state) as client:
            return [
                (method, path, (await client.request(method, f"http://localhost{path}")).status_code)
                for path in paths_of(create_app(state))
                for method in METHODS
            ]

    answers = run(walk())
    let_in = {(method, path) for method, path, status in answers if status != 401}
    assert let_in == {(method, path) for path in OPEN_PATHS for method in ("GET", "HEAD")}
    assert set(OPEN_PATHS) == {"/health", "/ready"}


def test_a_token_lets_in(database: Database) -> None:
    assert post(database, bearer(database)).json() == [{"generated_text": "one two three w1 w2 w3 w4"}]


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_may_be_written_in_any_case(database: Database, scheme: str) -> None:
    secret = bearer(database)["authorization"].split()[1]
    assert post(database, {"authorization": f"{scheme} {secret}"}).status_code == 200


def forms(secret: str) -> list[bytes]:
    good = secret.encode()
    return [
        b"",
        b"Bearer",
        b"Bearer ",
        good,
        b"Basic " + good,
        b"Bearer\t" + good,
        b"Bearer " + good + b"x",
        b"Bearer " + good[:-1],
        b"Bearer " + good.upper(),
        b"Bearer " + good + b" " + good,
        b"Bearer " + good + b"\x00",
        b"Bearer hf_\x00",
        b"Bearer ' OR '1'='1",
        b"Bearer hf_' OR 1=1; DROP TABLE api_tokens; --",
        b'Bearer "' + good + b'"',
        b"Bearer %",
        b"Bearer \xff\xfe",
        "Bearer hf_é".encode(),
        b"Bearer hf_" + b"a" * 1_000_000,
        b"Bearer " + b" " * 1_000_000 + good,
    ]


def test_anything_else_in_the_header_does_not_let_in(database: Database) -> None:
    secret = bearer(database)["authorization"].split()[1]

    async def walk() -> list[httpx.Response]:
        async with client_of(state_over(database)) as client:
            headers = [[(b"authorization", form)] for form in forms(secret)]
            headers.append([(b"authorization", f"Bearer {secret}".encode())] * 2)
            headers.append([(b"x-authorization", f"Bearer {secret}".encode())])
            return [await client.post(PATH, content=BODY, headers=each) for each in headers]

    answers = run(walk())
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    assert not any(secret in answer.text for answer in answers)
    assert len(Tokens(database).list()) == 1


def test_a_token_in_the_address_does_not_let_in(database: Database) -> None:
    secret = bearer(database)["authorization"].split()[1]
    assert post(database, {}, path=f"{PATH}?token={secret}&access_token={secret}").status_code == 401


def test_a_revoked_token_is_refused_from_the_next_request_on(database: Database) -> None:
    headers = bearer(database)

    async def walk() -> list[int]:
        async with client_of(state_over(database)) as client:
            before = await client.post(PATH, content=BODY, headers=headers)
            Tokens(database).revoke(Tokens(database).list()[0].id)
            after = await client.post(PATH, content=BODY, headers=headers)
            return [before.status_code, after.status_code]

    assert run(walk()) == [200, 401]


def test_an_expired_token_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = bearer(database, lifetime_s=100)
    assert post(database, headers).status_code == 200
    now = time.time()
    monkeypatch.setattr("handful.server.auth.time.time", lambda: now + 101)
    assert post(database, headers).status_code == 401


def test_the_client_library_can_tell_bad_credentials_from_none(database: Database) -> None:
    bad = post(database, {"authorization": "Bearer hf_no"})
    assert bad.headers["x-error-message"] == "Invalid credentials in Authorization header"
    assert "x-error-message" not in post(database, {}).headers


def test_a_refusal_has_the_shape_of_the_surface(database: Database) -> None:
    hugging_face, openai, tgi = (post(database, {}, path=path) for path in (PATH, "/v1/completions", "/generate"))
    # An `error_type` would hide the status from huggingface_hub.
    assert list(hugging_face.json()) == ["error", "message"]
    assert isinstance(hugging_face.json()["error"], list)
    assert openai.json()["error"]["code"] == "invalid_api_key"
    assert openai.json()["error"]["type"] == "authentication_error"
    assert isinstance(tgi.json()["error"], str)
    assert (openai.status_code, tgi.status_code) == (401, 401)


def test_a_token_that_may_only_predict_changes_nothing(database: Database) -> None:
    for method, path in (("DELETE", "/tasks/upper"), ("POST", "/tasks"), ("PUT", "/models/fake")):
        refused = ask(database, method, path, headers=bearer(database, scopes=("predict",)))
        assert refused.status_code == 403
        assert "lacks the scope `manage`" in refused.json()["error"][0]
    managing = bearer(database, scopes=("manage",))
    assert ask(database, "DELETE", "/tasks/nothing", headers=managing).status_code == 404
    assert post(database, managing).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", "/models/a", "predict"),
        ("POST", "/models/a/b", "predict"),
        ("POST", "/models/a/b/pipeline/fill-mask", "predict"),
        ("POST", "/models/a/b/v1/chat/completions", "predict"),
        ("POST", "/pipeline/fill-mask/a/b", "predict"),
        ("POST", "/v1/embeddings", "predict"),
        ("POST", "/generate_stream", "predict"),
        ("POST", "/", "predict"),
        ("POST", "/tasks/a", "predict"),
        ("GET", "/tasks", "predict"),
        ("GET", "/metrics", "predict"),
        ("POST", "/tasks", "manage"),
        ("POST", "/tasks/a/examples", "manage"),
        ("PUT", "/tasks/a", "manage"),
        ("DELETE", "/tasks/a", "manage"),
        ("POST", "/usage/pinned_models", "manage"),
        ("POST", "/models", "manage"),
        ("PUT", "/models/a", "manage"),
        ("POST", "/v1/files", "manage"),
        ("POST", "/something/new", "manage"),
        ("POST", "//models/a/b/c", "manage"),
    ],
)
def test_what_is_not_listed_needs_the_scope_manage(method: str, path: str, needed: str) -> None:
    assert needed_scope({"type": "http", "method": method, "path": path}) == needed


def test_an_open_server_asks_for_nothing_and_minds_no_other_key(database: Database) -> None:
    for headers in ({}, {"authorization": "Bearer sk-other"}, {"authorization": "Basic x"}):
        assert post(database, headers, required=False).status_code == 200
    assert ask(database, "DELETE", "/usage", required=False).status_code == 405


def broken(*_: object) -> ApiToken | None:
    raise StoreError("The database postgresql://secret-host/x can't be used.")


def test_without_its_database_a_server_lets_nobody_in(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = bearer(database)
    monkeypatch.setattr(Tokens, "find", broken)
    refused = post(database, headers)
    assert refused.status_code == 503
    assert "secret-host" not in refused.text
    assert post(database, {}).status_code == 401
    assert post(database, headers, required=False).status_code == 200


def test_a_database_that_hangs_lets_nobody_in_and_holds_up_nothing_else(database: Database) -> None:
    class Hanging(Tokens):
        def find(self, secret: str) -> ApiToken | None:
            time.sleep(1.5)
            return super().find(secret)

    state = state_over(database)
    hanging = Authenticator(Hanging(database), StoreThreads(timeout_s=0.05), required=True)
    object.__setattr__(state.access, "authenticator", hanging)

    async def walk() -> tuple[int, int, float]:
        async with client_of(state) as client:
            started = time.perf_counter()
            refused = await client.post(PATH, content=BODY, headers=bearer(database))
            health = await client.get("/health")
            return refused.status_code, health.status_code, time.perf_counter() - started

    status, health, seconds = run(walk())
    assert (status, health) == (503, 200)
    assert seconds < 1.2


def test_a_websocket_without_a_token_is_closed_before_it_opens(database: Database) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def never(*_: object) -> None:
        raise AssertionError("the app was reached")

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    scope: Scope = {"type": "websocket", "path": "/health", "headers": []}
    run(AuthGate(never, Authenticator(Tokens(database), required=True))(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_no_token_is_in_any_log(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    headers = bearer(database)
    secret = headers["authorization"].split()[1]
    post(database, headers)
    post(database, {"authorization": f"Bearer {secret}x"})
    ask(database, "GET", f"/nothing/{secret}", headers=headers)
    lines = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]  # the test's own
    assert len([line for line in lines if "request_id" in line]) == 3
    assert not [line for line in lines if secret[3:] in line]


def test_no_part_of_the_server_reads_an_address_that_was_put_together_from_headers() -> None:
    # in connection_httptools.py `url` is uvicorn's name of a request's own target, before there are headers
    files = sorted(set(Path(server.__file__).parent.glob("*.py")) - {Path(connection_httptools.__file__)})
    read = [
        f"{file.name}:{node.lineno}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("url", "base_url", "url_for")
    ]
    assert len(files) > 10
    assert read == []


def test_asking_for_tokens_without_a_database_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="can't be required"):
        Authenticator(required=True)
