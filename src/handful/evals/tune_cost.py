"""What a search would cost, before it starts: queries, tokens, and the time that a few queries took."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from handful.backend import Backend
from handful.evals.askers import asking
from handful.evals.data import Item
from handful.evals.tune import NUM_TEXTS, Search
from handful.evals.tune_space import Candidate
from handful.learn.reading_names import Work, work_of
from handful.task.calibration import is_calibrated, probes
from handful.task.inputs import values_of
from handful.task.render import prefix, query
from handful.task.task import Task

_TIMED = 8
_COUNTED = 32
# Reading an example forwards and backwards takes as long as about so many queries (docs/log.md, 2026-11-29: a fit with
# 1,280 of them 225 s, where the same machine answers 130 queries a second).
_QUERIES_A_LEARNED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """num_calls   prompts that the model is asked: those of queries, and those that readings are fitted with
    num_tokens  of these, tokens that have to be computed: a candidate's prefixes once, then each prompt's own, the
                examples that were chosen for it included
    num_learned of tuning prompts: examples that are read forwards and backwards, each as often as it is
    seconds     at the rate of the tokens of `num_timed` queries of the task as it is; what an encoder takes isn't in it
    """

    num_candidates: int
    num_calls: int
    num_tokens: int
    num_learned: int
    seconds: float
    num_timed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"seconds": round(self.seconds, 1)}

    def lines(self) -> list[str]:
        """The same for people."""
        minutes = f"{self.seconds / 60:.0f} minutes" if self.seconds >= 120 else f"{self.seconds:.0f} seconds"
        learned = f"; tuning prompts reads {self.num_learned} examples" if self.num_learned else ""
        return [
            f"{self.num_candidates} candidates, {self.num_calls} calls, about {self.num_tokens} tokens{learned}",
            f"about {minutes}, going by {self.num_timed} queries of the task as it is",
        ]


def cost_of(search: Search, tried: Sequence[Candidate], queries: Sequence[Item], backend: Backend) -> Cost:
    """Counts tokens and asks a few queries. Raises what the backend raises."""
    works = [_work(candidate, search.provided.prompt_epochs) for candidate in tried]
    # Which candidates stay to the end isn't known yet, so all queries count as those of a candidate in the middle.
    a_query = sum(work.a_query for work in works) / len(works)
    num_calls = math.ceil(search.num_planned * a_query) + sum(work.to_fit for work in works)
    num_own = sum(
        (work.to_fit + search.num_planned / len(works) * work.a_query) * _tokens_of_own(candidate.task, work, backend)
        for candidate, work in zip(tried, works, strict=True)
    )
    own = tried[0].task
    sample = [query(own, values_of(own, item.inputs)) for item in queries[:_COUNTED]]
    each = sum(map(backend.count_tokens, sample)) / len(sample)
    if not own.is_closed:
        each += own.generation.max_new_tokens
    shared = [
        (prefix(candidate.task), work.num_prefixes)
        for candidate, work in zip(tried, works, strict=True)
        if work.num_prefixes
    ]
    num_shared = sum(number * backend.count_tokens(text) for text, number in shared if text)
    num_learned = sum(work.num_learned for work in works)
    seconds = _seconds_a_query(tried[0], queries[:_TIMED], backend)
    return Cost(
        num_candidates=len(tried),
        num_calls=num_calls,
        num_tokens=round(num_shared + num_own + num_calls * each),
        num_learned=num_learned,
        seconds=(num_calls + _QUERIES_A_LEARNED * num_learned) * seconds + (num_shared + num_own) * seconds / each,
        num_timed=len(queries[:_TIMED]),
    )


def _tokens_of_own(task: Task, work: Work, backend: Backend) -> float:
    """Tokens of the examples that are chosen for one prompt: so many of average length."""
    if not work.num_own_examples or not task.examples:
        return 0.0
    shown = min(work.num_own_examples, len(task.examples))
    return backend.count_tokens(prefix(task)) * shown / len(task.examples)


def _work(candidate: Candidate, prompt_epochs: int) -> Work:
    if candidate.predictor != "task":
        return work_of(candidate.predictor, candidate.task, NUM_TEXTS, prompt_epochs)
    task = candidate.task
    return Work(len(probes(["a word"], calibration=task.calibration)) if is_calibrated(task) else 0, 1)


def _seconds_a_query(candidate: Candidate, queries: Sequence[Item], backend: Backend) -> float:
    with asking(candidate.task, backend, "task", seed=0, texts=()) as asker:
        asker.answer([item.inputs for item in queries[:1]])  # its prefix is there, and it is calibrated
        started = time.perf_counter()
        asker.answer([item.inputs for item in queries])
    return (time.perf_counter() - started) / len(queries)
