"""Following what other servers on the same database change, what a lost answer of the database left open, and what is
saved in the folders of classifiers.

Models, pins, tasks and folders are looked at when the server starts, and then again and again: a change of the database
is everywhere within `REFRESH_S`.
"""

import asyncio
from collections.abc import Awaitable, Callable

from handful.errors import StoreError
from handful.server.errors import fault

Look = Callable[[], Awaitable[None]]
REFRESH_S = 2.0


class StoreSync:
    """Looks, at the start in the order given, as long as it runs. Belongs to one event loop."""

    def __init__(self, *looks: Look) -> None:
        self._looks = looks
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Look once, and go on, each for itself: one that waits for a model holds up no other.

        While the database can't be used, what is known stays.
        """
        for look in self._looks:
            await _once(look)
        self._running = [asyncio.ensure_future(_again_and_again(look)) for look in self._looks]

    async def close(self) -> None:
        """Stop looking."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


async def _once(look: Look) -> None:
    try:
        await look()
    except StoreError:  # it was logged
        return
    except Exception as error:  # noqa: BLE001 - the next look may do; `fault` logs it
        fault(error)


async def _again_and_again(look: Look) -> None:
    while True:
        await asyncio.sleep(REFRESH_S)
        await _once(look)
