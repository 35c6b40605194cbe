"""What the server wants of a model in this process, whichever engine runs it."""

from typing import Protocol

from handful.backend import AsyncBackend
from handful.types import ModelInfo


class EngineStats(Protocol):
    """What the server wants to know of an engine."""

    @property
    def is_alive(self) -> bool:
        """Whether it still takes requests."""
        ...

    @property
    def seconds_since_step(self) -> float:
        """How long its requests have been waiting for a step; 0 without requests."""
        ...

    @property
    def num_waiting(self) -> int:
        """Requests in the queue."""
        ...

    @property
    def num_running(self) -> int:
        """Requests that are computed side by side."""
        ...

    @property
    def num_slots(self) -> int:
        """Tokens that the memory for keys and values has room for."""
        ...

    @property
    def num_held_slots(self) -> int:
        """Of these, held by what runs and is pinned."""
        ...

    @property
    def num_free_slots(self) -> int:
        """Of these, without content."""
        ...

    @property
    def num_steps(self) -> int:
        """Steps so far."""
        ...

    @property
    def num_finished(self) -> int:
        """Requests finished so far."""
        ...

    @property
    def num_failed(self) -> int:
        """Requests that failed or were given up so far."""
        ...

    @property
    def num_prompt_tokens(self) -> int:
        """Prompt tokens of all requests that ended."""
        ...

    @property
    def num_cached_tokens(self) -> int:
        """Of these, read from the cache."""
        ...

    @property
    def num_generated_tokens(self) -> int:
        """Tokens generated so far."""
        ...

    @property
    def num_drafted_tokens(self) -> int:
        """Tokens guessed so far and run before they were known."""
        ...

    @property
    def num_accepted_tokens(self) -> int:
        """Of these, those that turned out right."""
        ...

    @property
    def num_forced_tokens(self) -> int:
        """Generated tokens beside which no other could come."""
        ...


class ServedModel(Protocol):
    """A model in this process, as `handful.local.load` gives it."""

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it runs."""
        ...

    @property
    def num_bytes(self) -> int:
        """Memory that it may take, weights and all."""
        ...

    def stats(self) -> EngineStats:
        """What its engine is doing now."""
        ...

    def asynchronous(self) -> AsyncBackend:
        """The model for an event loop."""
        ...

    def close(self, timeout_s: float | None = None) -> None:
        """Finish what was accepted, for at most `timeout_s`, then free the model."""
        ...
