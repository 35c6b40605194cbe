"""Between an event loop and the engine's thread: however much there is to tell, either is woken once.

Waking a loop is a write that lets go of the interpreter's lock, and the loop takes it: an engine that woke it for each
of the 64 requests that a step has ended would wait for the lock 64 times before its next step.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any


class Postbox:
    """Calls functions in one event loop, in the order in which they were posted. `post` is thread-safe."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._posted: deque[Callable[[], Any]] = deque()
        self._is_called = False
        self._at_end: set[Callable[[], Any]] = set()

    def at_end_of_turn(self, function: Callable[[], Any]) -> None:
        """Call `function` when what the loop has to do now is done: once, however often it is asked for till then."""
        loop = self._loop()
        if function not in self._at_end and loop is not None:
            self._at_end.add(function)
            loop.call_soon(self._end_turn, function)

    def post(self, function: Callable[[], Any]) -> None:
        """Have `function` called soon. An event loop that has ended has nobody left to be told."""
        self._posted.append(function)
        if self._is_called:  # it will find this one, too: it says so before it looks
            return
        self._is_called = True
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._deliver)

    def _end_turn(self, function: Callable[[], Any]) -> None:
        self._at_end.discard(function)
        function()

    def _deliver(self) -> None:
        self._is_called = False
        while self._posted:
            self._posted.popleft()()


_boxes: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Postbox]" = weakref.WeakKeyDictionary()


def postbox() -> Postbox:
    """The postbox of the event loop that runs here."""
    loop = asyncio.get_running_loop()
    found = _boxes.get(loop)
    if found is None:
        found = _boxes[loop] = Postbox(loop)
    return found
