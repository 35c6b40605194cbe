"""Asking the database from the event loop: in a few threads of its own, for a bounded time.

A database that hangs must not hold up the threads that other work needs. What it says when it fails is for the log;
clients are told that it failed.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from handful.errors import StoreError

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

TIMEOUT_S = 5.0
_NUM_THREADS = 4
_log = logging.getLogger("handful.server")


class StoreThreads:
    """Threads for calls that block on the database."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="handful-store")
        self._timeout_s = timeout_s

    async def run(
        self, function: Callable[Arguments, Answer], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Answer:
        """What `function` returns. Raises StoreError, with a message fit for a client, where it fails or hangs."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await loop.run_in_executor(self._threads, lambda: function(*arguments, **named))
        except TimeoutError:
            log_failure("the database does not answer", "TimeoutError")
        except StoreError as error:
            log_failure("the database can not be used", str(error))
        raise StoreError("The server's database can't be used now.", fix="Send the request again later.")

    def close(self) -> None:
        """Let go of the threads; those that hang are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def log_failure(event: str, cause: str) -> None:
    """One line; a StoreError's message has no password and no statement in it."""
    _log.warning(json.dumps({"event": event, "cause": cause}))
