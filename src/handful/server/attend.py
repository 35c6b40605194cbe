"""Working for a client only as long as someone waits for the answer.

Starlette doesn't cancel a handler when its client leaves, so each piece of model work runs beside three watchers: the
connection, the deadline, and the end of the server. The work is cancelled, which aborts its requests in the engine,
as soon as one of them fires.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from starlette.types import Receive

from handful.errors import HandfulError, RequestAbortedError, RequestTimeoutError
from handful.server.drain import Drain
from handful.server.errors import ClientLeftError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Watch:
    """What ends a piece of work early."""

    receive: Receive
    drain: Drain
    timeout_s: float
    started_at: float = field(default_factory=time.monotonic)

    @property
    def remaining_s(self) -> float:
        """Seconds to the deadline, which is one for all the work of a request."""
        return max(0.0, self.started_at + self.timeout_s - time.monotonic())


async def _connection_closed(receive: Receive) -> None:
    """Return when the client has left. The request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def attend(work: Coroutine[Any, Any, Result], watch: Watch) -> Result:
    """The result of `work`, which is done in this task.

    Raises what `work` raises, ClientLeftError, RequestTimeoutError past the deadline, or RequestAbortedError at the
    end of a drain; in these cases `work` has been cancelled and has finished.
    """
    if watch.drain.has_ended:
        work.close()
        raise _shut_down()
    with _Watchers(watch):
        return await work


class _Watchers:
    """Cancel the task that made them, as `asyncio.timeout` does, and then raise the reason in the cancellation's place.

    A task for the work, to be waited for beside them, would cost each request as much as all of its gates.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._reason: HandfulError | None = None

    def __enter__(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be given up")
        self._task, self._num_cancelled = task, task.cancelling()
        self._timer = loop.call_later(self._watch.remaining_s, self._time_out)
        self._left = loop.create_task(_connection_closed(self._watch.receive))
        self._left.add_done_callback(self._client_left)
        self._watch.drain.at_end(self._end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._left.remove_done_callback(self._client_left)
        self._left.cancel()
        self._watch.drain.forget(self._end)
        if self._reason is None:
            return
        is_cancelled_by_us_alone = self._task.uncancel() <= self._num_cancelled
        if is_cancelled_by_us_alone and kind is asyncio.CancelledError:
            raise self._reason from None

    def _time_out(self) -> None:
        problem = f"Not finished within {self._watch.timeout_s:g} seconds."
        self._give_up(RequestTimeoutError(problem, fix="Ask for fewer tokens."))

    def _client_left(self, left: "asyncio.Task[None]") -> None:
        if not left.cancelled():
            left.exception()  # a connection that can't even be asked has nobody at its end either
        self._give_up(ClientLeftError("The client left."))

    def _end(self) -> None:
        self._give_up(_shut_down())

    def _give_up(self, reason: HandfulError) -> None:
        if self._reason is None:
            self._reason = reason
            self._task.cancel()


def _shut_down() -> RequestAbortedError:
    return RequestAbortedError("The server shut down before this was finished.", fix="Send it again elsewhere.")


@asynccontextmanager
async def closing(values: AsyncIterator[Result]) -> AsyncIterator[AsyncIterator[Result]]:
    """Close an iterator on the way out; a generator that is merely dropped is closed some time later."""
    try:
        yield values
    finally:
        if isinstance(values, AsyncGenerator):
            await values.aclose()


async def side_by_side(works: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results, in order. The first work that fails ends the others and its error is raised."""
    works = list(works)
    if len(works) == 1:
        return [await works[0]]
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
