"""`AsyncClient`: a handful server from an event loop. The same calls and answers as `Client`, awaited."""

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, overload

import httpx

import handful.client.calls as calls
import handful.client.task_calls as task_calls
from handful.client.async_driver import AsyncDriver
from handful.client.async_remote import AsyncRemoteModel
from handful.client.exchange import Failure, RetryPolicy
from handful.client.transport import Endpoint
from handful.protocol.generated_text import GeneratedText
from handful.task.inputs import Input
from handful.task.predict import Prediction
from handful.task.task import Example, Task


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
        policy = RetryPolicy(retries, max_total_wait_s=timeout_s)
        self._driver = AsyncDriver(Endpoint(url, token, timeout_s), policy, transport)

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
            return self._driver.stream(call, calls.TextReader())
        texts = [made.generated_text for made in calls.read_generations(await self._driver.run(call))]
        return texts[0] if isinstance(prompt, str) else texts

    async def generations(self, prompt: str, *, model: str = "default", **parameters: Any) -> list[GeneratedText]:
        """See `Client.generations`."""
        return calls.read_generations(await self._driver.run(calls.text_generation(prompt, model, parameters)))

    @overload
    async def predict(self, task: str, inputs: str | Mapping[str, str]) -> Prediction: ...
    @overload
    async def predict(self, task: str, inputs: calls.Inputs) -> list[Prediction]: ...
    async def predict(self, task: str, inputs: Input | calls.Inputs) -> Prediction | list[Prediction]:
        """See `Client.predict`."""
        predictions = calls.read_predictions(await self._driver.run(calls.prediction(task, inputs)))
        return predictions[0] if isinstance(inputs, str | Mapping) else predictions

    async def tasks(self) -> list[dict[str, Any]]:
        """See `Client.tasks`."""
        return task_calls.read_list(await self._driver.run(task_calls.ALL))

    async def task(self, name: str) -> Task:
        """See `Client.task`."""
        return task_calls.read_task(await self._driver.run(task_calls.show(name)))

    async def create_task(self, task: Task, *, private: bool = False) -> dict[str, Any]:
        """See `Client.create_task`."""
        return task_calls.read_info(await self._driver.run(task_calls.create(task, private=private)))

    async def update_task(self, task: Task, *, version: int | None = None) -> dict[str, Any]:
        """See `Client.update_task`."""
        return task_calls.read_info(await self._driver.run(task_calls.update(task, version)))

    async def delete_task(self, name: str, *, version: int | None = None) -> None:
        """See `Client.delete_task`."""
        await self._driver.run(task_calls.delete(name, version))

    async def examples(self, name: str) -> dict[str, Example]:
        """See `Client.examples`."""
        return task_calls.read_examples(await self._driver.run(task_calls.examples(name)))

    async def add_examples(
        self, name: str, examples: Sequence[Example], *, version: int | None = None
    ) -> dict[str, Any]:
        """See `Client.add_examples`."""
        return task_calls.read_info(await self._driver.run(task_calls.add_examples(name, examples, version)))

    async def remove_examples(self, name: str, ids: Sequence[str], *, version: int | None = None) -> dict[str, Any]:
        """See `Client.remove_examples`."""
        return task_calls.read_info(await self._driver.run(task_calls.remove_examples(name, ids, version)))

    async def health(self) -> dict[str, Any]:
        """See `Client.health`."""
        outcome = await self._driver.send(calls.HEALTH)
        if isinstance(outcome, Failure):
            raise outcome.error
        return calls.read_object(outcome)

    async def backend(self, model: str = "default") -> AsyncRemoteModel:
        """A served model as an `AsyncBackend`; it asks the server what the model is. See `Client.backend`."""
        return await AsyncRemoteModel.open(self._driver, model)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._driver.endpoint.url!r})"
