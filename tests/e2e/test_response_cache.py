"""Kept answers across a restart of a real server."""

import signal
from pathlib import Path

import httpx

from tests.e2e.conftest import Server, serving

BODY = {"inputs": "English: bread\nFrench:", "parameters": {"max_new_tokens": 4}}


def ask(server: Server) -> httpx.Response:
    return httpx.post(server.model_url, json=BODY, timeout=60)


def test_an_answer_outlives_the_server_and_new_work_can_be_asked_for(tmp_path: Path) -> None:
    settings = {"RESPONSE_CACHE_MB": "1", "DATABASE_URL": f"sqlite:///{tmp_path}/handful.db"}
    with serving("--precision=float32", **settings) as server:
        first, second = ask(server), ask(server)
        assert (first.headers["x-compute-type"], second.headers["x-compute-type"]) == ("cpu", "cache")
        server.process.send_signal(signal.SIGTERM)
        assert server.exit_code() == 0
    with serving("--precision=float32", **settings) as server:
        again = ask(server)
        assert again.headers["x-compute-type"] == "cache"
        assert again.json() == first.json()
        fresh = httpx.post(server.model_url, json=BODY | {"options": {"use_cache": False}}, timeout=60)
        assert fresh.headers["x-compute-type"] == "cpu"
        assert fresh.json() == first.json()
    with serving("--precision=bfloat16", **settings) as server:
        assert ask(server).headers["x-compute-type"] == "cpu"
