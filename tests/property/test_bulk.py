"""Whatever comes over the websocket, each message is answered exactly once, and the connection goes on."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import WebSocketTestSession

from handful.server.app import create_app
from tests.unit.server.serving import FakeModel, state_with
from tests.unit.server.test_bulk import PATH, serving

TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(["", "a", "\ud800", "\x00", "Bearer hf_x", "dummy"])
NUMBERS = st.integers(-3, 3) | st.sampled_from([2**63, -(2**63), 1.5, 1e308, 10**400]) | st.booleans() | st.none()
ANYTHING = st.recursive(
    TEXTS | NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
PARAMETERS = ["max_new_tokens", "temperature", "top_k", "top_p", "stop", "seed", "details", "grammar", "truncate"]
OPTIONS = ["use_cache", "wait_for_model", "use_gpu", "dont_load_model"]


def _objects(keys: list[str]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(keys) | TEXTS, NUMBERS | TEXTS, max_size=3)


NEARLY_RIGHT = st.fixed_dictionaries(
    {"inputs": TEXTS | st.lists(TEXTS, max_size=2)},
    optional={
        "id": TEXTS | NUMBERS | st.text(min_size=190, max_size=210),
        "parameters": _objects(PARAMETERS) | ANYTHING,
        "options": _objects(OPTIONS) | ANYTHING,
        "stream": NUMBERS | TEXTS,
        "model": TEXTS,
        "colour": ANYTHING,
    },
)
FRAMES = st.one_of(
    (NEARLY_RIGHT | ANYTHING).map(json.dumps),
    st.sampled_from(["", " ", "{", "[" * 5000, '{"id": "1", "id": "2", "inputs": "a"}', '{"inputs": NaN}', "Bearer x"]),
    st.binary(max_size=12),
)


@pytest.fixture(scope="module")
def socket() -> Iterator[WebSocketTestSession]:
    with serving(create_app(state_with(FakeModel()))) as client, client.websocket_connect(PATH) as socket:
        socket.send_text("Bearer x")
        assert socket.receive_json()["type"] == "status"
        yield socket


def _id_in(frame: str | bytes) -> str | int | None:
    """The id under which a message has to be answered: its own, where that can be one."""
    try:
        value = json.loads(frame, parse_constant=lambda name: 1 / 0)
    except (ValueError, RecursionError, ZeroDivisionError):
        return None
    found = value.get("id") if isinstance(value, dict) else None
    is_id = (isinstance(found, str) and len(found) <= 200) or (isinstance(found, int) and not isinstance(found, bool))
    return found if is_id and not (isinstance(found, str) and "\ud800" in found) else None


def _check(answer: dict[str, Any]) -> None:
    if answer["type"] == "results":
        assert answer.keys() == {"type", "id", "outputs"}
        assert all(isinstance(each["generated_text"], str) for each in answer["outputs"])
    else:
        assert answer["type"] == "error"
        assert 400 <= answer["status"] < 500
        assert all(sentence.strip() for sentence in answer["error"])


@given(st.lists(FRAMES, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_message_is_answered_once_under_its_id_or_refused(
    socket: WebSocketTestSession, frames: list[str | bytes]
) -> None:
    for frame in frames:
        socket.send_text(frame) if isinstance(frame, str) else socket.send_bytes(frame)
    answers = [socket.receive_json() for _ in frames]
    assert Counter(answer["id"] for answer in answers) == Counter(map(_id_in, frames))
    for answer in answers:
        _check(answer)
    socket.send_json({"id": "still there", "inputs": "a", "parameters": {"max_new_tokens": 1}})
    assert socket.receive_json() == {"type": "results", "id": "still there", "outputs": [{"generated_text": "a w1"}]}


@given(st.sampled_from(PARAMETERS + OPTIONS + ["stream", "colour"]), st.sampled_from([[], {}, "x", -1, 2**63]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_can_not_be_honoured_is_refused_by_its_name(socket: WebSocketTestSession, name: str, value: Any) -> None:
    message: dict[str, Any] = {"id": 1, "inputs": "a"}
    below = "parameters" if name in PARAMETERS else "options" if name in OPTIONS else None
    message |= {name: value} if below is None else {below: {name: value}}
    socket.send_json(message)
    answer = socket.receive_json()
    _check(answer)
    if answer["type"] == "error":
        assert f"{name}`" in " ".join(answer["error"]) or (name == "seed" and value == 2**63)
    else:
        assert (name, value) in (("stop", []), ("stop", "x"), ("seed", 2**63), ("truncate", {}), ("truncate", []))
