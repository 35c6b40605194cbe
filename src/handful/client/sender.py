"""What sends a call once, in an event loop."""

from collections.abc import AsyncGenerator
from typing import Protocol

from handful.client.exchange import Answer, Call, Failure


class Sender(Protocol):
    """Connections to one server. Cancelling the task that waits closes the connection of its call."""

    async def send(self, call: Call) -> Answer | Failure:
        """Send a call and read its answer."""
        ...

    async def open(self, call: Call) -> tuple[Answer | Failure, AsyncGenerator[bytes, None] | None]:
        """Send a call whose answer is streamed. One of 2xx comes with its body, any other was read.

        The body must be iterated or, once it was begun, closed; it raises RemoteError and RequestTimeoutError.
        """
        ...

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        ...
