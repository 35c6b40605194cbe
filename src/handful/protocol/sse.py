"""Server-sent events: a writer and an incremental parser, both without I/O.

Format: WHATWG HTML, "Server-sent events". The parser may be fed any pieces of the byte stream: what comes out doesn't
depend on where they were cut.
"""

import json
from dataclasses import dataclass

from handful.errors import RemoteError

MAX_EVENT_BYTES = 64 * 1024 * 1024
CONTENT_TYPE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its data (lines joined by newlines) and its name."""

    data: str
    event: str = "message"


def encode_event(value: object) -> bytes:
    """One event whose data is `value` as JSON, which never contains a line break."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class EventParser:
    """Bytes in, events out. An event is complete at its empty line; half an event at the end of a stream is dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._skip_newline = False
        self._first_line = True
        self._size = 0
        self._data: list[str] = []
        self._event = "message"

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes. Raises RemoteError where one event passes `MAX_EVENT_BYTES`."""
        self._size += len(chunk)
        if self._skip_newline and chunk:  # the \n of a \r\n that was cut in two
            chunk = chunk.removeprefix(b"\n")
            self._skip_newline = False
        self._skip_newline = chunk.endswith(b"\r")
        lines = (self._rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop()
        events = [event for line in lines if (event := self._take(line)) is not None]
        if events:
            self._size = len(self._rest)
        if self._size > MAX_EVENT_BYTES:
            raise RemoteError(f"An event of the stream is larger than {MAX_EVENT_BYTES} bytes.")
        return events

    def _take(self, line: bytes) -> ServerSentEvent | None:
        text = line.decode("utf-8", errors="replace")
        if self._first_line:
            text, self._first_line = text.removeprefix("\ufeff"), False
        if not text:
            return self._finish()
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        return None  # comments (an empty name), `id` and `retry` mean nothing here

    def _finish(self) -> ServerSentEvent | None:
        event = ServerSentEvent("\n".join(self._data), self._event or "message") if self._data else None
        self._data, self._event = [], "message"
        return event
