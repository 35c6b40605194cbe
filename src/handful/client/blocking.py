"""`Client`: a handful server from ordinary code. Thread-safe."""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, overload

import httpx

import handful.client.calls as calls
import handful.client.task_calls as task_calls
from handful.client.blocking_driver import Driver
from handful.client.exchange import Failure, RetryPolicy
from handful.client.remote import RemoteModel
from handful.client.transport import Endpoint
from handful.protocol.generated_text import GeneratedText
from handful.task.inputs import Input
from handful.task.predict import Prediction
from handful.task.task import Example, Task


class Client:
    """Text generation and predictions from `handful serve`.

    timeout_s    longest silence of the server, and longest total wait between retries, in seconds
    retries      times a call is sent again after 429, 503 or a refused connection; never after a stream's first token

    Raises the `HandfulError` that the server raised (UserError, BusyError, NotReadyError, RequestTimeoutError, ...), or
    RemoteError where its answer can't be used. `transport` is httpx's, for tests.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        timeout_s: float = 120.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        policy = RetryPolicy(retries, max_total_wait_s=timeout_s)
        self._driver = Driver(Endpoint(url, token, timeout_s), policy, transport)

    @overload
    def text_generation(
        self, prompt: str, *, model: str = "default", stream: Literal[False] = False, **parameters: Any
    ) -> str: ...
    @overload
    def text_generation(
        self, prompt: list[str], *, model: str = "default", stream: Literal[False] = False, **parameters: Any
    ) -> list[str]: ...
    @overload
    def text_generation(
        self, prompt: str, *, model: str = "default", stream: Literal[True], **parameters: Any
    ) -> Iterator[str]: ...
    def text_generation(
        self, prompt: str | list[str], *, model: str = "default", stream: bool = False, **parameters: Any
    ) -> str | list[str] | Iterator[str]:
        """Continue a text, or several. With `stream`, pieces as they are written; closing the iterator aborts.

        `parameters` are those of the Inference API: max_new_tokens, temperature, stop, seed, ... The prompt is not part
        of the answer unless `return_full_text=True`.
        """
        calls.refuse_several(parameters)
        call = calls.text_generation(prompt, model, parameters, stream=stream)
        if stream:
            return self._driver.stream(call, calls.TextReader())
        texts = [made.generated_text for made in calls.read_generations(self._driver.run(call))]
        return texts[0] if isinstance(prompt, str) else texts

    def generations(self, prompt: str, *, model: str = "default", **parameters: Any) -> list[GeneratedText]:
        """Continue a text, with all that the answer says: several texts (`num_return_sequences`), `details`."""
        return calls.read_generations(self._driver.run(calls.text_generation(prompt, model, parameters)))

    @overload
    def predict(self, task: str, inputs: str | Mapping[str, str]) -> Prediction: ...
    @overload
    def predict(self, task: str, inputs: calls.Inputs) -> list[Prediction]: ...
    def predict(self, task: str, inputs: Input | calls.Inputs) -> Prediction | list[Prediction]:
        """A served task's prediction for one input, or a list of them for a list, in its order."""
        predictions = calls.read_predictions(self._driver.run(calls.prediction(task, inputs)))
        return predictions[0] if isinstance(inputs, str | Mapping) else predictions

    def tasks(self) -> list[dict[str, Any]]:
        """What the server says of each task: name, description, labels, model, version, whose it is."""
        return task_calls.read_list(self._driver.run(task_calls.ALL))

    def task(self, name: str) -> Task:
        """A served task as its file would have it."""
        return task_calls.read_task(self._driver.run(task_calls.show(name)))

    def create_task(self, task: Task, *, private: bool = False) -> dict[str, Any]:
        """Let the server serve a task, `private` for your account's tokens only. Raises ConflictError (name taken)."""
        return task_calls.read_info(self._driver.run(task_calls.create(task, private=private)))

    def update_task(self, task: Task, *, version: int | None = None) -> dict[str, Any]:
        """Put a task in the place of the one of its name. ConflictError where that isn't at `version` (None: any)."""
        return task_calls.read_info(self._driver.run(task_calls.update(task, version)))

    def delete_task(self, name: str, *, version: int | None = None) -> None:
        """Remove a served task with all its versions. Raises as `update_task` does."""
        self._driver.run(task_calls.delete(name, version))

    def examples(self, name: str) -> dict[str, Example]:
        """The examples of a served task by their ids."""
        return task_calls.read_examples(self._driver.run(task_calls.examples(name)))

    def add_examples(self, name: str, examples: Sequence[Example], *, version: int | None = None) -> dict[str, Any]:
        """Add examples to a served task; requests that run meanwhile are answered. Raises as `update_task` does."""
        return task_calls.read_info(self._driver.run(task_calls.add_examples(name, examples, version)))

    def remove_examples(self, name: str, ids: Sequence[str], *, version: int | None = None) -> dict[str, Any]:
        """Remove the examples with these ids, which `examples` has. Raises as `update_task` does."""
        return task_calls.read_info(self._driver.run(task_calls.remove_examples(name, ids, version)))

    def health(self) -> dict[str, Any]:
        """`status` ("ok" or "failed") and the state of each model. Not retried."""
        outcome = self._driver.send(calls.HEALTH)
        if isinstance(outcome, Failure):
            raise outcome.error
        return calls.read_object(outcome)

    def backend(self, model: str = "default") -> RemoteModel:
        """A served model as a `Backend`, for tasks, predictors and evaluations. It lives as long as this client."""
        return RemoteModel(self._driver, model)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._driver.endpoint.url!r})"
