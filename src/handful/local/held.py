"""Prefixes that no text has: learned keys and values, held by the engine like pinned ones while anybody has them."""

import threading
import weakref
from collections import deque
from typing import Any

import torch
from numpy.typing import NDArray

from handful.engine.engine import Engine
from handful.engine.loop import EngineLoop
from handful.errors import InvalidInputError
from handful.types import TunedPrefix


class HeldPrefixes:
    """Which tokens stand for which prefix. Thread-safe.

    A prefix to which nobody refers any more is let go at the next call. Not at once: Python may notice it anywhere,
    also in a thread that holds the loop's lock.
    """

    def __init__(self, loop: EngineLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._gone: deque[tuple[int, ...]] = deque()
        self._tokens: weakref.WeakKeyDictionary[TunedPrefix, tuple[int, ...]] = weakref.WeakKeyDictionary()

    def knows(self, prefix: TunedPrefix) -> bool:
        """Whether it is held already, so that `tokens_of` doesn't wait for the engine."""
        return prefix in self._tokens

    def tokens_of(self, prefix: TunedPrefix) -> tuple[int, ...]:
        """What stands for it at the start of a prompt. Raises what `Engine.hold` does."""
        with self._lock:
            self._let_go()
            found = self._tokens.get(prefix)
            if found is None:
                found = self._tokens[prefix] = self._hold(_tensor(prefix.keys), _tensor(prefix.values))
                weakref.finalize(prefix, self._gone.append, found).atexit = False
            return found

    def sweep(self) -> None:
        """Let go of what nobody refers to."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        while self._gone:
            self._loop.unpin(self._gone.popleft())

    def _hold(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[int, ...]:
        found: list[tuple[int, ...]] = []

        def hold(engine: Engine) -> None:
            found.append(engine.hold(keys, values))

        self._loop.call(hold)
        return found[0]


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    if array.ndim != 4:
        raise InvalidInputError(f"The keys or values of a prefix have {array.ndim} dimensions in place of 4.")
    return torch.from_numpy(array)
