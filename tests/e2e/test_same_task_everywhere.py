"""One task file gives the same predictions from Python, the command line and HTTP."""

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from handful import Client, Task
from handful.backend import Backend
from tests.e2e.conftest import EXAMPLES, HANDFUL, Server

TEXTS = {
    "sentiment.yaml": ["What a joy.", "I left before the end.", "The sound was bad, the story good."],
    "translation.yaml": ["Where is the station?", "The soup is cold."],
}


Way = Callable[[str, Server], list[dict[str, Any]]]


def from_python(name: str, model: Backend) -> list[dict[str, Any]]:
    predictions = Task.load(EXAMPLES / name).predict(model, TEXTS[name])
    return [prediction.to_dict() for prediction in predictions]


def from_the_command_line(name: str, server: Server) -> list[dict[str, Any]]:
    command = [*HANDFUL, "run", str(EXAMPLES / name), *TEXTS[name], "--json", "--precision", "float32"]
    done = subprocess.run(command, env=os.environ | {"HANDFUL_THREADS": "1"}, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def from_http(name: str, server: Server) -> list[dict[str, Any]]:
    url = f"{server.url}/tasks/{name.removesuffix('.yaml')}"
    answer: list[dict[str, Any]] = httpx.post(url, json={"inputs": TEXTS[name]}, timeout=120).json()
    return answer


# The command line's labels are compared with Python's in test_run_command.py.
WAYS = [("translation.yaml", from_the_command_line), ("translation.yaml", from_http), ("sentiment.yaml", from_http)]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_all_give_the_same(name: str, way: Way, default_model: Backend, server: Server) -> None:
    wanted = from_python(name, default_model)
    found = way(name, server)
    assert [record["input"] for record in found] == TEXTS[name]
    assert [record["prediction"] for record in found] == [record["prediction"] for record in wanted]
    for one, other in zip(wanted, found, strict=True):
        assert other.get("completion") == one.get("completion")
        assert other.get("probabilities") == pytest.approx(one.get("probabilities"), abs=1e-4)


def test_a_served_task_is_the_file(server: Server) -> None:
    shown = httpx.get(f"{server.url}/tasks/sentiment", timeout=60).json()
    task = Task.load(EXAMPLES / "sentiment.yaml")
    assert [shown["name"], shown["labels"]] == [task.name, list(task.labels)]


def test_our_client_gives_the_same_as_the_model_here(default_model: Backend, server: Server) -> None:
    with Client(server.url) as client:
        answers = client.predict("sentiment", TEXTS["sentiment.yaml"])
    wanted = from_python("sentiment.yaml", default_model)
    assert [answer.prediction for answer in answers] == [record["prediction"] for record in wanted]
