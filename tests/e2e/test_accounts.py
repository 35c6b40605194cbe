"""Accounts over real servers: who is let in, what is counted, what survives a kill."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.e2e.conftest import HANDFUL, SETTINGS, Server, serving
from tests.postgres import Postgres, make_postgres

BODY = {"inputs": "English: cheese\nFrench:", "parameters": {"max_new_tokens": 3}}


def handful(database_url: str, *arguments: str) -> Any:
    """What a `handful` command prints as JSON."""
    environment = os.environ | SETTINGS | {"HANDFUL_DATABASE_URL": database_url}
    command = [*HANDFUL, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def new_token(database_url: str, *options: str) -> dict[str, str]:
    """The header of a new token."""
    return {"authorization": f"Bearer {handful(database_url, 'tokens', 'create', *options)['token']}"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    there = make_postgres()
    yield there
    there.stop("immediate")
    there.remove()


@pytest.fixture(scope="module")
def guarded(postgres: Postgres) -> Iterator[Server]:
    """A server that others could reach, with its accounts in PostgreSQL."""
    with serving("--host", "0.0.0.0", DATABASE_URL=postgres.url) as running:  # noqa: S104 - for the tests' minutes
        yield running


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def requests_of(server: Server, headers: dict[str, str]) -> int:
    total = httpx.get(f"{server.url}/usage", headers=headers, timeout=30).json()["total"]
    return int(total["requests"])


def test_a_server_that_others_can_reach_asks_for_a_token(guarded: Server, postgres: Postgres) -> None:
    refused = httpx.post(guarded.model_url, json=BODY, timeout=60)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    answered = httpx.post(guarded.model_url, json=BODY, headers=new_token(postgres.url), timeout=60)
    assert answered.status_code == 200
    assert "there is no token yet" in "".join(guarded.log)


def test_the_client_library_sends_its_token_and_reads_refusals(guarded: Server, postgres: Postgres) -> None:
    secret = handful(postgres.url, "tokens", "create")["token"]
    text = InferenceClient(guarded.model_url, token=secret, timeout=60).text_generation("One, two,", max_new_tokens=3)
    assert text
    with pytest.raises(HfHubHTTPError, match="401"):
        InferenceClient(guarded.model_url, token="hf_no", timeout=60).text_generation("One, two,", max_new_tokens=3)


def test_usage_is_counted_by_account(guarded: Server, postgres: Postgres) -> None:
    handful(postgres.url, "users", "create", "ada")
    mine, other = (new_token(postgres.url, "--account", name) for name in ("ada", "default"))
    before = requests_of(guarded, other)
    httpx.post(guarded.model_url, json=BODY, headers=mine, timeout=60)
    httpx.post(guarded.model_url, json=BODY | {"stream": True}, headers=mine, timeout=60)
    shown = httpx.get(f"{guarded.url}/usage", headers=mine, timeout=60).json()
    (row,) = shown["usage"]
    assert (shown["account"], row["requests"], row["generated_tokens"]) == ("ada", 2, 6)
    assert row["input_characters"] == 2 * len(BODY["inputs"])
    assert row["prompt_tokens"] > 0
    assert row["compute_time"] > 0
    assert requests_of(guarded, other) == before


def test_a_token_over_its_limit_is_told_how_long_to_wait(guarded: Server, postgres: Postgres) -> None:
    headers = new_token(postgres.url, "--requests-per-minute", "1")
    answers = [httpx.post(guarded.model_url, json=BODY, headers=headers, timeout=60) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert 1 <= int(answers[1].headers["retry-after"]) <= 60
    assert answers[1].headers["ratelimit-policy"] == '"requests";q=1;w=60'
    client = InferenceClient(guarded.model_url, token=headers["authorization"].split()[1], timeout=60)
    with pytest.raises(HfHubHTTPError, match=r"your 'requests' rate limit.\nRetry after \d+ seconds \(0/1"):
        client.text_generation("One, two,", max_new_tokens=3)


def test_a_revoked_token_is_refused_at_once(guarded: Server, postgres: Postgres) -> None:
    made = handful(postgres.url, "tokens", "create")
    headers = {"authorization": f"Bearer {made['token']}"}
    with httpx.Client(headers=headers, timeout=60) as client:
        assert client.get(f"{guarded.url}/tasks").status_code == 200
        handful(postgres.url, "tokens", "revoke", made["id"])
        assert client.get(f"{guarded.url}/tasks").status_code == 401


def raw(server: Server, request: bytes) -> bytes:
    """The first line of what a server says to bytes on its socket."""
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=30) as connection:
        with suppress(ConnectionError):  # it has heard enough
            connection.sendall(request)
        answer = connection.recv(65536)
    return answer.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"/models/default", b"x/health?"),
        (b"/models/default", b"localhost/health"),
        (b"/models/default", b"x@localhost:1/ready#"),
        (b"//health", b"localhost"),
        (b"/health/../models/default", b"localhost"),
        (b"/health%2f..%2fmodels/default", b"localhost"),
        (b"/%2e/health", b"localhost"),
        (b"/health;/models/default", b"localhost"),
        (b"@evil.example/health", b"localhost"),
        (b"http://x/health/../models/default", b"localhost"),
        (b"http://localhost/health?/models/default", b"x"),
        (b"/models/default?/health", b"localhost"),
        (b"/models/default#/health", b"localhost"),
        (b"*", b"localhost"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS"])
def test_no_trick_with_host_or_path_gets_around_the_token(
    guarded: Server, method: bytes, target: bytes, host: bytes
) -> None:
    request = b"%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" % (method, target, host)
    status = raw(guarded, request).split()[1]
    assert status in (b"401", b"400", b"403")


def test_a_header_of_a_megabyte_is_refused_and_the_server_goes_on(guarded: Server) -> None:
    head = b"GET /tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hf_"
    assert raw(guarded, head + b"a" * 1_000_000 + b"\r\n\r\n").split()[1] in (b"400", b"401", b"431")
    assert raw(guarded, head + b"\x00\r\n\r\n").split()[1] in (b"400", b"401")
    assert httpx.get(f"{guarded.url}/health", timeout=30).status_code == 200


def test_no_token_is_in_the_servers_log(guarded: Server, postgres: Postgres) -> None:
    headers = new_token(postgres.url)
    httpx.post(guarded.model_url, json=BODY, headers=headers, timeout=60)
    httpx.post(guarded.model_url, json=BODY, headers={"authorization": headers["authorization"] + "x"}, timeout=60)
    time.sleep(0.2)
    assert '"status": 401' in "".join(guarded.log)
    assert headers["authorization"].split()[1][3:] not in "".join(guarded.log)


def test_without_its_database_nobody_is_let_in_and_it_recovers(guarded: Server, postgres: Postgres) -> None:
    headers = new_token(postgres.url)
    postgres.stop("immediate")
    try:
        started = time.monotonic()
        refused = httpx.post(guarded.model_url, json=BODY, headers=headers, timeout=60)
        assert refused.status_code == 503
        assert time.monotonic() - started < 10
        assert httpx.get(f"{guarded.url}/health", timeout=30).status_code == 200
    finally:
        postgres.start()
    assert httpx.post(guarded.model_url, json=BODY, headers=headers, timeout=60).status_code == 200
    assert requests_of(guarded, headers) >= 1


@contextmanager
def on_loopback(folder: Path, *arguments: str) -> Iterator[tuple[Server, str]]:
    url = f"sqlite:///{folder}/handful.db"
    with serving(*arguments, DATABASE_URL=url) as running:
        yield running, url


def test_what_was_answered_before_a_kill_is_counted(tmp_path: Path) -> None:
    with on_loopback(tmp_path, "--require-tokens") as (server, url):
        headers = new_token(url)
        for _ in range(5):
            assert httpx.post(server.model_url, json=BODY, headers=headers, timeout=60).status_code == 200
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with on_loopback(tmp_path, "--require-tokens") as (server, _):
        assert requests_of(server, headers) == 5


def test_a_server_on_loopback_asks_for_nothing_and_counts_all_the_same(tmp_path: Path) -> None:
    with on_loopback(tmp_path) as (server, url):
        assert httpx.post(server.model_url, json=BODY, timeout=60).status_code == 200
        keyed = httpx.post(server.model_url, json=BODY, headers={"authorization": "Bearer sk-x"}, timeout=60)
        assert keyed.status_code == 200
        until(lambda: requests_of(server, {}) == 2)
        assert requests_of(server, new_token(url)) == 0
        server.terminate()
        assert server.exit_code() == 0
        assert "warning" not in "".join(server.log)


def test_a_database_that_is_not_there_is_a_warning_on_loopback_and_the_end_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with serving(DATABASE_URL=f"sqlite:///{tmp_path}/file/x.db") as server:
        assert httpx.post(server.model_url, json=BODY, timeout=60).status_code == 200
        assert "warning: usage is not kept" in "".join(server.log)
    environment = os.environ | SETTINGS | {"HANDFUL_DATABASE_URL": f"sqlite:///{tmp_path}/file/x.db"}
    command = [*HANDFUL, "serve", "--port", "0", "--require-tokens"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "can't be opened" in done.stderr


def test_an_open_server_that_others_can_reach_is_warned_about(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/handful.db"
    with serving("--host", "0.0.0.0", "--open", DATABASE_URL=url) as server:  # noqa: S104
        assert httpx.post(server.model_url, json=BODY, timeout=60).status_code == 200
        assert "warning: 0.0.0.0 can be reached from other machines" in "".join(server.log)
