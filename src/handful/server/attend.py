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
from typing import Any, TypeVar

from starlette.types import Receive

from handful.errors import RequestAbortedError, RequestTimeoutError
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
    """The result of `work`.

    Raises what `work` raises, ClientLeftError, RequestTimeoutError past the deadline, or RequestAbortedError at the
    end of a drain; in these cases `work` has been cancelled and has finished.
    """
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_connection_closed(watch.receive))
    with watch.drain.ending() as ended:
        first: set[asyncio.Future[Any]] = {task, left, ended}
        try:
            await asyncio.wait(first, timeout=watch.remaining_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if ended.done():
                problem = "The server shut down before this was finished."
                raise RequestAbortedError(problem, fix="Send it again elsewhere.")
            if left.done():
                raise ClientLeftError("The client left.")
            raise RequestTimeoutError(f"Not finished within {watch.timeout_s:g} seconds.", fix="Ask for fewer tokens.")
        finally:
            left.cancel()
            if not task.done():
                task.cancel()
            await asyncio.gather(task, left, return_exceptions=True)


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
