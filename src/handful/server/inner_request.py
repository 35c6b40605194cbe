"""A request that the server sends to itself: through all that a client's request passes, without a socket.

So whatever speaks another protocol than HTTP needs no gate of its own: the token, the limits, the usage, the drain and
the log are those of the request that it becomes.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Scope


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body."""

    status: int
    body: bytes


async def ask(app: ASGIApp, outer: Scope, method: str, path: str, body: bytes, token: bytes | None) -> Answer:
    """Send a request with the Host and the addresses of `outer`. Cancelling it is a client that leaves."""
    answer = _Collected()
    sent = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if sent:
            return sent.pop()
        await asyncio.Event().wait()  # who asks waits for the answer; leaving is cancelling
        raise RuntimeError("nobody sets the event")

    await app(_scope(outer, method, path, len(body), token), receive, answer.send)
    return Answer(answer.status, b"".join(answer.parts))


class _Collected:
    def __init__(self) -> None:
        self.status = 500
        self.parts: list[bytes] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.parts.append(message.get("body", b""))


def _scope(outer: Scope, method: str, path: str, num_bytes: int, token: bytes | None) -> dict[str, Any]:
    headers = [(name, value) for name, value in outer["headers"] if name in (b"host", b"origin")]
    headers.append((b"content-length", str(num_bytes).encode()))
    if token is not None:
        headers.append((b"authorization", token))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": outer.get("client"),
        "server": outer.get("server"),
    }
