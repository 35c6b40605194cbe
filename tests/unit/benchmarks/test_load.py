"""The load test's judgement: what it lets pass and what it doesn't."""

import argparse
import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import load as load_module
from load import Load, failures, is_whole, run
from over_http import address


def load(**counted: int) -> Load:
    return Load(0.0, Counter(counted))


def test_a_server_that_answers_all_passes() -> None:
    assert failures(load(answered=10, hung_up=3, refused=2), 0) == []


@pytest.mark.parametrize(
    ("counted", "left", "says"),
    [({"answered": 10}, 2, "2 requests still run"), ({"hung_up": 10}, 0, "nothing was answered")],
)
def test_what_must_not_be_is_told(counted: dict[str, int], left: int, says: str) -> None:
    (told,) = failures(load(**counted), left)
    assert says in told


def test_a_request_without_an_answer_is_told() -> None:
    broken = load(answered=1)
    broken.failed(TimeoutError())
    assert failures(broken, 0) == ["TimeoutError: "]


@pytest.mark.parametrize(
    ("body", "text", "whole"),
    [
        ({"stream": True}, 'data: {"choices": []}\n\ndata: [DONE]\n\n', True),
        ({"stream": True}, 'data: {"choices": []}\n\n', False),
        ({"stream": False}, '{"choices": []}', True),
        ({}, '{"error": {}}', False),
    ],
)
def test_an_answer_is_there_to_its_end(body: dict[str, bool], text: str, whole: bool) -> None:
    assert is_whole(body, text) is whole


@pytest.mark.parametrize("leak", ["nothing", "files", "threads", "kv_tokens"])
def test_a_server_with_a_planted_leak_fails_and_one_without_passes(leak: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "SETTLING_READINGS", 3)
    arguments = argparse.Namespace(connections=4, warm_up=0.1, seconds=0.8, hang_up_share=0.1)
    command = [sys.executable, str(Path(__file__).parent / "leaky_server.py"), leak]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            found = asyncio.run(run(address(process), process.pid, arguments))
        finally:
            process.kill()
    told = [failure for failure in found["failures"] if not failure.startswith("memory")]  # seconds are too few for it
    assert [failure.partition(" grew")[0] for failure in told] == ([] if leak == "nothing" else [leak])
