"""One line a request, and nothing of what it said."""

import json
import logging

import httpx
import pytest

from handful.server.app import create_app
from tests.unit.server.serving import FakeModel, ask, run, state_with

CANARY = "canary-7f3a"


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [json.loads(record.message) for record in caplog.records if record.name == "handful.server.access"]


def test_a_request_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    response = ask(FakeModel(), "/models/fake", "Hello")
    (line,) = lines(caplog)
    assert (line["route"], line["method"], line["status"]) == ("/models/{name}", "POST", 200)
    assert line["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("error", [None, ZeroDivisionError(CANARY)])
def test_no_text_path_query_or_header_is_logged(caplog: pytest.LogCaptureFixture, error: Exception | None) -> None:
    caplog.set_level(logging.DEBUG, logger="handful")
    headers = {"authorization": f"Bearer {CANARY}", "x-request-id": CANARY, "user-agent": CANARY}
    ask(FakeModel(error=error), f"/models/fake?key={CANARY}", CANARY, headers=headers)
    ask(FakeModel(), f"/{CANARY}", CANARY)
    ask(
        FakeModel(),
        "/models/fake",
        json.dumps({"inputs": CANARY, CANARY: CANARY, "parameters": {"stop": [CANARY] * 99}}),
    )
    said = [record.getMessage() for record in caplog.records if record.name.startswith("handful")]
    assert len(said) >= 3
    assert CANARY not in "".join(said)


def test_an_unexpected_exception_is_logged_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    ask(FakeModel(error=ZeroDivisionError(CANARY)), "/models/fake", "a")
    (fault,) = [json.loads(record.message) for record in caplog.records if record.name == "handful.server"]
    assert fault["kind"] == "ZeroDivisionError"
    assert any("serving.py" in frame for frame in fault["frames"])


def test_what_fails_on_the_frameworks_own_way_is_answered_in_our_shape_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(number: int) -> None:
        raise ZeroDivisionError(f"{CANARY}{number}")

    async def check() -> httpx.Response:
        app = create_app(state_with(FakeModel()))
        app.add_api_route("/broken/{number}", broken)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/broken/7")

    answer = run(check())
    assert (answer.status_code, answer.json()["error_type"]) == (500, "generation")
    faults = [json.loads(record.message) for record in caplog.records if record.name == "handful.server"]
    assert [each["kind"] for each in faults] == ["ZeroDivisionError"]
    assert CANARY not in answer.text + caplog.text
