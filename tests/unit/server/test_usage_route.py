"""GET /usage shows an account its own usage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from handful.server.usage import today
from handful.store.database import Database
from handful.store.tokens import Tokens
from tests.unit.server.serving import FakeModel, client_of, run
from tests.unit.server.with_access import BODY, bearer, opened, state_over

PATH = "/models/fake"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


def get(database: Database, query: str = "", **options: Any) -> httpx.Response:
    headers = bearer(database)

    async def send() -> httpx.Response:
        async with client_of(state_over(database, **options)) as client:
            await client.post(PATH, content=BODY, headers=headers)
            return await client.get(f"/usage{query}", headers=headers)

    return run(send())


def test_usage_is_shown_by_day_token_and_model(database: Database) -> None:
    shown = get(database).json()
    token = Tokens(database).list()[0]
    (row,) = shown["usage"]
    assert (row["day"], row["model"]) == (today().isoformat(), "fake")
    assert row["token"] == {"id": token.id, "name": "token", "prefix": token.prefix}
    assert (row["requests"], row["prompt_tokens"], row["generated_tokens"]) == (1, 3, 4)
    assert shown["total"]["input_characters"] == 13
    assert (shown["account"], shown["unwritten_requests"]) == ("default", 0)


def test_an_account_sees_its_own_usage_only(database: Database) -> None:
    from handful.store.accounts import Accounts

    get(database)
    Accounts(database).create("grace")
    stranger = bearer(database, account="grace")

    async def ask() -> Any:
        async with client_of(state_over(database)) as client:
            return (await client.get("/usage", headers=stranger)).json()

    assert run(ask())["usage"] == []


@pytest.mark.parametrize(
    "query", ["?days=0", "?days=367", "?days=x", "?days=", "?days=-1", "?days=1e2", "?days=٣", "?day=3"]
)
def test_a_query_that_makes_no_sense_is_refused_by_name(database: Database, query: str) -> None:
    answer = get(database, query)
    assert answer.status_code == 400
    assert answer.json()["parameter"] in ("days", "day")


def test_a_server_without_a_database_says_so() -> None:
    from tests.unit.server.serving import state_with

    async def ask() -> httpx.Response:
        async with client_of(state_with(FakeModel())) as client:
            return await client.get("/usage")

    assert run(ask()).status_code == 503
