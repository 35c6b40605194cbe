"""The load test's judgement: what it lets pass and what it doesn't."""

from collections import Counter

import httpx
import pytest

from load import Load, failures, is_whole, part


def load(**counted: int) -> Load:
    return Load(httpx.AsyncClient(), 0.0, 0.0, Counter(counted))


def test_a_server_that_answers_all_and_stays_as_it_is_passes() -> None:
    assert failures(load(answered=10, hung_up=3, refused=2), (500.0, 505.0), 0) == []


@pytest.mark.parametrize(
    ("counted", "memory", "left", "says"),
    [
        ({"answered": 10}, (500.0, 530.0), 0, "memory grew from 500.0 to 530.0 MB"),
        ({"answered": 10}, (500.0, 500.0), 2, "2 requests still run"),
        ({"hung_up": 10}, (500.0, 500.0), 0, "nothing was answered"),
    ],
)
def test_what_must_not_be_is_told(counted: dict[str, int], memory: tuple[float, float], left: int, says: str) -> None:
    (told,) = failures(load(**counted), memory, left)
    assert says in told


def test_a_request_without_an_answer_is_told() -> None:
    broken = load(answered=1)
    broken.failed(TimeoutError())
    assert failures(broken, (500.0, 500.0), 0) == ["TimeoutError: "]


def test_a_planted_leak_is_found() -> None:
    seen = [400.0 + second / 2 for second in range(120)]
    assert len(failures(load(answered=1), (part(seen, 0), part(seen, 2)), 0)) == 1


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
