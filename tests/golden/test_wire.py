"""Bytes that clients of other makers rely on, written out."""

import json
from typing import Any

import pytest

from handful import errors
from handful.protocol.generated_text import StreamWriter, answer
from handful.protocol.problems import InvalidRequestError
from handful.protocol.sse import encode_event
from handful.protocol.text_generation import TextGenerationRequest
from handful.server.errors import error_event, error_response
from handful.types import Completion, Generation, StreamEvent, Token

TOKEN = Token(198, "\n", -0.5)
GENERATION = Generation((Completion("\n", "length", tokens=(TOKEN,)),), 5)


def request(**parameters: Any) -> TextGenerationRequest:
    return TextGenerationRequest.from_body(json.dumps({"inputs": "Hello", "parameters": parameters}).encode())


def test_an_answer() -> None:
    assert answer(request(), [GENERATION]) == [{"generated_text": "Hello\n"}]


def test_an_answer_with_details() -> None:
    assert answer(request(details=True, return_full_text=False), [GENERATION]) == [
        {
            "generated_text": "\n",
            "details": {
                "finish_reason": "length",
                "generated_tokens": 1,
                "seed": None,
                "prefill": [],
                "tokens": [{"id": 198, "text": "\n", "logprob": -0.5, "special": False}],
                "top_tokens": None,
            },
        }
    ]


def test_a_stream() -> None:
    writer = StreamWriter(request(return_full_text=False))
    events = [StreamEvent("\n", TOKEN), StreamEvent("", None, GENERATION)]
    assert b"".join(encode_event(writer.frame(event)) for event in events) == (
        b'data: {"index":1,"token":{"id":198,"text":"\\n","logprob":-0.5,"special":false},'
        b'"generated_text":null,"details":null}\n\n'
        b'data: {"index":1,"token":{"id":198,"text":"","logprob":null,"special":true},"generated_text":"\\n",'
        b'"details":{"finish_reason":"length","generated_tokens":1,"input_length":5,"seed":null}}\n\n'
    )


ERRORS: list[tuple[errors.HandfulError, int, dict[str, Any]]] = [
    (
        InvalidRequestError(["Error in `inputs`: field required"]),
        400,
        {
            "error": ["Error in `inputs`: field required"],
            "message": "Error in `inputs`: field required",
            "error_type": "validation",
        },
    ),
    (
        InvalidRequestError(["Error in `parameters.top_p`: input should be a valid number"], "top_p"),
        400,
        {
            "error": ["Error in `parameters.top_p`: input should be a valid number"],
            "message": "Error in `parameters.top_p`: input should be a valid number",
            "error_type": "validation",
            "parameter": "top_p",
        },
    ),
    (
        errors.InvalidParameterError("top_p", "is wrong.", fix="Change it."),
        400,
        {
            "error": ["`top_p` is wrong. Change it."],
            "message": "`top_p` is wrong. Change it.",
            "error_type": "validation",
            "parameter": "top_p",
        },
    ),
    (
        errors.NotFoundError("Model x does not exist."),
        404,
        {"error": ["Model x does not exist."], "message": "Model x does not exist.", "error_type": "not_found"},
    ),
    (
        errors.PromptTooLongError("Too long."),
        422,
        {"error": ["Too long."], "message": "Too long.", "error_type": "prompt_too_long"},
    ),
    (errors.BusyError("Full."), 429, {"error": ["Full."], "message": "Full.", "error_type": "overloaded"}),
    (
        errors.NotReadyError("Model x is currently loading", estimated_time_s=20.04),
        503,
        {"error": "Model x is currently loading", "error_type": "not_ready", "estimated_time": 20.0},
    ),
    (errors.RequestTimeoutError("Late."), 504, {"error": "Late.", "error_type": "timeout"}),
    (errors.RequestAbortedError("Ended."), 503, {"error": "Ended.", "error_type": "incomplete_generation"}),
    (errors.EngineError("Failed."), 500, {"error": "Failed.", "error_type": "generation"}),
    (errors.CheckpointError("Damaged."), 500, {"error": "Damaged.", "error_type": "checkpoint"}),
]


@pytest.mark.parametrize(("error", "status", "body"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error(error: errors.HandfulError, status: int, body: dict[str, Any]) -> None:
    response = error_response(error)
    assert (response.status_code, json.loads(bytes(response.body))) == (status, body)


def test_waits_are_named_in_whole_seconds() -> None:
    assert error_response(errors.BusyError("Full.", retry_after_s=1.2)).headers["retry-after"] == "2"
    assert error_response(errors.NotReadyError("Loading.", estimated_time_s=7.5)).headers["retry-after"] == "8"


def test_an_error_in_a_stream_is_a_string() -> None:
    assert error_event(errors.EngineError("Failed.")) == {"error": "Failed.", "error_type": "generation"}
