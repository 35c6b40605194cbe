"""What one request uses of which models, added up where the work is done.

A request's tally is found through a context variable: the tasks that a request starts inherit it, so work is counted
on every surface without the surface's help.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from handful.store.usage import Usage

current_tally: ContextVar["Tally | None"] = ContextVar("current_tally", default=None)


@contextmanager
def uncounted() -> Iterator[None]:
    """Work in this block is nobody's usage: it serves whoever comes later, too."""
    token = current_tally.set(None)
    try:
        yield
    finally:
        current_tally.reset(token)


@dataclass(slots=True)
class _Work:
    """Of one model. Work side by side takes the time once: from when it began until nothing is left of it."""

    usage: Usage = field(default_factory=lambda: Usage(requests=1))
    num_running: int = 0
    began_at: float = 0.0


@dataclass(slots=True)
class Tally:
    """The usage of a request. `add_late` takes what becomes known after it has ended."""

    add_late: Callable[[str, Usage], None]
    _models: dict[str, _Work] = field(default_factory=dict)

    @contextmanager
    def working(self, model: str) -> Iterator[None]:
        """Work with a model, as long as the block runs."""
        work = self._models.setdefault(model, _Work())
        if work.num_running == 0:
            work.began_at = time.perf_counter()
        work.num_running += 1
        try:
            yield
        finally:
            work.num_running -= 1
            if work.num_running == 0:
                self.add(model, Usage(compute_us=round((time.perf_counter() - work.began_at) * 1e6)))

    def add(self, model: str, amount: Usage) -> None:
        """Count an amount of work with a model."""
        work = self._models.setdefault(model, _Work())
        work.usage = work.usage + amount

    @property
    def num_tokens(self) -> int:
        """All tokens, read and generated."""
        return sum(work.usage.prompt_tokens + work.usage.generated_tokens for work in self._models.values())

    def amounts(self, num_characters: int | None) -> dict[str, Usage]:
        """Usage by model. `num_characters` is the request's own count of its input, where it has one."""
        amounts = {model: work.usage for model, work in self._models.items()}
        if num_characters is not None:
            for position, (model, usage) in enumerate(amounts.items()):
                amounts[model] = replace(usage, input_characters=0 if position else num_characters)
        return amounts
