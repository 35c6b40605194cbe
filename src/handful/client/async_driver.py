"""The driver for an event loop: sends calls with httpx, sleeps between retries, reads streams."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeVar

import httpx

from handful.client.calls import StreamReader
from handful.client.exchange import Answer, Call, Failure, RetryPolicy, Wait, exchange
from handful.client.transport import Endpoint, answer_of, request_options

Value = TypeVar("Value")


class AsyncDriver:
    """Connections to one server. Cancelling the task aborts its call."""

    def __init__(
        self, endpoint: Endpoint, policy: RetryPolicy, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.endpoint = endpoint
        self._policy = policy
        self._http = httpx.AsyncClient(transport=transport, **endpoint.httpx_options())

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
        try:
            return answer_of(await self._http.send(self._http.build_request(**request_options(call))))
        except httpx.HTTPError as error:
            return self.endpoint.failure(error)

    async def stream(self, call: Call, reader: StreamReader[Value]) -> AsyncIterator[Value]:
        """See `Driver.stream`."""
        steps = exchange(call, self._policy)
        step = next(steps)
        while True:
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                step = steps.send(None)
                continue
            outcome, response = await self._open(step)
            try:
                step = steps.send(outcome)
            except StopIteration:
                break
        if response is not None:
            # A generator that is merely dropped would close later.
            async with aclosing(self._values(response, reader)) as values:
                async for value in values:
                    yield value

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.aclose()

    async def _open(self, call: Call) -> tuple[Answer | Failure, httpx.Response | None]:
        try:
            response = await self._http.send(self._http.build_request(**request_options(call)), stream=True)
            if response.is_success:
                return answer_of(response, with_body=False), response
            await response.aread()
        except httpx.HTTPError as error:
            return self.endpoint.failure(error), None
        return answer_of(response), None

    async def _values(self, response: httpx.Response, reader: StreamReader[Value]) -> AsyncGenerator[Value, None]:
        try:
            async for chunk in response.aiter_bytes():
                for value in reader.feed(chunk):
                    yield value
        except httpx.HTTPError as error:
            raise self.endpoint.broken(error) from None
        finally:
            await response.aclose()
        reader.finish()
