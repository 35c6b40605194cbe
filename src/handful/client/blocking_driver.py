"""The blocking driver: sends calls with httpx, sleeps between retries, reads streams. Thread-safe."""

import time
from collections.abc import Iterator
from typing import TypeVar

import httpx

from handful.client.calls import StreamReader
from handful.client.exchange import Answer, Call, Failure, RetryPolicy, Wait, exchange
from handful.client.transport import Endpoint, answer_of, request_options

Value = TypeVar("Value")


class Driver:
    """Connections to one server."""

    def __init__(self, endpoint: Endpoint, policy: RetryPolicy, transport: httpx.BaseTransport | None = None) -> None:
        self.endpoint = endpoint
        self._policy = policy
        self._http = httpx.Client(transport=transport, **endpoint.httpx_options())

    def run(self, call: Call, *, timeout_s: float | None = None) -> Answer:
        """A call's answer of 2xx, after retries where they help. Raises what the last answer stood for.

        `timeout_s` is for a call that computes nothing: a server that is silent so long isn't going to answer it.
        """
        steps = exchange(call, self._policy)
        outcome: Answer | Failure | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as finished:
                answer: Answer = finished.value
                return answer
            if isinstance(step, Wait):
                time.sleep(step.seconds)
                outcome = None
            else:
                outcome = self.send(step, timeout_s)

    def send(self, call: Call, timeout_s: float | None = None) -> Answer | Failure:
        """Send a call once."""
        try:
            return answer_of(self._http.send(self._http.build_request(**request_options(call, timeout_s))))
        except httpx.HTTPError as error:
            return self.endpoint.failure(error) if timeout_s is None else self.endpoint.mute(error, timeout_s)

    def stream(self, call: Call, reader: StreamReader[Value]) -> Iterator[Value]:
        """Open with retries, then read to the end; an open response is closed whatever happens."""
        steps = exchange(call, self._policy)
        step = next(steps)
        while True:
            if isinstance(step, Wait):
                time.sleep(step.seconds)
                step = steps.send(None)
                continue
            outcome, response = self._open(step)
            try:
                step = steps.send(outcome)
            except StopIteration:
                break
        if response is not None:
            yield from self._values(response, reader)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._http.close()

    def _open(self, call: Call) -> tuple[Answer | Failure, httpx.Response | None]:
        try:
            response = self._http.send(self._http.build_request(**request_options(call)), stream=True)
            if response.is_success:
                return answer_of(response, with_body=False), response
            response.read()
        except httpx.HTTPError as error:
            return self.endpoint.failure(error), None
        return answer_of(response), None

    def _values(self, response: httpx.Response, reader: StreamReader[Value]) -> Iterator[Value]:
        try:
            for chunk in response.iter_bytes():
                yield from reader.feed(chunk)
        except httpx.HTTPError as error:
            raise self.endpoint.broken(error) from None
        finally:
            response.close()
        reader.finish()
