"""`AsyncClient`: a handful server from an event loop. The same calls and answers as `Client`, awaited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, Self, overload

import httpx

import handful.client.calls as calls
from handful.client.exchange import Answer, Call, Failure, RetryPolicy, Wait, exchange
from handful.client.transport import Endpoint, answer_of, request_options
from handful.protocol.generated_text import GeneratedText
from handful.task.inputs import Input
from handful.task.predict import Prediction


class AsyncClient:
    """Text generation and predictions from `handful serve`; see `Client`. Cancelling the task aborts a call."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        timeout_s: float = 120.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._endpoint = Endpoint(url, token, timeout_s)
        self._policy = RetryPolicy(retries, max_total_wait_s=timeout_s)
        self._http = httpx.AsyncClient(transport=transport, **self._endpoint.httpx_options())

    @overload
    async def text_generation(
        self, prompt: str, *, model: str = "default", stream: Literal[False] = False, **parameters: Any
    ) -> str: ...
    @overload
    async def text_generation(
        self, prompt: list[str], *, model: str = "default", stream: Literal[False] = False, **parameters: Any
    ) -> list[str]: ...
    @overload
    async def text_generation(
        self, prompt: str, *, model: str = "default", stream: Literal[True], **parameters: Any
    ) -> AsyncIterator[str]: ...
    async def text_generation(
        self, prompt: str | list[str], *, model: str = "default", stream: bool = False, **parameters: Any
    ) -> str | list[str] | AsyncIterator[str]:
        """See `Client.text_generation`. A stream is read with `async for text in await client.text_generation(...)`."""
        calls.refuse_several(parameters)
        call = calls.text_generation(prompt, model, parameters, stream=stream)
        if stream:
            return self._stream(call)
        texts = [made.generated_text for made in calls.read_generations(await self._run(call))]
        return texts[0] if isinstance(prompt, str) else texts

    async def generations(self, prompt: str, *, model: str = "default", **parameters: Any) -> list[GeneratedText]:
        """See `Client.generations`."""
        return calls.read_generations(await self._run(calls.text_generation(prompt, model, parameters)))

    @overload
    async def predict(self, task: str, inputs: str | Mapping[str, str]) -> Prediction: ...
    @overload
    async def predict(self, task: str, inputs: calls.Inputs) -> list[Prediction]: ...
    async def predict(self, task: str, inputs: Input | calls.Inputs) -> Prediction | list[Prediction]:
        """See `Client.predict`."""
        predictions = calls.read_predictions(await self._run(calls.prediction(task, inputs)))
        return predictions[0] if isinstance(inputs, str | Mapping) else predictions

    async def health(self) -> dict[str, Any]:
        """See `Client.health`."""
        outcome = await self._send(calls.HEALTH)
        if isinstance(outcome, Failure):
            raise outcome.error
        return calls.read_object(outcome)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._endpoint.url!r})"

    async def _run(self, call: Call) -> Answer:
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
                outcome = await self._send(step)

    async def _send(self, call: Call) -> Answer | Failure:
        try:
            return answer_of(await self._http.send(self._http.build_request(**request_options(call))))
        except httpx.HTTPError as error:
            return self._endpoint.failure(error)

    async def _stream(self, call: Call) -> AsyncIterator[str]:
        """Open with retries, then read to the end; an open response is closed whatever happens."""
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
            async with aclosing(self._texts(response)) as texts:  # one that is merely dropped would close later
                async for text in texts:
                    yield text

    async def _open(self, call: Call) -> tuple[Answer | Failure, httpx.Response | None]:
        try:
            response = await self._http.send(self._http.build_request(**request_options(call)), stream=True)
            if response.is_success:
                return answer_of(response, with_body=False), response
            await response.aread()
        except httpx.HTTPError as error:
            return self._endpoint.failure(error), None
        return answer_of(response), None

    async def _texts(self, response: httpx.Response) -> AsyncGenerator[str, None]:
        reader = calls.StreamReader()
        try:
            async for chunk in response.aiter_bytes():
                for text in reader.feed(chunk):
                    yield text
        except httpx.HTTPError as error:
            raise self._endpoint.broken(error) from None
        finally:
            await response.aclose()
        reader.finish()
