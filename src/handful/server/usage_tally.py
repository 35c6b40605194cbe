"""What one request uses of which models, added up where the work is done.

A request's tally is found through a context variable: the tasks that a request starts inherit it, so work is counted
on every surface without the surface's help.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import TracebackType

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


class _Working:
    """See `Tally.working`."""

    __slots__ = ("_model", "_tally", "_work")

    def __init__(self, tally: "Tally", model: str) -> None:
        self._tally, self._model, self._work = tally, model, tally.work(model)

    def __enter__(self) -> None:
        if self._work.num_running == 0:
            self._work.began_at = time.perf_counter()
        self._work.num_running += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.num_running -= 1
        if self._work.num_running == 0:
            self._tally.add(self._model, Usage(compute_us=round((time.perf_counter() - self._work.began_at) * 1e6)))


@dataclass(slots=True)
class Tally:
    """The usage of a request. `add_late` takes what becomes known after it has ended."""

    add_late: Callable[[str, Usage], None]
    _models: dict[str, _Work] = field(default_factory=dict)

    def working(self, model: str) -> "_Working":
        """Work with a model, as long as the block runs."""
        return _Working(self, model)

    def add(self, model: str, amount: Usage) -> None:
        """Count an amount of work with a model."""
        work = self.work(model)
        work.usage = work.usage + amount

    def work(self, model: str) -> _Work:
        """What was done so far with a model."""
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = _Work()
        return found

    @property
    def num_tokens(self) -> int:
        """All tokens, read and generated."""
        return sum(work.usage.prompt_tokens + work.usage.generated_tokens for work in self._models.values())

    def amounts(self, num_characters: int | None) -> dict[str, Usage]:
        """Usage by model. `num_characters` is the request's own count of its input, where it has one."""
        amounts = {model: work.usage for model, work in self._models.items()}
        if num_characters is not None:
            for position, (model, usage) in enumerate(amounts.items()):
                counted = 0 if position else num_characters
                if usage.input_characters != counted:
                    amounts[model] = replace(usage, input_characters=counted)
        return amounts
