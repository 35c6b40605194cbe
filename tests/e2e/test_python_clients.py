"""Clients of other makers in an environment of their own (`make clients`), as their users run them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import SETTINGS, Server, serving
from tests.e2e.test_accounts import handful

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".clients" / "bin" / "python"
SCRIPTS = Path(__file__).parent / "python"
PROMPT = "English: cheese\nFrench: fromage\n###\nEnglish: bread\nFrench: pain\n###\nEnglish: milk\nFrench:"


def made_by(script: Path, *arguments: str) -> Any:
    """What a script printed last, as JSON."""
    assert PYTHON.exists(), "The environment of the clients is missing: make clients"
    command = [str(PYTHON), str(script), *arguments]
    environment = os.environ | SETTINGS
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().split("\n")[-1])


def own_text(server: Server) -> str:
    """What the server answers to who posts by himself."""
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 12, "stop": ["###"]}}
    return str(httpx.post(f"{server.url}/generate", json=body, timeout=60).json()["generated_text"])


@pytest.mark.parametrize("path", ["", "/models/default"])
def test_text_generation_of_tgi_generates_streams_and_tells_errors_apart(server: Server, path: str) -> None:
    made = made_by(SCRIPTS / "ask_text_generation.py", server.url + path, PROMPT)
    text = own_text(server)
    assert {made["text"], made["joined"], made["last"]["generated_text"], *made["asynchronous"]} == {text}
    details = made["details"]
    assert (details["finish_reason"], details["prefill"][0]["logprob"]) == ("stop_sequence", None)
    assert details["generated_tokens"] == len(details["tokens"]) == len(details["top_tokens"])
    assert all(token == best[0] for token, best in zip(details["tokens"], details["top_tokens"], strict=True))
    assert made["sampled"][0] == made["sampled"][1] != ""
    (refused, said), (missing, _) = made["errors"]
    kind = "UnknownError" if path else "ValidationError"  # it knows TGI's kinds of errors, which the root answers with
    assert (refused, missing) == (kind, "NotFoundError")
    assert "100000" in said


@pytest.mark.parametrize("path", ["", "/models/default"])
def test_langchain_generates_in_every_way_it_has(server: Server, path: str) -> None:
    made = made_by(SCRIPTS / "ask_langchain.py", server.url + path, PROMPT)
    text = own_text(server).removesuffix("###")
    greedy = (made["whole"], made["joined"], made["chained"], made["asynchronous"], *made["batch"])
    assert set(greedy) == {text}
    assert made["sampled"]


def test_langchain_shows_its_token_where_one_is_asked_for(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/handful.db"
    token = handful(database, "tokens", "create")["token"]
    with serving("--require-tokens", DATABASE_URL=database) as running:
        assert made_by(SCRIPTS / "ask_langchain.py", running.model_url, PROMPT, token)["whole"]


def test_lm_eval_finds_the_accuracy_that_its_own_transformers_backend_finds() -> None:
    """Token ids, echo and log-probabilities over `local-completions`; the program exits with 1 where figures differ."""
    made = made_by(ROOT / "benchmarks" / "lm_eval_check.py", "--questions", "32")
    assert made["handful"] == made["transformers"]
    assert made["handful"]["acc"] > 0.6
    assert made["most_logprobs_apart"] < 1e-3
