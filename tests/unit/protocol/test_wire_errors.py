"""What a server's error answer becomes at the client."""

import json
from typing import Any

import pytest

from handful import errors
from handful.protocol.errors import error_from_answer, error_from_event


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidInputError),
        (401, errors.RemoteError),
        (404, errors.NotFoundError),
        (408, errors.RequestTimeoutError),
        (413, errors.InvalidInputError),
        (422, errors.PromptTooLongError),
        (429, errors.BusyError),
        (502, errors.RemoteError),
        (503, errors.NotReadyError),
        (504, errors.RequestTimeoutError),
    ],
)
def test_a_status_is_an_error_of_the_tree(status: int, kind: type[errors.HandfulError]) -> None:
    error = error_from_answer(status, {}, b'{"error": ["one.", "two."]}')
    assert type(error) is kind
    assert str(error) == "one. two."


def test_the_parameter_is_named_again() -> None:
    body = json.dumps({"error": ["`top_p` is wrong."], "parameter": "top_p"}).encode()
    error = error_from_answer(400, {}, body)
    assert isinstance(error, errors.InvalidParameterError)
    assert (error.parameter, str(error)) == ("top_p", "`top_p` is wrong.")


def test_a_parameter_of_another_type_is_named_as_one_out_of_its_range() -> None:
    said = {"error": ["Error in `parameters.top_p`: input should be a valid number"], "parameter": "top_p"}
    error = error_from_answer(400, {}, json.dumps(said).encode())
    assert isinstance(error, errors.InvalidParameterError)
    assert (error.parameter, str(error)) == ("top_p", "`top_p` input should be a valid number")


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("nan", 1.0), ("soon", 1.0), ("-5", 0.0), ("1e9", 3600.0)])
def test_a_wait_that_a_server_names_is_bounded(header: str, seconds: float) -> None:
    error = error_from_answer(429, {"retry-after": header}, b"")
    assert isinstance(error, errors.BusyError)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"[" * 10_000, b'{"error": null}', b"\xff"])
def test_a_body_of_another_shape_still_gives_an_error(body: bytes) -> None:
    assert "500" in str(error_from_answer(500, {}, body))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"error": "x", "error_type": "overloaded"}, errors.BusyError),
        ({"error": "x", "error_type": "generation"}, errors.EngineError),
        ({"error": "x", "error_type": "new"}, errors.RemoteError),
        ({"error": "x"}, errors.RemoteError),
    ],
)
def test_an_event_is_an_error_of_the_tree(fields: dict[str, Any], kind: type[errors.HandfulError]) -> None:
    assert type(error_from_event(fields)) is kind
