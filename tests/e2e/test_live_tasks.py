"""Tasks changed while real servers answer: no request fails, predictions change, and a kill loses nothing."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Server, serving

EMPTY = {
    "name": "mood",
    "description": "Say whether the text is good or bad news.",
    "input": "Text: {text}",
    "output": "News: {output}",
    "labels": ["good", "bad"],
    "calibration": "none",  # which takes two dozen scores for each version
    "examples": [{"text": "It is Monday.", "output": "bad"}],
}
MORE = [{"text": f"We lost {number} games.", "output": "bad"} for number in range(2)]
QUERY = {"inputs": "We lost 9 games."}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in float32 with a database of its own."""
    url = f"sqlite:///{tmp_path_factory.mktemp('tasks')}/handful.db"
    with serving("--precision=float32", DATABASE_URL=url) as running:
        yield running


class Callers:
    """Threads that ask a task all the time, and what they were answered."""

    def __init__(self, url: str, num_threads: int = 3) -> None:
        self.answers: list[tuple[int, str, float]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url,)) for _ in range(num_threads)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, url: str) -> None:
        with httpx.Client(timeout=120) as client:
            while not self._stop.is_set():
                answer = client.post(url, json=QUERY)
                version = answer.headers.get("x-task-version", "")
                probability = answer.json()[0]["probabilities"]["bad"] if answer.is_success else -1.0
                self.answers.append((answer.status_code, version, probability))

    def wait_for(self, version: str) -> None:
        """Wait until somebody was answered by a version."""
        deadline = time.monotonic() + 60
        while not any(found == version for _, found, _ in list(self.answers)):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_examples_come_and_go_under_a_stream_of_predictions_and_no_request_fails(site: Server) -> None:
    url = f"{site.url}/tasks/mood"
    assert httpx.post(f"{site.url}/tasks", json=EMPTY, timeout=60).status_code == 201
    with Callers(url) as callers:
        callers.wait_for("1")
        for number, example in enumerate(MORE, start=2):
            added = httpx.post(f"{url}/examples", json={"examples": [example]}, timeout=120)
            assert added.headers["etag"] == f'"{number}"'
            callers.wait_for(str(number))
        ids = [each["id"] for each in httpx.get(f"{url}/examples", timeout=60).json()["examples"][1:]]
        removed = httpx.delete(f"{url}/examples", params={"id": ids}, timeout=120)
        assert removed.json()["num_examples"] == 1
        callers.wait_for("4")
    assert {status for status, _, _ in callers.answers} == {200}
    found = {version: {p for _, v, p in callers.answers if v == version} for version in "1234"}
    for probabilities in found.values():  # one version gives one answer, whatever is changed meanwhile
        assert max(probabilities) == pytest.approx(min(probabilities), abs=1e-4)
    assert abs(max(found["3"]) - max(found["1"])) > 1e-3
    assert max(found["4"]) == pytest.approx(max(found["1"]), abs=1e-4)


def test_a_new_version_is_read_from_the_cache_from_its_first_query_on(site: Server) -> None:
    task = {"name": "echo", "examples": [{"input": f"word{i} " * 20, "output": f"{i}"} for i in range(20)]}
    httpx.post(f"{site.url}/tasks", json=task, timeout=60)
    examples = [{"input": "other " * 200, "output": "x"}]
    httpx.post(f"{site.url}/tasks/echo/examples", json={"examples": examples}, timeout=120)
    before = cached_tokens(site)
    (prediction,) = httpx.post(f"{site.url}/tasks/echo", json={"inputs": "a"}, timeout=120).json()
    assert cached_tokens(site) - before > 0.95 * prediction["num_prompt_tokens"]


def cached_tokens(site: Server) -> float:
    text = httpx.get(f"{site.url}/metrics", timeout=60).text
    line = next(line for line in text.splitlines() if line.startswith("handful_cached_prompt_tokens_total "))
    return float(line.split()[1])


def test_an_open_task_streams(site: Server) -> None:
    task = {"name": "count", "examples": [{"input": "1 2", "output": "3"}], "parameters": {"max_new_tokens": 4}}
    httpx.post(f"{site.url}/tasks", json=task, timeout=60)
    with httpx.stream("POST", f"{site.url}/tasks/count", json={"inputs": "5 6", "stream": True}, timeout=120) as answer:
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    whole = httpx.post(f"{site.url}/tasks/count", json={"inputs": "5 6"}, timeout=120).json()[0]
    assert "".join(event["text"] for event in events) == whole["completion"]
    assert events[-1]["prediction"] == whole


def write_until_killed(server: Server, told: dict[str, int]) -> None:
    """Make and change tasks; `told` has the version of each that was acknowledged."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for number in range(10_000):
            name = f"t{number}"
            try:
                answers = [client.post("/tasks", json=EMPTY | {"name": name})]
                told[name] = 1
                answers.append(client.post(f"/tasks/{name}/examples", json={"examples": MORE}))
                told[name] = 2
            except httpx.HTTPError:
                return
            assert {answer.status_code for answer in answers} == {201, 200}


def test_a_kill_during_writes_loses_no_task_that_was_acknowledged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/handful.db"
    told: dict[str, int] = {}
    with serving(DATABASE_URL=url) as server:
        writer = threading.Thread(target=write_until_killed, args=(server, told))
        writer.start()
        deadline = time.monotonic() + 60
        while len(told) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(server.process.pid, signal.SIGKILL)
        writer.join()
    assert len(told) >= 3
    with serving(DATABASE_URL=url) as server:
        listed: list[dict[str, Any]] = httpx.get(f"{server.url}/tasks", timeout=60).json()
        found = {task["name"]: task["version"] for task in listed}
        assert {name: version for name, version in told.items() if found.get(name, 0) < version} == {}
        answer = httpx.post(f"{server.url}/tasks/t0", json=QUERY, timeout=120)
        assert answer.status_code == 200
