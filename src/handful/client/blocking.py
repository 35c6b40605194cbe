"""`Client`: a handful server from ordinary code. Thread-safe."""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, Self, overload

import httpx

import handful.client.calls as calls
from handful.client.exchange import Answer, Call, Failure, RetryPolicy, Wait, exchange
from handful.client.transport import Endpoint, answer_of, request_options
from handful.protocol.generated_text import GeneratedText
from handful.task.inputs import Input
from handful.task.predict import Prediction


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
        self._endpoint = Endpoint(url, token, timeout_s)
        self._policy = RetryPolicy(retries, max_total_wait_s=timeout_s)
        self._http = httpx.Client(transport=transport, **self._endpoint.httpx_options())

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
            return self._stream(call)
        texts = [made.generated_text for made in calls.read_generations(self._run(call))]
        return texts[0] if isinstance(prompt, str) else texts

    def generations(self, prompt: str, *, model: str = "default", **parameters: Any) -> list[GeneratedText]:
        """Continue a text, with all that the answer says: several texts (`num_return_sequences`), `details`."""
        return calls.read_generations(self._run(calls.text_generation(prompt, model, parameters)))

    @overload
    def predict(self, task: str, inputs: str | Mapping[str, str]) -> Prediction: ...
    @overload
    def predict(self, task: str, inputs: calls.Inputs) -> list[Prediction]: ...
    def predict(self, task: str, inputs: Input | calls.Inputs) -> Prediction | list[Prediction]:
        """A served task's prediction for one input, or a list of them for a list, in its order."""
        predictions = calls.read_predictions(self._run(calls.prediction(task, inputs)))
        return predictions[0] if isinstance(inputs, str | Mapping) else predictions

    def health(self) -> dict[str, Any]:
        """`status` ("ok" or "failed") and the state of each model. Not retried."""
        outcome = self._send(calls.HEALTH)
        if isinstance(outcome, Failure):
            raise outcome.error
        return calls.read_object(outcome)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._endpoint.url!r})"

    def _run(self, call: Call) -> Answer:
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
                outcome = self._send(step)

    def _send(self, call: Call) -> Answer | Failure:
        try:
            return answer_of(self._http.send(self._http.build_request(**request_options(call))))
        except httpx.HTTPError as error:
            return self._endpoint.failure(error)

    def _stream(self, call: Call) -> Iterator[str]:
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
            yield from self._texts(response)

    def _open(self, call: Call) -> tuple[Answer | Failure, httpx.Response | None]:
        try:
            response = self._http.send(self._http.build_request(**request_options(call)), stream=True)
            if response.is_success:
                return answer_of(response, with_body=False), response
            response.read()
        except httpx.HTTPError as error:
            return self._endpoint.failure(error), None
        return answer_of(response), None

    def _texts(self, response: httpx.Response) -> Iterator[str]:
        reader = calls.StreamReader()
        try:
            for chunk in response.iter_bytes():
                yield from reader.feed(chunk)
        except httpx.HTTPError as error:
            raise self._endpoint.broken(error) from None
        finally:
            response.close()
        reader.finish()
