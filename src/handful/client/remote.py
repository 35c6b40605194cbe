"""A model behind a URL, as the `Backend` that a model in this process is."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

import httpx
import numpy as np
from numpy.typing import NDArray

import handful.client.backend_calls as calls
from handful.client.blocking_driver import Driver
from handful.client.exchange import Answer, Call, RetryPolicy
from handful.client.transport import Endpoint
from handful.errors import BusyError, HandfulError, InvalidParameterError, NotFoundError, RemoteError
from handful.protocol.backend_requests import MAX_SCORES
from handful.types import Generation, GenerationParameters, ModelInfo, Score, StreamEvent

Value = TypeVar("Value")
INFO_TIMEOUT_S = 10.0
"""What a model is, is answered at once, also while it computes or loads."""


class RemoteModel:
    """A `Backend` behind `handful serve`. Thread-safe. Long lists are sent in several requests, in their order.

    A prefix that is pinned is computed at once and stays like any text that is shared, as long as the server has room:
    only a server's own tasks are pinned there for good.
    """

    def __init__(
        self, driver: Driver, model: str, told: calls.Served | None = None, *, closes_driver: bool = False
    ) -> None:
        self._driver, self._model, self._told, self._closes_driver = driver, model, told, closes_driver

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it runs, asked once. Raises as `Client` does."""
        return self._served().info

    def generate(self, prompts: Sequence[str], parameters: GenerationParameters) -> list[Generation]:
        """See `Backend.generate`."""
        parts = self._served().parts(prompts, parameters.num_drawn)
        return self._each(parts, lambda part: calls.generate(self._model, part, parameters), calls.read_generated)

    def stream(self, prompt: str, parameters: GenerationParameters) -> Iterator[StreamEvent]:
        """See `Backend.stream`."""
        if parameters.num_drawn > 1:
            raise InvalidParameterError("n", "must be 1 when a completion is streamed.")
        call = calls.generate(self._model, [prompt], parameters, stream=True)
        return self._driver.stream(call, calls.EventReader())

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[Score]:
        """See `Backend.score`."""
        parts = self._served().parts(prompts, most=MAX_SCORES // max(1, len(continuations)))
        return self._each(parts, lambda part: calls.score(self._model, part, continuations), calls.read_scores)

    def embed(self, texts: Sequence[str], *, layer: int | None = None) -> NDArray[np.float32]:
        """See `Backend.embed`."""
        size = self.info.hidden_size
        rows = self._each(
            self._served().parts(texts),
            lambda part: calls.embed(self._model, part, layer),
            lambda answer, num: list(calls.read_embedded(answer, num, size)),
        )
        return np.stack(rows) if rows else np.zeros((0, size), dtype=np.float32)

    def count_tokens(self, text: str) -> int:
        """See `Backend.count_tokens`."""
        return calls.read_count(self._driver.run(calls.count_tokens(self._model, text)))

    def pin(self, prefix: str) -> None:
        """Compute a prefix now, so that the first query finds it; see the class for how long it stays."""
        self._driver.run(calls.embed(self._model, [prefix]))

    def unpin(self, prefix: str) -> None:
        """Nothing is left to be let go of."""

    def close(self) -> None:
        """Close the connections, where they are this model's own (`connect`). Idempotent."""
        if self._closes_driver:
            self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _each(
        self,
        parts: Iterable[Sequence[str]],
        ask: Callable[[Sequence[str]], Call],
        read: Callable[[Answer, int], list[Value]],
    ) -> list[Value]:
        """The answers for all parts. One that is more than the server's queue has room for is sent in halves."""
        found: list[Value] = []
        for part in parts:
            try:
                found += read(self._driver.run(ask(part)), len(part))
            except BusyError:
                if len(part) == 1:
                    raise
                half = len(part) // 2
                found += self._each((part[:half], part[half:]), ask, read)
        return found

    def _served(self) -> calls.Served:
        if self._told is None:
            self._told = calls.read_served(self._driver.run(calls.info(self._model)), self._driver.endpoint.url)
        return self._told

    def __repr__(self) -> str:
        return f"RemoteModel({self._driver.endpoint.url!r}, {self._model!r})"


def connect(
    url: str,
    *,
    model: str | None = None,
    token: str | None = None,
    timeout_s: float = 600.0,
    retries: int = 4,
    transport: httpx.BaseTransport | None = None,
) -> RemoteModel:
    """A model that `handful serve` serves, to be used wherever `handful.load` gives one: by tasks, predictors, sweeps.

    `url` is the server's, or that of a model (`http://host:8000/models/NAME`). Without a model it is the one served
    first. Close it, or use it as a context manager. `timeout_s` is the longest silence while it computes; it must say
    within 10 seconds what it is.
    Raises InvalidParameterError, NotFoundError where it isn't served, RemoteError where there is no server,
    RequestTimeoutError where one is silent, and what the server refuses.
    """
    server, named = calls.split_url(url)
    if model is not None and named not in (None, model):
        raise InvalidParameterError("model", f"is {model}, and the URL names {named}.", fix="Leave one of them out.")
    policy = RetryPolicy(retries, max_total_wait_s=timeout_s)
    driver = Driver(Endpoint(server, token, timeout_s), policy, transport)
    try:
        return _found(driver, model or named)
    except (NotFoundError, RemoteError) as error:
        driver.close()
        if named is None and urlsplit(url).path.strip("/") and _is_no_route(error):
            raise _no_models_url(url) from None
        raise
    except HandfulError:
        driver.close()
        raise


def _found(driver: Driver, name: str | None) -> RemoteModel:
    """The model, once the server has said that it is there."""
    answer = driver.run(calls.info(name), timeout_s=min(driver.endpoint.timeout_s, INFO_TIMEOUT_S))
    told = calls.read_served(answer, driver.endpoint.url)
    return RemoteModel(driver, name or told.info.name, told, closes_driver=True)


def _is_no_route(error: NotFoundError | RemoteError) -> bool:
    return isinstance(error, NotFoundError) or error.status == 405


def _no_models_url(url: str) -> NotFoundError:
    parts = urlsplit(url)
    problem = f"{url} is not the URL of a model."
    return NotFoundError(problem, fix=f"A model's is such as {parts.scheme}://{parts.netloc}/models/default")
