"""The frames of `wss /bulk/stream/{cpu|gpu}/{model}`: many requests to one model over one connection.

    client   Bearer hf_...                                          first, where the server asks for tokens
    server   {"type": "status", "message": "..."}
    client   {"id": "1", "inputs": ..., "parameters": ..., "options": ...}
    server   {"type": "results", "id": "1", "outputs": <what POST /models/{model} answers>}
    server   {"type": "error", "id": "2", "status": 400, "error": ...}

Answers come as they are ready, each under the `id` of its message (null where it had none).
"""

import json
from dataclasses import dataclass
from typing import Any

from handful.errors import InvalidInputError, InvalidParameterError
from handful.protocol.payload import parse_json

MAX_ID_CHARACTERS = 200
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Message:
    """One request. `body` is that of `POST /models/{model}`."""

    id: str | int | None
    body: bytes


def token_of(frame: bytes) -> bytes | None:
    """The `Authorization` that a first frame carries, or None where it is a message already."""
    return frame.strip() if frame[: len(_SCHEME)].lower() == _SCHEME.encode() else None


def id_of(value: object) -> str | int | None:
    """The `id` of a message. Raises InvalidInputError for what can't be one."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if not isinstance(value, str) or len(value) > MAX_ID_CHARACTERS or not _is_unicode(value):
        raise InvalidInputError("`id` must be a whole number, or a text of at most 200 characters.")
    return value


def _is_unicode(text: str) -> bool:
    """JSON can spell half a surrogate pair, and no frame can carry one back."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def message_of(value: dict[str, Any]) -> Message:
    """The request in a frame's object. Raises InvalidInputError."""
    if value.get("stream"):
        raise InvalidParameterError("stream", "can't be used here: answers come whole.", fix="POST to /models.")
    body = {key: part for key, part in value.items() if key != "id"}
    return Message(id_of(value.get("id")), json.dumps(body).encode())


def object_of(frame: bytes) -> dict[str, Any]:
    """The JSON object in a frame. Raises InvalidInputError."""
    value = parse_json(frame)
    if not isinstance(value, dict):
        raise InvalidInputError("A message must be a JSON object.", fix='Send {"id": "1", "inputs": "some text"}.')
    return value


def status_frame(message: str) -> str:
    """How things stand."""
    return json.dumps({"type": "status", "message": message})


def answer_frame(message_id: str | int | None, status: int, body: bytes) -> str:
    """The answer to a message, by the status and the JSON body of the request that it was."""
    value = json.loads(body) if body else None
    if status == 200:
        return json.dumps({"type": "results", "id": message_id, "outputs": value}, ensure_ascii=False)
    told = value if isinstance(value, dict) else {}
    frame = {"type": "error", "id": message_id, "status": status} | told
    return json.dumps(frame, ensure_ascii=False)


def error_frame(message_id: str | int | None, status: int, sentence: str) -> str:
    """What was wrong with a message that became no request."""
    return json.dumps({"type": "error", "id": message_id, "status": status, "error": [sentence]}, ensure_ascii=False)
