"""On every surface the model is asked on behalf of the token's account, and of nobody else."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from handful.backend import AsyncBackend
from handful.server.task_pins import TaskPins
from handful.store.accounts import Accounts
from handful.store.database import Database
from tests.unit.server.serving import FakeModel, client_of, run
from tests.unit.server.with_access import bearer, opened, state_over


@dataclass
class SharedModel(FakeModel):
    """Notes on whose behalf it was asked; "" is nobody in particular."""

    asked_for: list[str] = field(default_factory=list)

    def for_caller(self, owner: str) -> AsyncBackend:
        self.asked_for.append(owner)
        return self


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


TEXT: dict[str, Any] = {"inputs": "a", "parameters": {"max_new_tokens": 1}}
OPENAI: dict[str, Any] = {"prompt": "a", "max_tokens": 1}
ROUTES: dict[str, dict[str, Any]] = {
    "/models/fake": TEXT,
    "/models/org/fake": TEXT | {"stream": True},
    "/generate": TEXT,
    "/generate_stream": TEXT,
    "/v1/completions": OPENAI,
    "/models/fake/v1/completions": OPENAI | {"stream": True},
    "/v1/embeddings": {"input": "a"},
    "/tasks/sentiment": {"inputs": "a"},
    "/tasks/upper": {"inputs": "a"},
    "/tokenize": {"inputs": "a"},
}


@pytest.mark.parametrize("path", ROUTES)
def test_it_is_asked_for_the_tokens_account(database: Database, path: str) -> None:
    Accounts(database).create("ada")
    model = SharedModel()

    async def post() -> None:
        async with client_of(state_over(database, model)) as client:
            answer = await client.post(path, json=ROUTES[path], headers=bearer(database, account="ada"))
            assert answer.status_code == 200, answer.text

    run(post())
    assert set(model.asked_for) == {"ada"}


def test_without_a_token_it_is_asked_for_nobody_in_particular(database: Database) -> None:
    model = SharedModel()

    async def post() -> None:
        async with client_of(state_over(database, model, required=False)) as client:
            for path, body in ROUTES.items():
                assert (await client.post(path, json=body)).status_code == 200

    run(post())
    assert model.asked_for == []


def test_the_prefix_of_a_private_task_is_computed_for_its_owner_alone() -> None:
    async def hold_both() -> list[str]:
        model, pins = SharedModel(), TaskPins()
        pins.model_loaded("m", model, 1000)
        assert await pins.hold("public", "m", "x")
        assert await pins.hold("private", "m", "x", "ada")
        assert model.pinned == ["x", "x"]
        await pins.release("private", "m", "x", "ada")
        assert model.pinned == ["x"]
        return model.asked_for

    assert run(hold_both()) == ["ada", "ada"]
