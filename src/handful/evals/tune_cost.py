"""What a search would cost, before it starts: queries, tokens, and the time that a few queries took."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from handful.backend import Backend
from handful.evals.askers import asking
from handful.evals.data import Item
from handful.evals.tune import Search
from handful.evals.tune_space import Candidate
from handful.task.calibration import NUM_RANDOM_TEXTS, is_calibrated
from handful.task.inputs import values_of
from handful.task.render import prefix, query

_TIMED = 8
_COUNTED = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """num_calls   queries and calibration prompts that the model is asked
    num_tokens  of these, tokens that have to be computed: a candidate's prefix once, then each query's own
    seconds     at the rate of `num_timed` queries of the task as it is
    """

    num_candidates: int
    num_calls: int
    num_tokens: int
    seconds: float
    num_timed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"seconds": round(self.seconds, 1)}

    def lines(self) -> list[str]:
        """The same for people."""
        minutes = f"{self.seconds / 60:.0f} minutes" if self.seconds >= 120 else f"{self.seconds:.0f} seconds"
        return [
            f"{self.num_candidates} candidates, {self.num_calls} calls, about {self.num_tokens} tokens",
            f"about {minutes}, going by {self.num_timed} queries of the task as it is",
        ]


def cost_of(search: Search, tried: Sequence[Candidate], queries: Sequence[Item], backend: Backend) -> Cost:
    """Counts tokens and asks a few queries. Raises what the backend raises."""
    num_probes = sum(NUM_RANDOM_TEXTS + 3 for candidate in tried if is_calibrated(candidate.task))
    num_calls = search.num_planned + num_probes
    own = tried[0].task
    sample = [query(own, values_of(own, item.inputs)) for item in queries[:_COUNTED]]
    each = sum(map(backend.count_tokens, sample)) / len(sample)
    if not own.is_closed:
        each += own.generation.max_new_tokens
    shared = [prefix(candidate.task) for candidate in tried]
    num_shared = sum(backend.count_tokens(text) for text in shared if text)
    seconds = _seconds_a_query(tried[0], queries[:_TIMED], backend)
    return Cost(
        num_candidates=len(tried),
        num_calls=num_calls,
        num_tokens=round(num_shared + num_calls * each),
        seconds=num_calls * seconds,
        num_timed=len(queries[:_TIMED]),
    )


def _seconds_a_query(candidate: Candidate, queries: Sequence[Item], backend: Backend) -> float:
    with asking(candidate.task, backend, "task", seed=0, texts=()) as asker:
        asker.answer([item.inputs for item in queries[:1]])  # its prefix is there, and it is calibrated
        started = time.perf_counter()
        asker.answer([item.inputs for item in queries])
    return (time.perf_counter() - started) / len(queries)
