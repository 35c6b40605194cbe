"""Which prefixes the models keep for tasks: each as long as a task needs it, all together at most half of the memory.

A prefix that several tasks (or two versions of one) begin with is computed once and held until none needs it. What
doesn't fit into the half is not held: such a task answers all the same, from what the cache still has of its prefix.
"""

import asyncio
import json
import logging
from collections.abc import Hashable
from dataclasses import dataclass, field

from handful.backend import AsyncBackend, on_behalf_of
from handful.errors import BusyError, HandfulError

_log = logging.getLogger("handful.server")
_NUM_TRIES = 40
_LONGEST_PAUSE_S = 0.5


@dataclass(slots=True)
class _Room:
    """A model that has loaded, and how many tokens its tasks may hold."""

    backend: AsyncBackend
    num_tokens: int


@dataclass(slots=True)
class _Held:
    """A prefix, the work that computes it, and who needs it."""

    num_tokens: int
    computed: asyncio.Future[bool]
    holders: set[Hashable] = field(default_factory=set)


class TaskPins:
    """The prefixes that are held, by model. Belongs to one event loop."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._held: dict[tuple[str, str | None, str], _Held] = {}

    def model_loaded(self, model: str, backend: AsyncBackend, num_slots: int) -> None:
        """A model has loaded, maybe again: it holds nothing yet."""
        self._rooms[model] = _Room(backend, num_slots // 2)
        for key in [key for key in self._held if key[0] == model]:
            del self._held[key]

    def model_unloaded(self, model: str) -> None:
        """A model has left the memory, with all that it held."""
        self._rooms.pop(model, None)
        for key in [key for key in self._held if key[0] == model]:
            del self._held[key]

    def backend(self, model: str, private_to: str | None = None) -> AsyncBackend | None:
        """A model that has loaded, by its name, on behalf of an account (None: of everybody)."""
        room = self._rooms.get(model)
        return None if room is None else on_behalf_of(room.backend, private_to)

    async def hold(self, holder: Hashable, model: str, prefix: str, private_to: str | None = None) -> bool:
        """Have a prefix computed and kept until `release`. False where it isn't: no such model yet, or no room.

        What is private to an account is read from the cache by its requests alone. Raises BusyError where the model's
        queue stays full.
        """
        room = self._rooms.get(model)
        if room is None or not prefix:
            return False
        try:
            num_tokens = await room.backend.count_tokens(prefix)
        except HandfulError as error:
            return _not_held(model, error)
        held = self._held.get((model, private_to, prefix))
        if held is None:
            if self._num_tokens(model) + num_tokens > room.num_tokens:
                return False
            own = on_behalf_of(room.backend, private_to)
            held = _Held(num_tokens, asyncio.ensure_future(_pin(own, model, prefix)))
            self._held[(model, private_to, prefix)] = held
        held.holders.add(holder)
        is_held = False
        try:
            is_held = await asyncio.shield(held.computed)
        finally:
            if not is_held:
                await self.release(holder, model, prefix, private_to)
        return is_held

    async def release(self, holder: Hashable, model: str, prefix: str, private_to: str | None = None) -> None:
        """A holder doesn't need a prefix any more. One that doesn't hold it changes nothing."""
        held = self._held.get((model, private_to, prefix))
        if held is None or holder not in held.holders:
            return
        held.holders.remove(holder)
        if held.holders:
            return
        del self._held[(model, private_to, prefix)]
        if not held.computed.done():
            held.computed.cancel()  # its only holder gave it up
        elif not held.computed.exception() and held.computed.result():
            await on_behalf_of(self._rooms[model].backend, private_to).unpin(prefix)

    def _num_tokens(self, model: str) -> int:
        return sum(held.num_tokens for (name, *_), held in self._held.items() if name == model)


async def _pin(backend: AsyncBackend, model: str, prefix: str) -> bool:
    """Compute and keep a prefix, waiting for room in the queue for some seconds."""
    for attempt in range(_NUM_TRIES):
        try:
            await backend.pin(prefix)
        except BusyError:
            if attempt == _NUM_TRIES - 1:
                raise
            await asyncio.sleep(min(0.01 * 2**attempt, _LONGEST_PAUSE_S))
        except HandfulError as error:  # such a task still answers: with fewer examples, or as its error says
            return _not_held(model, error)
        else:
            return True
    return False


def _not_held(model: str, error: HandfulError) -> bool:
    _log.warning(json.dumps({"event": "not pinned", "model": model, "kind": type(error).__name__}))
    return False
