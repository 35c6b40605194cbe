"""The driver for an event loop: has calls sent, sleeps between retries, reads streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib.util import find_spec
from typing import TypeVar

import httpx

from handful.client.calls import StreamReader
from handful.client.exchange import Answer, Call, Failure, RetryPolicy, Wait, exchange
from handful.client.httpx_sender import HttpxSender
from handful.client.sender import Sender
from handful.client.transport import Endpoint

Value = TypeVar("Value")


class AsyncDriver:
    """Connections to one server. Cancelling the task aborts its call."""

    def __init__(
        self, endpoint: Endpoint, policy: RetryPolicy, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.endpoint = endpoint
        self._policy = policy
        self._sender = _sender(endpoint, transport)

    async def run(self, call: Call) -> Answer:
        """See `Driver.run`."""
        steps = exchange(call, self._policy)
        outcome: Answer | Failure | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as finished:
                answer: Answer = finished.value
                return answer
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                outcome = None
            else:
                outcome = await self.send(step)

    async def send(self, call: Call) -> Answer | Failure:
        """Send a call once."""
        return await self._sender.send(call)

    async def stream(self, call: Call, reader: StreamReader[Value]) -> AsyncIterator[Value]:
        """See `Driver.stream`."""
        steps = exchange(call, self._policy)
        step = next(steps)
        while True:
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                step = steps.send(None)
                continue
            outcome, body = await self._sender.open(step)
            try:
                step = steps.send(outcome)
            except StopIteration:
                break
        if body is not None:
            async with aclosing(body):  # a generator that is merely dropped would close later
                async for part in body:
                    for value in reader.feed(part):
                        yield value
            reader.finish()

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._sender.close()


def _sender(endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None) -> Sender:
    """The leanest that can send as is asked for."""
    if transport is None and endpoint.is_plain and find_spec("httptools") is not None:
        from handful.client.direct_sender import DirectSender

        return DirectSender(endpoint)
    return HttpxSender(endpoint, transport)
