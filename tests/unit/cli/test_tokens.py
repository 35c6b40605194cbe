"""`handful tokens` and `handful users`: what they print, and what they refuse."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from handful.cli import main
from handful.config import settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command line on a new database: exit code, stdout, stderr."""
    monkeypatch.setenv("HANDFUL_DATABASE_URL", f"sqlite:///{tmp_path}/handful.db")
    settings.cache_clear()

    def run_line(*arguments: str) -> tuple[int, str, str]:
        code = main._run(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    yield run_line
    settings.cache_clear()


def as_json(run: Run, *arguments: str) -> Any:
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_a_new_token_is_all_there_is_on_stdout(run: Run) -> None:
    code, out, err = run("tokens", "create")
    assert code == 0
    assert re.fullmatch(r"hf_[A-Za-z0-9]{43}\n", out)
    assert "not shown again" in err
    assert out.strip() not in err


def test_a_token_is_listed_without_its_secret_and_revoked_by_its_id(run: Run) -> None:
    secret = run("tokens", "create", "--name", "laptop", "--expires-days", "3")[1].strip()
    (token,) = as_json(run, "tokens", "list")
    assert (token["name"], token["account"], token["state"]) == ("laptop", "default", "valid")
    assert token["prefix"] == secret[:8]
    assert token["expires_at"] > token["created_at"]
    assert secret not in json.dumps(token)
    code, out, err = run("tokens", "revoke", token["id"])
    assert (code, out) == (0, "")
    assert "is revoked" in err
    assert as_json(run, "tokens", "list")[0]["state"] == "revoked"
    assert "revoked" in run("tokens", "list")[1]


def test_scopes_and_limits_are_kept(run: Run) -> None:
    limits = ("--requests-per-minute", "60", "--tokens-per-minute", "1000", "--concurrent-requests", "2")
    made = as_json(run, "tokens", "create", "--scope", "manage", "--scope", "predict", *limits)
    assert made["scopes"] == ["predict", "manage"]
    assert made["limits"] == {"requests_per_minute": 60, "tokens_per_minute": 1000, "concurrent_requests": 2}
    assert made["token"].startswith(made["prefix"])


def test_users_and_organisations_are_listed(run: Run) -> None:
    assert run("users", "create", "ada")[0] == 0
    assert as_json(run, "users", "create", "navy", "--organisation", "--member", "ada")["members"] == ["ada"]
    assert [(each["name"], each["kind"]) for each in as_json(run, "users", "list")] == [
        ("ada", "user"),
        ("navy", "organisation"),
    ]
    lines = run("users", "list")[1].splitlines()
    assert lines[0].split() == ["NAME", "KIND", "CREATED", "MEMBERS"]
    assert lines[2].split()[-1] == "ada"
    assert as_json(run, "tokens", "create", "--account", "navy")["account"] == "navy"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("tokens", "create", "--account", "nobody"), "no account 'nobody'"),
        (("tokens", "create", "--scope", "root"), "`scope` must be one of predict, manage"),
        (("tokens", "create", "--requests-per-minute", "0"), "`requests_per_minute`"),
        (("tokens", "create", "--name", "a b"), "can't be the name of a token"),
        (("tokens", "revoke", "x"), "no token 'x'"),
        (("users", "create", "a/b"), "can't be the name of a user"),
        (("users", "create", "ada", "--member", "grace"), "Only an organisation has members"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run: Run, arguments: tuple[str, ...], problem: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert problem in err
    assert err.count("\n") == 1


def test_nothing_to_list_says_what_to_do(run: Run) -> None:
    assert "handful tokens create" in run("tokens", "list")[2]
    assert "handful users create" in run("users", "list")[2]
    assert as_json(run, "tokens", "list") == []


def test_a_database_that_cannot_be_used_is_said_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDFUL_DATABASE_URL", "postgresql://ada:sesame@127.0.0.1:1/x")
    settings.cache_clear()
    code, out, err = run("tokens", "list")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "can't be used" in err
    assert "sesame" not in err
