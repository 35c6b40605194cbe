"""What one account sends says nothing to another, on a real server; the prefix of a served task is everybody's."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import EXAMPLES, Server, serving
from tests.e2e.test_accounts import handful, new_token

SECRET = "The recovery phrase of the wallet is: ocean tiger seven lamp.\nThe recovery phrase is:"


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("callers")
    return f"sqlite:///{folder}/handful.db"


@pytest.fixture(scope="module")
def guarded(database_url: str) -> Iterator[Server]:
    task = f"--task={EXAMPLES / 'sentiment.yaml'}"
    with serving("--require-tokens", task, DATABASE_URL=database_url) as running:
        yield running


@pytest.fixture(scope="module")
def callers(guarded: Server, database_url: str) -> list[dict[str, str]]:
    for name in ("ada", "grace"):
        handful(database_url, "users", "create", name)
    return [new_token(database_url, "--account", name) for name in ("ada", "grace")]


def cached_tokens(server: Server, headers: dict[str, str]) -> int:
    body = {"inputs": SECRET, "parameters": {"max_new_tokens": 2}}
    answer = httpx.post(server.model_url, json=body, headers=headers, timeout=60)
    assert answer.status_code == 200
    return int(answer.headers["x-cached-tokens"])


def test_a_prompt_is_found_again_by_who_sent_it_and_by_nobody_else(
    guarded: Server, callers: list[dict[str, str]]
) -> None:
    ada, grace = callers
    first = cached_tokens(guarded, ada)
    assert cached_tokens(guarded, grace) == first  # what begins like a task's prefix, if anything
    assert cached_tokens(guarded, ada) > first
    assert cached_tokens(guarded, grace) > first


def test_the_prefix_of_a_served_task_is_read_by_all(guarded: Server, callers: list[dict[str, str]]) -> None:
    def figure(name: str) -> float:
        lines = httpx.get(f"{guarded.url}/metrics", headers=callers[0], timeout=60).text.splitlines()
        return float(next(line for line in lines if line.startswith(f"{name}_total ")).split()[1])

    for number, headers in enumerate(callers):
        read, cached = figure("handful_prompt_tokens"), figure("handful_cached_prompt_tokens")
        text = f"A film like no other, number {number}."
        answer = httpx.post(f"{guarded.url}/tasks/sentiment", json={"inputs": text}, headers=headers, timeout=60)
        assert answer.status_code == 200
        read, cached = figure("handful_prompt_tokens") - read, figure("handful_cached_prompt_tokens") - cached
        assert cached > read / 2
