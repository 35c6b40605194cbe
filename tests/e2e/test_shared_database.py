"""Servers that share a database, as real processes: what one is told the others know, and a kill forgets nothing."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.conftest import Server, serving
from tests.e2e.test_accounts import new_token
from tests.unit.model.tiny_models import checkpoint

ASKED = {"inputs": "the", "parameters": {"max_new_tokens": 2}, "options": {"wait_for_model": True}}


def pinned(server: Server) -> list[str]:
    listed = httpx.get(f"{server.url}/usage/pinned_models", timeout=60).json()["pinned_models"]
    return [each["model_id"] for each in listed]


def until_answered(url: str, headers: dict[str, str], status: int) -> Any:
    """What a server answers to a model's name, once it is answered so."""
    deadline = time.monotonic() + 60
    while (answer := httpx.post(url, json=ASKED, headers=headers, timeout=120)).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    return answer.json()


def test_what_one_server_is_told_the_other_knows_and_a_kill_forgets_nothing(tmp_path: Path) -> None:
    url, tiny = f"sqlite:///{tmp_path}/handful.db", f"--model=tiny={checkpoint('llama')}"
    with serving(tiny, DATABASE_URL=url) as one, serving(tiny, DATABASE_URL=url) as other:
        ada = new_token(url, "--scope", "predict", "--scope", "manage", "--scope", "admin")
        body = {"name": "mine", "path": str(checkpoint("gpt2")), "private": True}
        made = httpx.post(f"{one.url}/api/models", json=body, headers=ada, timeout=60)
        assert made.status_code == 201, made.text
        path = f"/models/{made.json()['name']}"
        texts = [until_answered(server.url + path, ada, 200) for server in (other, one)]
        assert texts[0] == texts[1]
        assert httpx.post(other.url + path, json=ASKED, timeout=60).status_code == 404  # it is private there too
        httpx.post(f"{one.url}/usage/pinned_models", json={"pinned_models": [{"model_id": "tiny"}]}, timeout=60)
        os.kill(one.process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while pinned(other) != ["tiny"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert httpx.delete(f"{other.url}/api{path}", headers=ada, timeout=60).status_code == 204
    with serving(tiny, DATABASE_URL=url) as again:
        assert pinned(again) == ["tiny"]
        assert httpx.post(again.url + path, json=ASKED, headers=ada, timeout=60).status_code == 404
